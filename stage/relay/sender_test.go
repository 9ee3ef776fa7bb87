package relay

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"stagecoach/mail"
	"stagecoach/rfc/dns/dnstest"
	"stagecoach/rfc/smtp"
	"stagecoach/rfc/srs"
)

// The sender is rewritten when and only when neither it nor the recipient is ours.
func TestSRS(t *testing.T) {
	w := newWorld(t, "far.test. A 127.0.1.1\nours.test. A 127.0.1.1\nours2.test. A 127.0.1.1\n")
	w.server("127.0.1.1", &smtp.Server{})
	r := w.relay()
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	r.Now = func() time.Time { return noon }
	r.SRS = &srs.Rewriter{Domain: "ours.test", Keys: [][]byte{bytes.Repeat([]byte{7}, 32)}}
	r.OurDomains = func(d string) bool { return d == "ours2.test" }
	for _, test := range []struct {
		from, to  string
		rewritten bool
	}{
		{"joe@world.test", "a@far.test", true},
		{"joe@world.test", "a@ours.test", false},
		{"joe@world.test", "a@ours2.test", false},
		{"ann@ours.test", "a@far.test", false},
		{"ann@ours2.test", "a@far.test", false},
		{"", "a@far.test", false},
		{"SRS0=aaaa=bb=x.test=y@other.test", "a@far.test", true},
	} {
		m := letter(test.from, test.to)
		want(t, r.Carry(t.Context(), m), "")
		_, got, _ := strings.Cut(w.taken()[0], ": ")
		got, _, _ = strings.Cut(got, " > ")
		if (got != test.from) != test.rewritten {
			t.Errorf("%s to %s went as %s", test.from, test.to, got)
		}
		if m.Envelope.From.String() != test.from {
			t.Errorf("the mail of the caller is from %s now", m.Envelope.From)
		}
		if !test.rewritten {
			continue
		}
		back, err := r.SRS.Reverse(mail.MustParseAddress(got), noon)
		if err != nil || back.String() != test.from {
			t.Errorf("%s leads back to %s, %v", got, back, err)
		}
	}
	m := letter("joe@world.test", "a@far.test", "b@ours.test")
	m.Envelope.To[0].Original = "rfc822;hidden@ours.test"
	want(t, r.Carry(t.Context(), m), "", "")
	got := w.taken()
	if len(got) != 2 || !strings.Contains(got[0], "SRS0=") || !strings.HasSuffix(got[1], ": joe@world.test > b@ours.test") {
		t.Errorf("%q", got)
	}
	r.SRS.Keys = nil
	want(t, r.Carry(t.Context(), letter("joe@world.test", "a@far.test")), "451 4.3.5")
}

