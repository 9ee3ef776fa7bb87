package resolver

import (
	"context"
	"encoding/binary"
	"math"
	"net"
	"net/netip"
	"testing"
	"time"

	"stagecoach/rfc/dns"
	"stagecoach/rfc/dns/dnstest"
)

// serve runs a name server on loopback.
func serve(t *testing.T, address string, h dns.Handler) netip.AddrPort {
	t.Helper()
	conns, l, err := dns.Listen(t.Context(), address, 1)
	if err != nil {
		t.Skipf("no loopback at %s: %v", address, err)
	}
	s := &dns.Server{Handler: h}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	go s.ServePacket(ctx, conns...) //nolint:errcheck // ends with ctx
	go s.Serve(ctx, l)              //nolint:errcheck // ends with ctx
	return netip.MustParseAddrPort(l.Addr().String())
}

// TestSockets resolves over real sockets, by UDP and by TCP.
func TestSockets(t *testing.T) {
	zone := dnstest.Zone(t, `
. 3600 SOA a. b. 1 2 3 4 300
. NS ns.root.
ns.root. A 127.0.0.1
www.org. A 192.0.2.1
`)
	for i := range 40 {
		if err := zone.Add(`big.org. TXT "` + string(rune('a'+i%26)) + `0123456789012345678901234567890123456789012345678901234567890123456789` + string(rune('a'+i/26)) + `"`); err != nil {
			t.Fatal(err)
		}
	}
	auth := dns.ExchangerFunc(func(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
		m, err := zone.Exchange(ctx, q)
		if err == nil {
			m.Authoritative, m.RecursionAvailable = true, false
		}
		return m, err
	})
	at := serve(t, "127.0.0.1:0", dns.Serving(auth))
	r := &Resolver{Hints: []netip.Addr{at.Addr()}, Port: at.Port(), Private: true, Anchors: []dns.RR{}}
	a, err := dns.Addrs(t.Context(), r, "www.org")
	if err != nil || len(a) != 1 {
		t.Fatalf("%v %v", a, err)
	}
	if _, err := dns.Addrs(t.Context(), r, "none.org"); !dns.IsNegative(err) {
		t.Errorf("a name that does not exist: %v", err)
	}
	if texts, err := dns.TXT(t.Context(), r, "big.org"); err != nil || len(texts) < 40 {
		t.Errorf("%d texts, %v", len(texts), err)
	}
	if s := r.Stats(); s.TCP == 0 {
		t.Errorf("nothing went over TCP: %+v", s)
	}
}

// TestUnreachable has a port where nobody listens: the ICMP error that comes back is not
// believed, and what comes of it is a failure.
func TestUnreachable(t *testing.T) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddrPort(c.LocalAddr().String())
	c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	err = sockets{}.UDP(ctx, at, make([]byte, 12), func([]byte) bool { return true })
	if err == nil || time.Since(start) < 40*time.Millisecond {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
}

// TestRandomPort holds the choice of ports to R1: all of them, evenly.
func TestRandomPort(t *testing.T) {
	const draws, cells = 200_000, 63
	var count [cells]int
	seen := map[uint16]bool{}
	for range draws {
		p := randomPort()
		if p < 1024 {
			t.Fatal(p)
		}
		seen[p] = true
		count[(int(p)-1024)/1024]++
	}
	if bits := math.Log2(float64(len(seen))); bits < 15.5 {
		t.Errorf("%.2f bits", bits)
	}
	chi := 0.0
	for _, n := range count {
		d := float64(n) - float64(draws)/cells
		chi += d * d / (float64(draws) / cells)
	}
	if chi > 130 { // 62 degrees of freedom; beyond 130 once in a million
		t.Errorf("chi square %.1f", chi)
	}
}

