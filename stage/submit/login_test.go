package submit

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xdg-go/scram"

	"stagecoach/account"
	"stagecoach/mail"
	"stagecoach/rfc/sasl"
)

func TestMechanisms(t *testing.T) {
	s := &Submitter{Accounts: house(t)}
	if got := s.Mechanisms(mail.Peer{}); got != nil {
		t.Errorf("in clear: %v", got)
	}
	if got := s.Mechanisms(peerOf("")); !slices.Equal(got, []string{"PLAIN", "LOGIN"}) {
		t.Errorf("not everybody has SCRAM keys: %v", got)
	}
	s.Scram = true
	if got := s.Mechanisms(peerOf("")); !slices.Equal(got, []string{"SCRAM-SHA-256", "PLAIN", "LOGIN"}) {
		t.Errorf("with SCRAM: %v", got)
	}
	for _, c := range []struct {
		peer      mail.Peer
		mechanism string
		want      string
	}{
		{mail.Peer{}, "PLAIN", "538 5.7.11"},
		{peerOf(""), "CRAM-MD5", "504 5.5.4"},
		{peerOf(""), "SCRAM-SHA-256-PLUS", "504 5.5.4"},
		{peerOf(""), "PLAIN", "250"},
	} {
		if _, err := s.Start(t.Context(), c.peer, c.mechanism); code(err) != c.want {
			t.Errorf("%s: %s, want %s", c.mechanism, code(err), c.want)
		}
	}
}

// try logs in by PLAIN from an address, without the wait that slows guessing.
func try(ctx context.Context, s *Submitter, from, name, password string) string {
	p := peerOf("")
	p.Addr = netip.MustParseAddr(from)
	x, err := s.Start(ctx, p, "PLAIN")
	if err != nil {
		return code(err)
	}
	_, done, err := x.Next(ctx, []byte("\x00"+name+"\x00"+password))
	if err != nil {
		return code(err)
	}
	if !done || x.User() == "" {
		return "not done"
	}
	return "235"
}

func TestLogin(t *testing.T) {
	s := &Submitter{Accounts: house(t), Guesses: Guesses{Delay: -1}}
	for _, c := range []struct{ name, password, want string }{
		{"ann", "secret", "235"},
		{"Ann@X.example", "secret", "235"},
		{"ann", "wrong", "535 5.7.8"},
		{"nobody", "secret", "535 5.7.8"},
		{"gone", "secret", "535 5.7.8"},
		{"info", "secret", "535 5.7.8"},
		{"a\x01b", "secret", "501 5.5.2"},
		{"ann", strings.Repeat("x", 2000), "535 5.7.8"},
	} {
		if got := try(t.Context(), s, "192.0.2.1", c.name, c.password); got != c.want {
			t.Errorf("%q %.10q: %s, want %s", c.name, c.password, got, c.want)
		}
	}
}

func TestScramLogin(t *testing.T) {
	b, err := account.Parse(map[string][]byte{"ann": fmt.Appendf(nil, `{"password":%q}`, scramText(t, "secret"))}, account.Settings{Domain: "x.example"})
	if err != nil {
		t.Fatal(err)
	}
	s := &Submitter{Accounts: account.Static(b), Guesses: Guesses{Delay: -1}}
	for _, c := range []struct{ name, password, want string }{{"ann", "secret", "235"}, {"ann", "wrong", "535 5.7.8"}, {"nobody", "secret", "535 5.7.8"}} {
		client, err := scram.SHA256.NewClient(c.name, c.password, "")
		if err != nil {
			t.Fatal(err)
		}
		conv := client.NewConversation()
		x, err := s.Start(t.Context(), peerOf(""), sasl.MechanismScram)
		if err != nil {
			t.Fatal(err)
		}
		message, _ := conv.Step("")
		got := "235"
		for range 2 {
			challenge, _, err := x.Next(t.Context(), []byte(message))
			if err != nil {
				got = code(err)
				break
			}
			if message, err = conv.Step(string(challenge)); err != nil {
				t.Fatal(err)
			}
		}
		if got != c.want || got == "235" && x.User() != "ann@x.example" {
			t.Errorf("%s with %s: %s, want %s", c.name, c.password, got, c.want)
		}
	}
}

