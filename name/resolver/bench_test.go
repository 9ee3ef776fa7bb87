package resolver

import (
	"net/netip"
	"testing"
	"time"

	"stagecoach/rfc/dns"
)

// BenchmarkCached is the way of a question whose answer is known, without the sockets.
func BenchmarkCached(b *testing.B) {
	r := &Resolver{Anchors: []dns.RR{}}
	r.start()
	k := key{"www.example.org.", dns.TypeA}
	r.cache.put(&found{
		key: k, answer: []dns.RR{dns.MustParseRR(k.name + " 3600 A 192.0.2.1")}, zone: "example.org.", security: Insecure,
		stored: time.Now(), ttl: time.Hour,
	})
	s := &Service{Resolver: r}
	q := &dns.Request{Msg: dns.NewQuery(k.name, k.t), Peer: netip.MustParseAddrPort("127.0.0.1:4242"), Transport: dns.UDP}
	b.ReportAllocs()
	for b.Loop() {
		if s.Quick(q) == nil {
			b.Fatal("not known")
		}
	}
}
