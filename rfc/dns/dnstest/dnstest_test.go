package dnstest

import (
	"context"
	"errors"
	"testing"

	"stagecoach/rfc/dns"
)

const world = `
$ORIGIN example.
@        SOA   ns.example. root.example. 7 7200 900 1209600 60
         MX    10 mx
         MX    5  Other.Example.
mx       A     192.0.2.1
         AAAA  2001:db8::1
long     TXT   "one " "two"
alias    CNAME mx
loop     CNAME loop
gone     CNAME nobody
away     CNAME mx.elsewhere.
a.b.c    TXT   x
*.wild   TXT   star
only.wild A    192.0.2.2
elsewhere.  SOA   ns.example. root.example. 7 7200 900 1209600 60
mx.elsewhere. A 192.0.2.3
`

func TestAnswers(t *testing.T) {
	names := Zone(t, world)
	for _, c := range []struct {
		name string
		t    uint16
		want error
	}{
		{"mx.example", dns.TypeA, nil},
		{"MX.example.", dns.TypeAAAA, nil},
		{"mx.example", dns.TypeTXT, dns.ErrNoData},
		{"no.example", dns.TypeTXT, dns.ErrNotExist},
		{"c.example", dns.TypeTXT, dns.ErrNoData}, // an empty non-terminal
		{"x.c.example", dns.TypeTXT, dns.ErrNotExist},
		{"x.wild.example", dns.TypeTXT, nil},
		{"y.x.wild.example", dns.TypeTXT, nil},
		{"x.wild.example", dns.TypeA, dns.ErrNoData},
		{"only.wild.example", dns.TypeTXT, dns.ErrNoData},
		{"x.only.wild.example", dns.TypeTXT, dns.ErrNotExist},
		{"alias.example", dns.TypeA, nil},
		{"alias.example", dns.TypeTXT, dns.ErrNoData},
		{"alias.example", dns.TypeCNAME, nil},
		{"away.example", dns.TypeA, nil},
		{"gone.example", dns.TypeA, dns.ErrNotExist},
	} {
		_, err := dns.Lookup(t.Context(), names, c.name, c.t)
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s %s: %v, want %v", c.name, dns.TypeName(c.t), err, c.want)
		}
	}
	if n := names.Count("mx.example", dns.TypeA); n != 1 {
		t.Errorf("counted %d queries for mx.example A", n)
	}
	if n := names.Total(); n != 16 {
		t.Errorf("counted %d queries", n)
	}
}

func TestFailuresAreTemporary(t *testing.T) {
	for _, how := range []Failure{ServFail, Refused, Timeout, Garbage, Lame} {
		names := Zone(t, world)
		names.Fail("mx.example", how)
		for _, name := range []string{"mx.example", "loop.example", "mx.outside"} {
			_, err := dns.Lookup(t.Context(), names, name, dns.TypeA)
			var e *dns.Error
			if !errors.As(err, &e) || !e.Temporary() || dns.IsNegative(err) {
				t.Errorf("%d %s: %v", how, name, err)
			}
			if name == "mx.example" && e.Timeout() != (how == Timeout) {
				t.Errorf("%d: timeout is %v", how, e.Timeout())
			}
		}
		names.Fail("mx.example", 0)
		if _, err := dns.Lookup(t.Context(), names, "mx.example", dns.TypeA); err != nil {
			t.Errorf("healed: %v", err)
		}
	}
}

func TestChangesAndFailuresOfOneType(t *testing.T) {
	names := Zone(t, "mx.example A 192.0.2.1\nmx.example AAAA 2001:db8::1")
	names.Secure = true
	names.Fail("mx.example", ServFail, dns.TypeAAAA)
	a, err := dns.LookupAddrs(t.Context(), names, "mx.example")
	if err != nil || len(a.RRs) != 1 || a.Secure {
		t.Errorf("half an answer: %+v, %v", a, err)
	}
	names.Fail("mx.example", 0, dns.TypeAAAA)
	a, err = dns.LookupAddrs(t.Context(), names, "mx.example")
	if err != nil || len(a.RRs) != 2 || !a.Secure {
		t.Errorf("a whole answer: %+v, %v", a, err)
	}
	names.Remove("mx.example", dns.TypeA)
	names.Remove("mx.example", dns.TypeAAAA)
	if _, err := dns.Addrs(context.Background(), names, "mx.example"); !errors.Is(err, dns.ErrNotExist) {
		t.Errorf("removed: %v", err)
	}
}
