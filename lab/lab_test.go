package lab

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"stagecoach/mail"
	"stagecoach/rfc/dns"
)

// start returns a lab of the test's own, which must end without trouble.
func start(t *testing.T) *Lab {
	t.Helper()
	l, err := Start(context.Background(), Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestNames(t *testing.T) {
	l := start(t)
	x := l.Names()
	ctx := within(t, 10*time.Second)
	mx, err := dns.MX(ctx, x, BigMailDomain)
	if err != nil || len(mx) != 1 || mx[0].Host != "mx."+BigMailDomain {
		t.Fatalf("%v %v", mx, err)
	}
	addrs, err := dns.Addrs(ctx, x, mx[0].Host)
	if err != nil || len(addrs) != 1 || addrs[0] != l.BigMail.Addr {
		t.Errorf("%v %v", addrs, err)
	}
	ptr, err := dns.PTR(ctx, x, l.BigMail.Addr)
	if err != nil || len(ptr) != 1 || dns.Host(ptr[0]) != mx[0].Host {
		t.Errorf("%v %v", ptr, err)
	}
	txt, err := dns.TXT(ctx, x, "_dmarc."+CorrespondentDomain)
	if err != nil || len(txt) != 1 || !strings.Contains(txt[0], "p=reject") {
		t.Errorf("%v %v", txt, err)
	}
	for _, name := range []string{"nobody.bigmail.example", "nothing.example", "elsewhere.invalid", "x.test"} {
		if _, err := dns.TXT(ctx, x, name); !errors.Is(err, dns.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := dns.MX(ctx, x, mx[0].Host); !errors.Is(err, dns.ErrNoData) {
		t.Errorf("MX of an MX host: %v", err)
	}
}

func TestZonesChange(t *testing.T) {
	l := start(t)
	x := l.Names()
	ctx := within(t, 10*time.Second)
	if _, err := dns.MX(ctx, x, "stagecoach.example"); !errors.Is(err, dns.ErrNotExist) {
		t.Fatalf("before it exists: %v", err)
	}
	if err := l.AddZone("stagecoach.example", "@ MX 10 mx\nwww CNAME mx\n*.wild TXT \"any\""); err != nil {
		t.Fatal(err)
	}
	a, err := l.NewHost("mx.stagecoach.example")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := dns.Addrs(ctx, x, "www.stagecoach.example"); err != nil || len(got) != 1 || got[0] != a {
		t.Errorf("through a CNAME: %v %v", got, err)
	}
	if got, err := dns.TXT(ctx, x, "x.y.wild.stagecoach.example"); err != nil || len(got) != 1 {
		t.Errorf("by a wildcard: %v %v", got, err)
	}
	for _, text := range []string{`"v=spf1 -all"`, `"v=spf1 mx -all"`} {
		if err := l.SetRecords("stagecoach.example. TXT " + text); err != nil {
			t.Fatal(err)
		}
		if got, err := dns.TXT(ctx, x, "stagecoach.example"); err != nil || len(got) != 1 || `"`+got[0]+`"` != text {
			t.Errorf("%v %v, want %s", got, err, text)
		}
	}
	if err := l.RemoveRecords("stagecoach.example", "TXT"); err != nil {
		t.Fatal(err)
	}
	if _, err := dns.TXT(ctx, x, "stagecoach.example"); !errors.Is(err, dns.ErrNoData) {
		t.Errorf("removed: %v", err)
	}
	if err := l.SetPTR(a, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := dns.PTR(ctx, x, a); !errors.Is(err, dns.ErrNotExist) {
		t.Errorf("without a name: %v", err)
	}
	if err := l.SetRecords("example.com. A 127.0.0.1"); err == nil {
		t.Error("a record outside of the lab was taken")
	}
	if err := l.AddZone("stagecoach.example", ""); err == nil {
		t.Error("a zone was taken twice")
	}
}

// A delegated zone is asked for at its own server, which the lab does not run.
func TestDelegate(t *testing.T) {
	l := start(t)
	a, err := l.Address()
	if err != nil {
		t.Fatal(err)
	}
	z, err := newZone("own.test", "@ NS ns\nns A "+a.String()+"\n@ TXT \"here\"")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.startNameserver("own", a, newAuthority(z)); err != nil {
		t.Fatal(err)
	}
	if err := l.Delegate("own.test", "ns.own.test", a); err != nil {
		t.Fatal(err)
	}
	if got, err := dns.TXT(within(t, 5*time.Second), l.Names(), "own.test"); err != nil || len(got) != 1 || got[0] != "here" {
		t.Errorf("%v %v", got, err)
	}
}

// The root refers, the TLD refers, the zone's server answers, and each refuses to do more.
func TestReferrals(t *testing.T) {
	l := start(t)
	ask := func(place int, name string) *dns.Msg {
		t.Helper()
		c := dns.Client{Servers: []dns.Nameserver{{Transport: dns.TCP, Addr: netip.AddrPortFrom(l.net.at(place), l.DNSPort())}}}
		m, err := c.Exchange(within(t, 5*time.Second), dns.NewQuery(name, dns.TypeMX))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	for place, want := range map[int]string{rootPlace: "example.", tldPlace: "bigmail.example."} {
		m := ask(place, BigMailDomain)
		if m.Authoritative || len(m.Answer) != 0 || len(m.Ns) == 0 || m.Ns[0].Header().Name != want || m.RecursionAvailable {
			t.Errorf("place %d: %v", place, m)
		}
	}
	if m := ask(hostingPlace, BigMailDomain); !m.Authoritative || len(m.Answer) != 1 {
		t.Errorf("hosting: %v", m)
	}
	if m := ask(hostingPlace, "nothing.test"); m.Rcode != dns.RcodeRefused {
		t.Errorf("not its zone: %v", m)
	}
	if m := ask(resolverPlace, BigMailDomain); m.Authoritative || !m.RecursionAvailable || len(m.Answer) != 1 {
		t.Errorf("resolver: %v", m)
	}
}

func TestCA(t *testing.T) {
	l := start(t)
	cert, err := l.CA.Issue("mx.stagecoach.example", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"mx.stagecoach.example", "127.0.0.1"} {
		client, server := net.Pipe()
		go tls.Server(server, &tls.Config{Certificates: []tls.Certificate{cert}}).Handshake() //nolint:errcheck // the client tells
		if err := tls.Client(client, &tls.Config{RootCAs: l.CA.Pool(), ServerName: name}).HandshakeContext(within(t, 5*time.Second)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	chain, key, err := l.CA.IssuePEM("a.example")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tls.X509KeyPair(chain, key); err != nil {
		t.Error(err)
	}
}

func TestTwoLabsAtOnce(t *testing.T) {
	a, b := start(t), start(t)
	if a.Block() == b.Block() && a.SMTPPort() == b.SMTPPort() {
		t.Error("two labs share their addresses")
	}
}

func TestConfig(t *testing.T) {
	for _, block := range []string{"192.0.2.0/24", "127.0.0.0/8", "127.1.2.3/24", "::1/128"} {
		if l, err := Start(t.Context(), Config{Block: netip.MustParsePrefix(block)}); err == nil {
			t.Errorf("%s was taken", block)
			l.Close()
		}
	}
}

// After the end nothing listens any more.
func TestCloseLeavesNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	l, err := Start(ctx, Config{})
	if err != nil {
		t.Fatal(err)
	}
	where := netip.AddrPortFrom(l.BigMail.Addr, l.SMTPPort()).String()
	c, err := net.Dial("tcp", where)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cancel()
	began := time.Now()
	if err := l.Close(); err != nil || time.Since(began) > 4*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	if c, err := net.Dial("tcp", where); err == nil {
		c.Close()
		t.Error("it still listens")
	}
}

func refusal(t *testing.T, err error) *mail.Refusal {
	t.Helper()
	var r *mail.Refusal
	if !errors.As(err, &r) {
		t.Fatalf("no refusal: %v", err)
	}
	return r
}
