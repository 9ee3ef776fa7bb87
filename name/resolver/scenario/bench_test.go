package scenario

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"stagecoach/lab/peer"
	"stagecoach/name/resolver"
	"stagecoach/rfc/dns"
)

// BenchmarkServed compares answers from memory over UDP, ours and Unbound's, with 32 clients
// that wait for each answer. The clients share the machine.
func BenchmarkServed(b *testing.B) {
	unbound := peer.Need(b, "unbound")[0]
	p, err := load([]byte(treeText()))
	if err != nil {
		b.Fatal(err)
	}
	for a := range p.world.servers {
		p.world.listen53(b, a)
	}
	theirs := startUnbound(b, unbound, p.world).(*dns.Client).Servers[0].Addr
	conns, l, err := dns.Listen(b.Context(), "127.0.0.1:0", 2)
	if err != nil {
		b.Fatal(err)
	}
	l.Close()
	ours := netip.MustParseAddrPort(conns[0].LocalAddr().String())
	r := &resolver.Resolver{Hints: p.resolver.Hints, Anchors: p.resolver.Anchors, Private: true, NoIPv6: true}
	s := &dns.Server{Handler: &resolver.Service{Resolver: r}}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go s.ServePacket(ctx, conns...) //nolint:errcheck // ends with ctx
	for _, c := range []struct {
		name string
		at   netip.AddrPort
	}{{"ours", ours}, {"unbound", theirs}} {
		b.Run(c.name, func(b *testing.B) { pound(b, c.at) })
	}
}

func pound(b *testing.B, at netip.AddrPort) {
	q := dns.NewQuery("www.z1.org", dns.TypeA)
	warm := dns.Client{Servers: []dns.Nameserver{{Transport: dns.UDP, Addr: at}}}
	if m, err := warm.Exchange(b.Context(), q); err != nil || m.Rcode != dns.RcodeSuccess {
		b.Fatal(m, err)
	}
	wire, err := q.Pack()
	if err != nil {
		b.Fatal(err)
	}
	const clients = 32
	var wg sync.WaitGroup
	b.ResetTimer()
	for i := range clients {
		wg.Go(func() {
			c, err := net.Dial("udp", at.String())
			if err != nil {
				b.Error(err)
				return
			}
			defer c.Close()
			buf := make([]byte, 2048)
			for range b.N/clients + min(1, max(0, b.N%clients-i)) {
				c.SetDeadline(time.Now().Add(time.Second)) //nolint:errcheck // it is open
				if _, err := c.Write(wire); err != nil {
					b.Error(err)
				}
				c.Read(buf) //nolint:errcheck // one that is lost costs a second
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "queries/s")
}
