package smtp

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"stagecoach/mail"
)

func TestErrorsAndCommands(t *testing.T) {
	c := dial(t, serve(t, &Server{Next: &box{}, Gate: ourGate{}}))
	c.want("220 ")
	c.say("EHLO client.example", "250-")
	c.say("MAIL FROM:<>", "250")
	for range 20 {
		c.say("RCPT TO:<nobody@us.example>", "550 5.1.1")
	}
	c.want("421 4.7.0 too many errors")
	c.closed()

	c = dial(t, serve(t, &Server{Next: &box{}}))
	c.want("220 ")
	c.say("EHLO client.example", "250-")
	for range 99 {
		c.say("NOOP", "250")
	}
	c.say("NOOP", "421 4.7.0 too many commands")
	c.closed()

	c = dial(t, serve(t, &Server{Next: &box{}})).begin()
	for range 99 {
		c.say("BDAT 0", "250")
	}
	c.say("BDAT 0", "421 4.7.0 too many commands")
	c.closed()
}

// Whoever guesses at users gets so many answers an hour, on however many connections.
func TestUnknownRecipients(t *testing.T) {
	addr := serve(t, &Server{Next: &box{}, Gate: ourGate{}})
	answers := 0
	for range 10 {
		c := dial(t, addr)
		if !strings.HasPrefix(c.read(), "220") {
			break
		}
		c.say("EHLO client.example", "250-")
		c.say("MAIL FROM:<>", "250")
		for {
			c.send("RCPT TO:<nobody@us.example>\r\n")
			if !strings.HasPrefix(c.read(), "550") {
				break
			}
			if answers++; answers%20 == 0 {
				break
			}
		}
	}
	if answers != 100 {
		t.Errorf("%d answers", answers)
	}
	dial(t, addr).want("421 4.7.0 too many unknown recipients")
}

func TestConnectionLimits(t *testing.T) {
	for name, l := range map[string]Limits{
		"421 4.3.2": {Connections: 2},
		"421 4.7.0 too many connections from your address": {PerAddress: 2},
		"421 4.7.0 too many connections from your network": {PerNetwork: 2},
		"421 4.7.0 too many connections in a minute":       {Rate: 2},
	} {
		var mu sync.Mutex
		turned := 0
		addr := serve(t, &Server{Next: &box{}, Limits: l, Stats: func(e Event) {
			mu.Lock()
			defer mu.Unlock()
			if e.Kind == TurnedAway {
				turned++
			}
		}})
		for range 2 {
			dial(t, addr).want("220 ")
		}
		for range 3 {
			c := dial(t, addr)
			c.want(name)
			c.closed()
		}
		mu.Lock()
		if turned != 3 {
			t.Errorf("%s: %d counted", name, turned)
		}
		mu.Unlock()
	}
}

func TestGauge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGauge(Limits{PerAddress: 2, PerNetwork: 3, Rate: 4}.withDefaults(false))
		addr := netip.MustParseAddr
		for _, step := range []struct {
			from string
			want bool
		}{
			{"192.0.2.1", true}, {"192.0.2.1", true}, {"192.0.2.1", false},
			{"192.0.2.2", true}, {"192.0.2.3", false}, {"192.0.3.1", true},
			{"2001:db8::1", true}, {"2001:db8::2", true}, {"2001:db8::3", false}, // one /64
			{"2001:db8:0:1::1", true}, {"2001:db8:0:2::1", false}, // one /48
			{"2001:db8:1::1", true},
		} {
			if got := g.come(addr(step.from)) == nil; got != step.want {
				t.Errorf("%s: %v", step.from, got)
			}
		}
		g.leave(addr("192.0.2.1"))
		if g.come(addr("192.0.2.1")) != nil || g.come(addr("192.0.2.1")) == nil {
			t.Error("a connection that left does not make room for exactly one")
		}
		g.leave(addr("192.0.2.1"))
		if g.come(addr("192.0.2.1")) == nil {
			t.Error("the fifth in a minute came in")
		}
		time.Sleep(time.Minute)
		if r := g.come(addr("192.0.2.1")); r != nil {
			t.Error(r)
		}
	})
}

// The memory of addresses is bounded, and those with connections stay in it.
func TestGaugeForgets(t *testing.T) {
	g := newGauge(Limits{}.withDefaults(false))
	here := netip.MustParseAddr("192.0.2.1")
	if r := g.come(here); r != nil {
		t.Fatal(r)
	}
	for i := range 3 * maxTallies {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		if r := g.come(a); r != nil {
			t.Fatal(r)
		}
		g.leave(a)
	}
	if len(g.hosts) > maxTallies || len(g.nets) != 1 {
		t.Errorf("%d hosts, %d networks", len(g.hosts), len(g.nets))
	}
	if host, _ := prefixes(here); g.hosts[host] == nil {
		t.Error("an address with a connection was forgotten")
	}
}

