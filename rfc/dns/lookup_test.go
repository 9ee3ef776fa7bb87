package dns_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"stagecoach/rfc/dns"
	"stagecoach/rfc/dns/dnstest"
)

func TestRecords(t *testing.T) {
	x := dnstest.Zone(t, `
$ORIGIN example.
@ SOA ns. root. 7 1 1 1 60
@ NS NS1
@ NS ns2.other.
@ MX 20 b
@ MX 10 A.Example.
@ CAA 0 issue "ca.example"
null MX 0 .
txt TXT "v=spf1 " "-all"
txt TXT "a\;\"\\\009b" "\195\164"
mx AAAA 2001:db8::1
mx A 192.0.2.1
four A 192.0.2.1
_25._tcp.mx TLSA 3 1 1 0000000000000000000000000000000000000000000000000000000000000001
_sip._tcp SRV 1 2 3 mx
`)
	reverse := dnstest.Zone(t, `
1.2.0.192.in-addr.arpa PTR MX.example.
1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa PTR mx6.example.
`)
	check := func(what string, got any, err error, want any) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		} else if d := cmp.Diff(want, got, cmpopts.SortSlices(strings.Compare), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
			t.Errorf("%s: %s", what, d)
		}
	}
	ctx := t.Context()
	txt, err := dns.TXT(ctx, x, "txt.example")
	check("TXT", txt, err, []string{"v=spf1 -all", "a;\"\\\tb\u00e4"})
	mx, err := dns.MX(ctx, x, "example.")
	check("MX", mx, err, []dns.MailServer{{Preference: 10, Host: "a.example"}, {Preference: 20, Host: "b.example"}})
	mx, err = dns.MX(ctx, x, "null.example")
	check("null MX", mx, err, []dns.MailServer{{}})
	ns, err := dns.NS(ctx, x, "example")
	check("NS", ns, err, []string{"ns1.example", "ns2.other"})
	ips, err := dns.Addrs(ctx, x, "mx.example")
	check("Addrs", ips, err, []netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("192.0.2.1")})
	ips, err = dns.Addrs(ctx, x, "four.example")
	check("Addrs", ips, err, []netip.Addr{netip.MustParseAddr("192.0.2.1")})
	ptr, err := dns.PTR(ctx, reverse, netip.MustParseAddr("::ffff:192.0.2.1"))
	check("PTR", ptr, err, []string{"mx.example"})
	ptr, err = dns.PTR(ctx, reverse, netip.MustParseAddr("2001:db8::1"))
	check("PTR", ptr, err, []string{"mx6.example"})
	tlsa, err := dns.TLSA(ctx, x, "_25._tcp.mx.example")
	check("TLSA", len(tlsa), err, 1)
	caa, err := dns.CAA(ctx, x, "example")
	check("CAA", caa[0].Value, err, "ca.example")
	srv, err := dns.SRV(ctx, x, "_sip._tcp.example")
	check("SRV", srv[0].Port, err, uint16(3))
	soa, err := dns.SOA(ctx, x, "example")
	check("SOA", soa.Serial, err, uint32(7))
}

// The wire has more forms of "no" than one. Each case is a response to "q.example. A".
func TestNegativeAnswers(t *testing.T) {
	const soa = "example. 300 SOA ns. root. 7 1 1 1 60"
	for _, c := range []struct {
		name   string
		rcode  int
		answer []string
		ns     []string
		change func(*dns.Msg)
		want   error // nil: temporary
	}{
		{name: "NXDOMAIN", rcode: 3, ns: []string{soa}, want: dns.ErrNotExist},
		{name: "NXDOMAIN without SOA", rcode: 3, want: dns.ErrNotExist},
		{name: "NODATA", ns: []string{soa}, want: dns.ErrNoData},
		{name: "NODATA without SOA", want: dns.ErrNoData},
		{name: "referral", ns: []string{"example. NS ns.example."}},
		{name: "SERVFAIL", rcode: 2},
		{name: "REFUSED", rcode: 5},
		{name: "truncated", change: func(m *dns.Msg) { m.Truncated = true }},
		{name: "a query", change: func(m *dns.Msg) { m.Response = false }},
		{name: "no question", change: func(m *dns.Msg) { m.Question = nil }},
		{name: "another question", change: func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeMX }},
		{name: "unrelated records", answer: []string{"other.example. A 192.0.2.1"}, ns: []string{soa}, want: dns.ErrNoData},
		{name: "another class", answer: []string{"q.example. CH A 192.0.2.1"}, ns: []string{soa}, want: dns.ErrNoData},
		{name: "alias of nothing", rcode: 3, answer: []string{"q.example. CNAME x.example."}, ns: []string{soa}, want: dns.ErrNotExist},
		{name: "loop", answer: []string{"q.example. CNAME r.example.", "r.example. CNAME q.example."}},
	} {
		x := dns.ExchangerFunc(func(_ context.Context, q *dns.Msg) (*dns.Msg, error) {
			r := dns.NewResponse(q, c.rcode)
			for _, s := range c.answer {
				if rr, err := dns.ParseRR(s); err == nil {
					r.Answer = append(r.Answer, rr)
				}
			}
			for _, s := range c.ns {
				r.Ns = append(r.Ns, dns.MustParseRR(s))
			}
			if c.change != nil {
				c.change(r)
			}
			return r, nil
		})
		_, err := dns.Lookup(t.Context(), x, "q.example", dns.TypeA)
		var e *dns.Error
		if !errors.As(err, &e) || e.Temporary() != (c.want == nil) || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if e != nil && c.ns != nil && c.want != nil && c.answer == nil && e.TTL != time.Minute {
			t.Errorf("%s: TTL %v", c.name, e.TTL)
		}
	}
}

