package resolver

import (
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"stagecoach/rfc/dns"
	"stagecoach/rfc/dns/dnstest"
)

// TestService holds the door to R12: this machine and the networks that are named, nobody else.
func TestService(t *testing.T) {
	r := &Resolver{Network: fixed{}, Anchors: []dns.RR{}}
	s := &Service{Resolver: r, Allow: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")}}
	for addr, want := range map[string]int{
		"127.0.0.1": dns.RcodeSuccess, "::1": dns.RcodeSuccess, "::ffff:127.0.0.1": dns.RcodeSuccess,
		"192.0.2.77": dns.RcodeSuccess, "2001:db8::5": dns.RcodeSuccess, "::ffff:192.0.2.1": dns.RcodeSuccess,
		"192.0.3.1": dns.RcodeRefused, "8.8.8.8": dns.RcodeRefused, "2001:db9::1": dns.RcodeRefused, "10.0.0.1": dns.RcodeRefused,
	} {
		q := &dns.Request{Msg: dns.NewQuery("localhost", dns.TypeA), Peer: netip.AddrPortFrom(netip.MustParseAddr(addr), 4242), Transport: dns.UDP}
		m := s.Quick(q)
		if m == nil || m.Rcode != want {
			t.Errorf("%s: %v", addr, m)
		}
	}
}

// TestServiceLimit turns a client down that has too much in work, and no other.
func TestServiceLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &Resolver{Network: &root{down: true}, Anchors: []dns.RR{}}
		s := &Service{Resolver: r, PerClient: 5}
		var mu sync.Mutex
		early := map[string]int{}
		ask := func(addr string, i int) {
			q := &dns.Request{Msg: dns.NewQuery(strings.Repeat("x", i+1)+".org", dns.TypeA), Peer: netip.MustParseAddrPort(addr)}
			start := time.Now()
			err := s.Serve(t.Context(), q, func(m *dns.Msg) error {
				mu.Lock()
				defer mu.Unlock()
				if m.Rcode == dns.RcodeServerFailure && time.Since(start) == 0 {
					early[addr]++
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		}
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() { ask("127.0.0.1:1", i) })
		}
		for i := range 4 {
			wg.Go(func() { ask("127.0.0.2:1", 30+i) })
		}
		wg.Wait()
		time.Sleep(time.Minute) // for what is under way
		synctest.Wait()
		if early["127.0.0.1:1"] != 15 || early["127.0.0.2:1"] != 0 || len(s.busy) != 0 {
			t.Errorf("%v, %v left", early, s.busy)
		}
	})
}

// TestExplain tells a person how an answer was found, with every link of the chain.
func TestExplain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := rootTestKey(t)
		world := &root{}
		world.set([]*dnstest.Key{k}, []*dnstest.Key{k})
		r := &Resolver{Network: world, Hints: []netip.Addr{netip.MustParseAddr("1.0.0.1")}, Anchors: []dns.RR{k.DS(2)}}
		e, err := r.Explain(t.Context(), dns.NewQuery(".", dns.TypeDNSKEY))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"NOERROR, secure", "asked 1.0.0.1:53 for . DNSKEY", "whose digest is trusted", "is signed by key"} {
			if !strings.Contains(e.String(), want) {
				t.Errorf("%q is missing in\n%s", want, e)
			}
		}
		e, err = r.Explain(t.Context(), dns.NewQuery("org", dns.TypeMX))
		if err != nil || e.Response.Rcode != dns.RcodeServerFailure || !strings.Contains(e.String(), "failed:") {
			t.Errorf("%v\n%s", err, e)
		}
		time.Sleep(time.Minute) // for what is under way
		synctest.Wait()
	})
}
