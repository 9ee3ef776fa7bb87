package publish

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"stagecoach/rfc/dns"
)

// TestServersWaitForAddresses has the address of a name server be found only after some failures:
// the server is waited for all the same. One whose address is never found is dead after a minute,
// one that has none is not waited for.
func TestServersWaitForAddresses(t *testing.T) {
	const zone = "x.example."
	primary := answering(map[string]string{zone + " NS": zone + " 300 NS ns.elsewhere.example."})
	for _, c := range []struct {
		name   string
		until  time.Duration // failure
		then   string
		asked  bool
		atMost time.Duration
	}{
		{"later", 20 * time.Second, "ns.elsewhere.example. 300 A 192.0.2.1", true, 40 * time.Second},
		{"never", time.Hour, "", false, 2 * time.Minute},
		{"no address", 0, "", false, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				world := dns.ExchangerFunc(func(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
					if time.Since(start) < c.until {
						return dns.NewResponse(q, dns.RcodeServerFailure), nil
					}
					return answering(map[string]string{"ns.elsewhere.example. A": c.then}).Exchange(ctx, q)
				})
				asked := false
				s := &Servers{Primary: primary, Resolver: world, Ask: func(at netip.AddrPort) dns.Exchanger {
					asked = asked || at.Addr() == netip.MustParseAddr("192.0.2.1")
					return primary
				}}
				if err := s.Await(t.Context(), zone, func(context.Context, dns.Exchanger) error { return nil }); err != nil {
					t.Error(err)
				}
				if took := time.Since(start); asked != c.asked || took > c.atMost || took < min(c.until, silence) {
					t.Errorf("asked: %v, after %v", asked, took)
				}
			})
		})
	}
	failing := dns.ExchangerFunc(func(context.Context, *dns.Msg) (*dns.Msg, error) { return nil, errors.New("no way") })
	if err := (&Servers{Primary: failing}).Await(t.Context(), zone, nil); err == nil {
		t.Error("name servers that are not known were not waited for")
	}
}

// answering answers with the record that stands for a question, otherwise that there is none.
func answering(records map[string]string) dns.Exchanger {
	return dns.ExchangerFunc(func(_ context.Context, q *dns.Msg) (*dns.Msg, error) {
		m := dns.NewResponse(q, dns.RcodeSuccess)
		if text := records[dns.Canonical(q.Question[0].Name)+" "+dns.TypeName(q.Question[0].Qtype)]; text != "" {
			m.Answer = []dns.RR{dns.MustParseRR(text)}
		}
		return m, nil
	})
}
