package spf

import (
	"strings"
	"testing"

	"stagecoach/rfc/dns/dnstest"
)

func TestNormal(t *testing.T) {
	for in, want := range map[string]string{
		"v=spf1 +ip4:76.8.60.93 -all":                                             "v=spf1 +ip4:76.8.60.93/32 -all", // as the articles have it
		"V=SPF1  ip4:192.0.2.0/24   IP6:2001:DB8:0::1 ~all":                       "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::1/128 ~all",
		"v=spf1 a mx/24//64 include:_spf.%{d} redirect=x.example exp=e.x.example": "v=spf1 a mx/24//64 include:_spf.%{d} redirect=x.example exp=e.x.example",
		"v=spf1":                "v=spf1",
		"v=spf1 unknown=thing ": "v=spf1 unknown=thing",
	} {
		got, err := Normal(in)
		if err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
		if again, err := Normal(got); again != got || err != nil {
			t.Errorf("%q becomes %q, %v", got, again, err)
		}
	}
	for _, in := range []string{"", "v=spf10 -all", "v=spf1 ip4:192.0.2.256", "v=spf1 -al", "v=spf1 redirect=a.example redirect=b.example", "v=spf1 ip6:192.0.2.1", "v=DKIM1"} {
		if got, err := Normal(in); err == nil {
			t.Errorf("%q is taken as %q", in, got)
		}
	}
}

func TestLookups(t *testing.T) {
	x := dnstest.Zone(t, `
one.example. TXT "v=spf1 a -all"
two.example. TXT "v=spf1 include:one.example mx -all"
loop.example. TXT "v=spf1 include:loop.example -all"
twice.example. TXT "v=spf1 -all"
twice.example. TXT "v=spf1 ~all"
broken.example. TXT "v=spf1 ip4:x"
_spf.x.example. TXT "v=spf1 a mx ptr exists:%{i}.x.example redirect=one.example"
none.example. TXT "hello"
`)
	x.Fail("down.example", dnstest.ServFail)
	for text, want := range map[string]int{
		"v=spf1 ip4:192.0.2.1 -all":          0,
		"v=spf1 a mx:x.example -all":         2,
		"v=spf1 include:two.example -all":    4,
		"v=spf1 -all include:two.example":    0,
		"v=spf1 redirect=one.example":        2,
		"v=spf1 include:_spf.%{d} -all":      7,
		"v=spf1 include:%{l}.x.example -all": 1,
	} {
		if n, err := Lookups(t.Context(), x, "x.example", text); n != want || err != nil {
			t.Errorf("%q: %d, %v; want %d", text, n, err, want)
		}
	}
	for text, want := range map[string]string{
		"v=spf1 include:loop.example -all":                            "more than 10",
		"v=spf1 a a a a a a a a a a a -all":                           "more than 10",
		"v=spf1 include:twice.example -all":                           "2 SPF records",
		"v=spf1 include:none.example -all":                            "0 SPF records",
		"v=spf1 include:missing.example -all":                         "0 SPF records",
		"v=spf1 include:broken.example -all":                          "broken.example",
		"v=spf1 include:" + strings.Repeat("a", 64) + ".example -all": "no domain name",
		"v=spf1 ip4:x":                     "ip4",
		"v=spf1 include:down.example -all": "SERVFAIL",
	} {
		if _, err := Lookups(t.Context(), x, "x.example", text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzNormal(f *testing.F) {
	for _, s := range []string{"v=spf1 +ip4:76.8.60.93 -all", "v=spf1 mx/24//64 include:%{d} redirect=x.y", "v=spf1 ?ip6:::1/64 x=%{s}", "V=spf1  -IP4:1.2.3.4"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		normal, err := Normal(s)
		if err != nil {
			return
		}
		if again, err := Normal(normal); err != nil || again != normal {
			t.Fatalf("%q becomes %q, and that %q, %v", s, normal, again, err)
		}
	})
}