func TestRecipientLimits(t *testing.T) {
	b := &box{}
	c := dial(t, serve(t, &Server{Next: b, Limits: Limits{Recipients: 2, Mails: 1}}))
	c.want("220 ")
	c.send("EHLO client.example\r\n")
	if got := c.read(); !strings.HasSuffix(got, "|250 LIMITS MAILMAX=1 RCPTMAX=2") {
		t.Error(got)
	}
	c.say("MAIL FROM:<>", "250")
	c.say("RCPT TO:<a@us.example>", "250")
	c.say("RCPT TO:<a@US.example>", "250")
	c.say("RCPT TO:<b@us.example>", "250")
	c.say("RCPT TO:<c@us.example>", "452 4.5.3")
	c.say("DATA", "354")
	c.send(".\r\n")
	c.want("250")
	if n := len(b.all()[0].envelope.To); n != 2 {
		t.Errorf("%d recipients", n)
	}
	c.say("MAIL FROM:<>", "421 4.7.0")
	c.closed()
}

// A message that is too large is refused when it has been read, if it ends soon.
func TestTooLarge(t *testing.T) {
	small := Limits{Message: mail.Limits{Size: 10000}}
	addr := serve(t, &Server{Next: &box{}, Limits: small})
	body := strings.Repeat(strings.Repeat("x", 98)+"\r\n", 110)
	c := dial(t, addr).begin()
	c.say("DATA", "354")
	c.send("A: b\r\n\r\n" + body + ".\r\n")
	c.want("552 5.3.4")
	c.closed()

	c = dial(t, addr).begin()
	c.say("DATA", "354")
	go c.conn.Write([]byte("A: b\r\n\r\n" + strings.Repeat(body, 20))) //nolint:errcheck // the server closes in its midst
	c.want("552 5.3.4")
	c.closed()

	c = dial(t, addr).begin()
	c.send("BDAT 10001 LAST\r\n")
	c.want("552 5.3.4")
	c.closed()

	c = dial(t, addr).begin()
	c.send("BDAT 6000\r\n" + body[:6000])
	c.want("250")
	c.send("BDAT 6000 LAST\r\n" + body[:6000])
	c.want("552 5.3.4")
	c.closed()
}

func TestFullDisk(t *testing.T) {
	s := &Server{Next: &box{}, Spool: "/nonexistent", Limits: Limits{Message: mail.Limits{InMemory: 100}}}
	c := dial(t, serve(t, s)).begin()
	c.say("DATA", "354")
	c.send("A: b\r\n\r\n" + strings.Repeat("x\r\n", 1000) + ".\r\n")
	c.want("452 4.3.1")
	c.closed()
}

func TestInner(t *testing.T) {
	peer := netip.MustParseAddr("192.0.2.7")
	for from, want := range map[string]string{"192.0.2.0/24": "220 ", "198.51.100.0/24": "554 5.7.1"} {
		s := &Server{Next: &box{}, Inner: true, Proxy: true, From: []netip.Prefix{netip.MustParsePrefix(from)}}
		c := dial(t, serve(t, s))
		c.send("PROXY TCP4 " + peer.String() + " 198.51.100.1 4660 25\r\n")
		c.want(want)
	}
}

// A Gate that must think does so within bounds, and its cause stays inside.
func TestGateTrouble(t *testing.T) {
	gate := gateFunc(func(ctx context.Context, m *mail.Mail, to mail.Address) error {
		if to.Local() == "slow" {
			<-ctx.Done()
			return ctx.Err()
		}
		if to.Local() == "gone" {
			return mail.Defer(421, "4.3.2", "come again")
		}
		return mail.Reject(550, "5.7.1", strings.Repeat("reason ", 100)+"\r\nforged")
	})
	inBubble(t, &Server{Next: &box{}, Gate: gate}, func(t *testing.T, l *pipeListener, _ func() error) {
		c := l.dial(t)
		c.want("220 ")
		c.say("EHLO client.example", "250-")
		c.say("MAIL FROM:<joe@far.example> AUTH=x@y.example", "250")
		c.say("RCPT TO:<slow@us.example>", "451 4.3.0 timed out, please try again later")
		c.say("RCPT TO:<ann@us.example>", "550-5.7.1 reason")
		c.say("RCPT TO:<gone@us.example>", "421 4.3.2 come again")
		c.closed()
	})
}

type gateFunc func(context.Context, *mail.Mail, mail.Address) error

func (f gateFunc) Admit(ctx context.Context, m *mail.Mail, to mail.Address) error {
	return f(ctx, m, to)
}

// Until the Gate trusts somebody, AUTH= says nothing.
func TestUntrustedSubmitter(t *testing.T) {
	for _, gate := range []Gate{nil, ourGate{}} {
		b := &box{}
		c := dial(t, serve(t, &Server{Next: b, Gate: gate}))
		c.want("220 ")
		c.say("EHLO client.example", "250-")
		c.say("MAIL FROM:<> AUTH=ann@us.example", "250")
		c.say("RCPT TO:<ann@us.example>", "250")
		c.send("BDAT 0 LAST\r\n")
		c.want("250")
		want := "ann@us.example"
		if gate != nil {
			want = "<>"
		}
		if got := b.all()[0].envelope.Submitter; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

var _ Gate = gateFunc(nil)