// TestForgers has an attacker who knows the port and floods it with guesses of the ID: none of
// them gets in, and after a hundred the question goes over TCP.
func TestForgers(t *testing.T) {
	n := &forgers{}
	r := &Resolver{Network: n, Hints: []netip.Addr{netip.MustParseAddr("1.0.0.1")}, Anchors: []dns.RR{}}
	for range 20 {
		m, err := r.Exchange(t.Context(), dns.NewQuery(".", dns.TypeNS))
		if err != nil {
			t.Fatal(err)
		}
		for _, rr := range m.Answer {
			if ns, ok := rr.(*dns.NSRecord); ok && ns.Ns != "ns.root." {
				t.Fatalf("poisoned: %v", rr)
			}
		}
		r.Flush(".", true)
	}
	if s := r.Stats(); s.TCP == 0 || s.Mismatches < 100 {
		t.Errorf("%+v", s)
	}
}

// forgers answers by UDP with forgeries only: right but for the ID, or for the spelling.
type forgers struct{ root }

func (f *forgers) UDP(ctx context.Context, _ netip.AddrPort, query []byte, accept func([]byte) bool) error {
	var q dns.Msg
	if err := q.Unpack(query); err != nil {
		return err
	}
	m := dns.NewResponse(&q, dns.RcodeSuccess)
	m.Authoritative = true
	m.Answer = []dns.RR{dns.MustParseRR(". 86400 NS ns.evil.")}
	for id := range 1 << 16 {
		if uint16(id) == q.Id {
			continue
		}
		m.Id = uint16(id)
		wire, err := m.Pack()
		if err != nil {
			return err
		}
		if accept(wire) {
			return nil
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

// FuzzResponse feeds whatever may come from a server to all that looks at it.
func FuzzResponse(f *testing.F) {
	for _, text := range []string{"www.org. 300 A 192.0.2.1", "www.org. 300 CNAME a.org.", "org. 300 DNAME a.net.", "org. 300 NS ns.org."} {
		q := dns.NewQuery("www.org", dns.TypeA)
		m := dns.NewResponse(q, dns.RcodeSuccess)
		m.Authoritative = true
		m.Answer = []dns.RR{dns.MustParseRR(text)}
		m.Ns = []dns.RR{dns.MustParseRR("org. 300 SOA a. b. 1 2 3 4 5"), dns.MustParseRR("a.org. 300 NSEC z.org. A NS")}
		wire, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		n := fixed{raw}
		r := &Resolver{Network: n, Hints: []netip.Addr{netip.MustParseAddr("1.0.0.1")}, Limits: Limits{Time: 50 * time.Millisecond}}
		r.cutForFuzz()
		for _, w := range []want{{key: key{"www.org.", dns.TypeA}}, {key: key{"www.org.", dns.TypeDS}, cd: true}} {
			res, err := r.work(w, nil)
			if err != nil {
				t.Fatal(err)
			}
			if !w.cd && (res.security == Secure || res.rcode == dns.RcodeNameError && res.security != Insecure && res.security != Indeterminate) {
				t.Errorf("%v by %x", res, raw)
			}
		}
	})
}

// cutForFuzz spares the walk the root.
func (r *Resolver) cutForFuzz() {
	r.start()
	at := []netip.AddrPort{netip.MustParseAddrPort("1.0.0.1:53")}
	for _, zone := range []string{".", "org."} {
		r.cuts.put(zone, &cut{zone: zone, addrs: at, until: time.Now().Add(time.Hour)}, 100)
	}
}

// fixed answers every query with the same octets but for ID and question.
type fixed struct{ raw []byte }

func (f fixed) UDP(ctx context.Context, a netip.AddrPort, query []byte, accept func([]byte) bool) error {
	raw, err := f.TCP(ctx, a, query)
	if err == nil && accept(raw) {
		return nil
	}
	return errSilent
}

func (f fixed) TCP(_ context.Context, _ netip.AddrPort, query []byte) ([]byte, error) {
	var q, m dns.Msg
	if m.Unpack(f.raw) != nil || q.Unpack(query) != nil {
		return nil, errSilent
	}
	m.Response, m.Question = true, q.Question
	wire, err := m.Pack()
	if err != nil {
		return nil, errSilent
	}
	binary.BigEndian.PutUint16(wire, q.Id)
	return wire, nil
}
