package scenario

import (
	"testing"
	"testing/synctest"
	"time"

	"stagecoach/rfc/dns"
)

// TestUntrustEndsWhenMended holds RFC 7646 section 2: a zone under a negative trust anchor is
// looked at, and validated again as soon as its signatures are good.
func TestUntrustEndsWhenMended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := load([]byte(`-- zone org. 1.0.1.1 sign=nsec --
-- zone example.org. 1.0.2.1 sign=nsec sig=bad --
a A 192.0.2.1
-- steps --
`))
		if err != nil {
			t.Fatal(err)
		}
		expect := func(rcode int, secure bool) {
			t.Helper()
			m, err := p.resolver.Exchange(t.Context(), dns.NewQuery("a.example.org", dns.TypeA))
			if err != nil || m.Rcode != rcode || m.AuthenticatedData != secure {
				t.Errorf("%v %v", err, m)
			}
		}
		expect(dns.RcodeServerFailure, false)
		if err := p.resolver.Untrust("example.org", 24*time.Hour); err != nil {
			t.Fatal(err)
		}
		expect(dns.RcodeSuccess, false)
		time.Sleep(25 * time.Minute)
		expect(dns.RcodeSuccess, false)
		p.world.mu.Lock()
		p.world.zones["example.org."].options["sig"] = ""
		p.world.mu.Unlock()
		time.Sleep(25 * time.Minute)
		expect(dns.RcodeSuccess, true)
		drain(p)
	})
}