func TestRoutes(t *testing.T) {
	w := newWorld(t, "smart.test. A 127.0.1.1\n")
	w.names.Fail("dead.test", dnstest.ServFail)
	w.server("127.0.1.1", &smtp.Server{})
	w.server("127.0.1.2", &smtp.Server{})
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &smtp.Server{Name: "unix.test", Next: mail.HandlerFunc(func(_ context.Context, m *mail.Mail) error {
		w.note("unix: " + m.Envelope.To[0].String())
		return nil
	})}
	done := make(chan struct{})
	go func() { s.Serve(ctx, l); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	r := w.relay()
	r.Allow = nil // a route is the operator's word
	for _, text := range []string{"*=smart.test", "one.test=127.0.1.2", "two.test=unix:" + socket, "three.test=nowhere.test", "four.test=dead.test:2525"} {
		route, err := ParseRoute(text)
		if err != nil {
			t.Fatal(err)
		}
		r.Routes = append(r.Routes, route)
	}
	m := letter("joe@us.example", "a@one.test", "b@two.test", "c@any.test", "d@other.test", "e@three.test", "f@four.test", "g@[192.0.2.1]")
	want(t, r.Carry(t.Context(), m), "", "", "", "", "451 4.4.4", "451 4.4.4", "")
	wantTaken(t, w,
		"127.0.1.1: joe@us.example > c@any.test, d@other.test, g@[192.0.2.1]",
		"127.0.1.2: joe@us.example > a@one.test",
		"unix: b@two.test")
}

func TestParseRoute(t *testing.T) {
	for text, want := range map[string]Route{
		"a.test=b.test":            {Domain: "a.test", Host: "b.test"},
		"A.test=B.test.:2525":      {Domain: "a.test", Host: "b.test", Port: 2525},
		"*=127.0.0.1:25":           {Domain: "*", Host: "127.0.0.1", Port: 25},
		"*=[::1]:2525":             {Domain: "*", Host: "::1", Port: 2525},
		"*=[::1]":                  {Domain: "*", Host: "::1"},
		"bücher.test=unix:/run/a=": {Domain: "xn--bcher-kva.test", Path: "/run/a="},
		"[192.0.2.1]=localhost":    {Domain: "[192.0.2.1]", Host: "localhost"},
	} {
		got, err := ParseRoute(text)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
		if again, err := ParseRoute(got.String()); err != nil || again != got {
			t.Errorf("%s became %s", text, got)
		}
	}
	for _, text := range []string{"", "a.test", "=b.test", "a.test=", "a.test=b.test:0", "a.test=b.test:x", "a.test=::1", "a.test=:25", "a b=c.test", "*=unix:", "a.test=[b.test]", "a.test=b.test:99999"} {
		if got, err := ParseRoute(text); err == nil {
			t.Errorf("%q gave %+v", text, got)
		}
	}
}

func FuzzParseRoute(f *testing.F) {
	for _, s := range []string{"a.test=b.test:25", "*=[::1]:2525", "*=unix:/a", "*=[::ffff:1.2.3.4]", "*=fe80::1%eth0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRoute(s)
		if err != nil {
			return
		}
		if again, err := ParseRoute(r.String()); err != nil || again != r {
			t.Fatalf("%q gave %+v, %q gave %+v, %v", s, r, r.String(), again, err)
		}
	})
}

// Mails to one host share connections, also those of different domains.
func TestReuse(t *testing.T) {
	w := newWorld(t, "a.test. MX 1 mx.test.\nb.test. MX 1 mx.test.\nmx.test. A 127.0.1.1\n")
	var mu sync.Mutex
	connections := 0
	w.server("127.0.1.1", &smtp.Server{Stats: func(e smtp.Event) {
		mu.Lock()
		defer mu.Unlock()
		if e.Kind == smtp.Connected {
			connections++
		}
	}})
	r := w.relay()
	for _, to := range []string{"x@a.test", "x@b.test", "y@a.test", "y@b.test"} {
		want(t, r.Carry(t.Context(), letter("joe@us.example", to)), "")
	}
	mu.Lock()
	defer mu.Unlock()
	if connections != 1 {
		t.Errorf("%d connections", connections)
	}
	r.hops.mu.Lock()
	defer r.hops.mu.Unlock()
	for _, one := range r.hops.hops {
		if one.users != 0 {
			t.Errorf("a hop has %d users", one.users)
		}
		one.used = time.Now().Add(-time.Hour)
	}
	r.hops.swept = time.Time{}
	r.hops.sweep()
	if n := len(r.hops.hops); n != 0 {
		t.Errorf("%d hops are left", n)
	}
}

// The hops that are kept are bounded, whatever the number of destinations.
func TestHopsAreBounded(t *testing.T) {
	var h hops
	build := func() *smtp.NextHop { return &smtp.NextHop{} }
	for i := range 3 * maxHops {
		k := hopKey{target: target{addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, byte(i >> 8), byte(i)}), 25)}}
		h.give(h.take(k, build))
	}
	if n := len(h.hops); n > maxHops {
		t.Errorf("%d hops", n)
	}
}

func TestSource(t *testing.T) {
	w := newWorld(t, "a.test. A 127.0.1.1\n")
	from := make(chan string, 1)
	s := &smtp.Server{}
	w.server("127.0.1.1", s)
	s.Next = mail.HandlerFunc(func(_ context.Context, m *mail.Mail) error { from <- m.Peer.Addr.String(); return nil })
	r := w.relay()
	r.Source = []netip.Addr{netip.MustParseAddr("::1"), netip.MustParseAddr("127.0.7.7")}
	want(t, r.Carry(t.Context(), letter("joe@us.example", "x@a.test")), "")
	if got := <-from; got != "127.0.7.7" {
		t.Errorf("from %s", got)
	}
}