// A server that does not follow a CNAME is asked again for its target.
func TestLookupGoesOnAfterAlias(t *testing.T) {
	asked := 0
	x := dns.ExchangerFunc(func(_ context.Context, q *dns.Msg) (*dns.Msg, error) {
		asked++
		r := dns.NewResponse(q, 0)
		r.AuthenticatedData = asked == 1
		if asked == 1 {
			r.Answer = []dns.RR{dns.MustParseRR("a.example. 5 CNAME b.example.")}
		} else {
			r.Answer = []dns.RR{dns.MustParseRR("b.example. 50 A 192.0.2.1")}
		}
		return r, nil
	})
	a, err := dns.Lookup(t.Context(), x, "A.example", dns.TypeA)
	if err != nil || a.Name != "b.example" || a.TTL != 5*time.Second || a.Secure || asked != 2 {
		t.Errorf("%+v, %v after %d queries", a, err, asked)
	}
}

func TestCache(t *testing.T) {
	names := dnstest.Zone(t, `
$ORIGIN example.
@ 300 SOA ns. root. 7 1 1 1 60
a 100 A 192.0.2.1
alias 10 CNAME a
`)
	now := time.Unix(1e9, 0)
	c := &dns.Cache{Next: names, Now: func() time.Time { return now }}
	ask := func(name string) *dns.Msg {
		t.Helper()
		r, err := c.Exchange(t.Context(), dns.NewQuery(name, dns.TypeA))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for _, s := range []struct {
		name string
		wait time.Duration
		asks int // in all
	}{
		{"a.example", 0, 1}, {"A.EXAMPLE.", 99 * time.Second, 1}, {"a.example", time.Second, 2},
		{"alias.example", 0, 1}, {"alias.example", 9 * time.Second, 1}, {"alias.example", time.Second, 2},
		{"no.example", 0, 1}, {"no.example", 59 * time.Second, 1}, {"no.example", time.Second, 2},
	} {
		now = now.Add(s.wait)
		r := ask(s.name)
		if n := names.Count(s.name, dns.TypeA); n != s.asks {
			t.Errorf("%s after %v: %d queries, want %d", s.name, s.wait, n, s.asks)
		}
		if s.wait == 99*time.Second && r.Answer[0].Header().Ttl != 1 {
			t.Errorf("TTL %d, want 1", r.Answer[0].Header().Ttl)
		}
	}
	names.Fail("a.example", dnstest.ServFail)
	now = now.Add(time.Hour)
	before := names.Count("a.example", dns.TypeA)
	ask("a.example")
	ask("a.example")
	names.Fail("a.example", 0)
	now = now.Add(3 * time.Second)
	if r := ask("a.example"); r.Rcode != 0 || names.Count("a.example", dns.TypeA) != before+2 {
		t.Errorf("after a failure: %d queries", names.Count("a.example", dns.TypeA)-before)
	}
}

func TestCacheIsBounded(t *testing.T) {
	names := dnstest.Zone(t, "*.example A 192.0.2.1")
	c := &dns.Cache{Next: names, Bytes: 100_000}
	for i := range 2000 {
		if _, err := dns.Addrs(t.Context(), c, strings.Repeat("x", i%50+1)+"."+string(rune('a'+i%26))+".example"); err != nil {
			t.Fatal(err)
		}
	}
	if n := c.Len(); n == 0 || n > 400 {
		t.Errorf("%d entries", n)
	}
}