// S27: one address, one account from many, and the owner in between.
func TestGuessing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Submitter{Accounts: house(t), Guesses: Guesses{Delay: -1}}
		count := func(tries int, from func(int) string, name func(int) string, pause time.Duration) (answered int) {
			for i := range tries {
				switch got := try(t.Context(), s, from(i), name(i), "guess"); got {
				case "535 5.7.8":
					answered++
				case "454 4.7.0":
				default:
					t.Fatalf("try %d: %s", i, got)
				}
				time.Sleep(pause)
			}
			return answered
		}
		only := func(s string) func(int) string { return func(int) string { return s } }
		spread := func(format string) func(int) string {
			return func(i int) string { return fmt.Sprintf(format, i/256%256, i%256) }
		}
		numbered := func(i int) string { return fmt.Sprintf("user%d", i) }

		if n := count(1000, only("192.0.2.1"), numbered, time.Millisecond); n != 10 {
			t.Errorf("one address, one minute: %d guesses, want 10", n)
		}
		time.Sleep(time.Minute)
		if n := count(1400, only("192.0.2.1"), numbered, time.Minute); n != 40 {
			t.Errorf("the same address, the rest of the day: %d guesses, want 40", n)
		}
		time.Sleep(48 * time.Hour)
		if n := count(2000, only("2001:db8::1"), numbered, 0); n != 10 {
			t.Errorf("IPv6: %d, want 10", n)
		}
		if n := count(256, spread("2001:db8:0:0:%d::%d"), numbered, 0); n != 0 {
			t.Errorf("the same /64: %d, want 0", n)
		}
		if n := count(512, func(i int) string { return fmt.Sprintf("198.51.100.%d", i%256) }, numbered, 0); n != 30 {
			t.Errorf("one network, one minute: %d, want 30", n)
		}

		// ann logs in from home; then all the world guesses her password.
		if got := try(t.Context(), s, "203.0.113.9", "ann", "secret"); got != "235" {
			t.Fatal(got)
		}
		if n := count(5000, spread("10.%d.%d.1"), only("ann"), 0); n != 20 {
			t.Errorf("one account from many networks: %d guesses, want 20", n)
		}
		if got := try(t.Context(), s, "203.0.113.77", "Ann@x.example", "secret"); got != "235" {
			t.Errorf("the owner on a known network: %s", got)
		}
		if got := try(t.Context(), s, "11.0.0.1", "ann", "secret"); got != "454 4.7.0" {
			t.Errorf("the right password from an unknown network while guessing goes on: %s", got)
		}
		if n := count(5000, spread("10.%d.%d.2"), only("nobody"), 0); n != 20 {
			t.Errorf("a name that does not exist: %d guesses, want 20 as for any other", n)
		}
		time.Sleep(25 * time.Hour)
		if got := try(t.Context(), s, "11.0.0.1", "ann", "secret"); got != "235" {
			t.Errorf("a day later: %s", got)
		}
		for range 100 { // right passwords do not count
			if got := try(t.Context(), s, "11.0.0.1", "ann", "secret"); got != "235" {
				t.Fatalf("many right logins: %s", got)
			}
		}
	})
}

func TestGuessingIsSlowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Submitter{Accounts: house(t)}
		var waits []time.Duration
		for range 7 {
			start := time.Now()
			try(t.Context(), s, "192.0.2.1", "ann", "guess")
			waits = append(waits, time.Since(start))
		}
		ms := time.Millisecond
		if want := []time.Duration{0, 500 * ms, 1000 * ms, 2000 * ms, 4000 * ms, 8000 * ms, 8000 * ms}; !slices.Equal(waits, want) {
			t.Errorf("waits %v, want %v", waits, want)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if got := try(ctx, s, "192.0.2.1", "ann", "guess"); got != "451 4.3.0" {
			t.Errorf("the client hangs up while it waits: %s", got)
		}
	})
}

// A flood of names and addresses must not grow the memory without end, nor push out what is
// known of an account.
func TestGuardIsBounded(t *testing.T) {
	var g guard
	now := time.Now()
	limits := Guesses{}.withDefaults()
	limits.Delay = -1
	clock := func() time.Time { return now }
	home := netip.MustParseAddr("203.0.113.9")
	slip, err := g.begin(t.Context(), limits, clock, home, "ann@x.example", true)
	if err != nil {
		t.Fatal(err)
	}
	g.succeeded(now, slip)
	for i := range 200_000 {
		from := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		g.begin(t.Context(), limits, clock, from, fmt.Sprint(i), false) //nolint:errcheck // whatever it says
	}
	if n := len(g.addresses.at); n > maxPlaces {
		t.Errorf("%d addresses", n)
	}
	if n := len(g.strangers.at); n > maxStrangers {
		t.Errorf("%d names", n)
	}
	if g.addresses.order.Len() != len(g.addresses.at) || g.strangers.order.Len() != len(g.strangers.at) {
		t.Error("the order has lost touch with the map")
	}
	_, network := places(home)
	if !g.accounts.get("ann@x.example", func() *holder { return &holder{} }).seen.has(network) {
		t.Error("the account's network was forgotten")
	}
}