// A policy that knows one domain.
type policy map[string]func(Host) (*Protection, error)

func (p policy) For(_ context.Context, domain string, h Host) (*Protection, error) {
	if f := p[domain]; f != nil {
		return f(h)
	}
	return nil, nil
}

func TestPolicy(t *testing.T) {
	w := newWorld(t, `
open.test.  MX 10 mx.test.
right.test. MX 10 mx.test.
wrong.test. MX 10 other.test.
fails.test. MX 10 mx.test.
never.test. MX 10 mx.test.
next.test.  MX 10 mx.test.
next.test.  MX 20 clear.test.
mx.test.    A 127.0.1.1
other.test. A 127.0.1.1
clear.test. A 127.0.1.2
strip.test. MX 10 clear.test.
`)
	cert, roots := certificate(t, "mx.test")
	w.server("127.0.1.1", &smtp.Server{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}})
	w.server("127.0.1.2", &smtp.Server{})
	r := w.relay()
	r.TLS = &tls.Config{RootCAs: roots}
	required := func(Host) (*Protection, error) { return &Protection{ID: "sts", Security: smtp.TLSRequired}, nil }
	r.Policy = policy{
		"right.test": required, "wrong.test": required, "strip.test": required,
		"fails.test": func(Host) (*Protection, error) { return nil, errors.New("the policy cannot be fetched") },
		"never.test": func(Host) (*Protection, error) { return nil, mail.Reject(550, "5.7.1", "not allowed") },
		"next.test": func(h Host) (*Protection, error) {
			if h.Name == "mx.test" {
				return nil, errors.New("not in the policy")
			}
			return nil, nil
		},
	}
	for domain, result := range map[string]string{
		"open.test": "", "right.test": "", "next.test": "",
		"wrong.test": "451 4.7.5", "strip.test": "451 4.7.4", "fails.test": "451 4.7.5", "never.test": "550 5.7.1",
	} {
		want(t, r.Carry(t.Context(), letter("joe@us.example", "a@"+domain)), result)
	}
	if n := len(w.taken()); n != 3 {
		t.Errorf("%d mails", n)
	}
}

// REQUIRETLS (RFC 8689): only to a host that is known for sure and proves its name.
func TestRequireTLS(t *testing.T) {
	w := newWorld(t, "a.test. MX 10 mx.test.\nmx.test. A 127.0.1.1\nb.test. MX 10 other.test.\nother.test. A 127.0.1.1\n")
	cert, roots := certificate(t, "mx.test")
	w.server("127.0.1.1", &smtp.Server{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}})
	r := w.relay()
	r.TLS = &tls.Config{RootCAs: roots}
	carry := func(to string) []error {
		m := letter("joe@us.example", to)
		m.Envelope.RequireTLS = true
		return r.Carry(t.Context(), m)
	}
	want(t, carry("x@a.test"), "550 5.7.30")
	w.names.Secure = true
	want(t, carry("x@a.test"), "")
	want(t, carry("x@b.test"), "451 4.7.5")
	if n := len(w.taken()); n != 1 {
		t.Errorf("%d mails", n)
	}
}

// The end of the context ends everything, and nothing becomes permanent by it.
func TestCancelled(t *testing.T) {
	w := newWorld(t, "a.test. A 127.0.1.1\n")
	l := w.listen("127.0.1.1")
	go func() {
		for {
			if _, err := l.Accept(); err != nil {
				return
			}
		}
	}()
	r := w.relay()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	want(t, r.Carry(ctx, letter("joe@us.example", "x@a.test", "y@b.test")), "451 4.4.2", "550 5.1.2")
	want(t, r.Carry(ctx, letter("joe@us.example", "x@a.test")), "451")
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("it took %v", d)
	}
}
