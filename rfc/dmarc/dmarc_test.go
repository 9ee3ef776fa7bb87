package dmarc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"stagecoach/rfc/dns"
	"stagecoach/rfc/dns/dnstest"
)

const zone = `
_dmarc.example.com        TXT "v=DMARC1; p=reject; sp=quarantine; np=reject"
a.example.com             A   192.0.2.1
mail.a.example.com        A   192.0.2.1
_dmarc.b.example.com      TXT "v=DMARC1; p=none"
_dmarc.strict.example     TXT "v=DMARC1; p=quarantine; adkim=s; aspf=s"
_dmarc.test.example       TXT "v=DMARC1; p=reject; t=y; sp=quarantine"
sub.test.example          A   192.0.2.1
_dmarc.dept.corp.example  TXT "v=DMARC1; p=reject; psd=n"
_dmarc.corp.example       TXT "v=DMARC1; p=none"
_dmarc.bank               TXT "v=DMARC1; p=none; sp=reject; psd=y"
www.mine.bank             A   192.0.2.1
_dmarc.org.bank           TXT "v=DMARC1; p=quarantine"
_dmarc.two.example        TXT "v=DMARC1; p=reject"
_dmarc.two.example        TXT "v=DMARC1; p=none"
_dmarc.mixed.example      TXT "v=spf1 -all"
_dmarc.mixed.example      TXT "v=DMARC1; p=reject"
_dmarc.broken.example     TXT "v=DMARC1; p=rejct"
_dmarc.mended.example     TXT "v=DMARC1; p=rejct; rua=mailto:d@mended.example"
_dmarc.pct.example        TXT "v=DMARC1; p=reject; pct=0; rf=afrf; ri=1"
none.example              A   192.0.2.1
_dmarc.co.uk              TXT "v=DMARC1; p=none"
`

func pass(domain string) Identifier { return Identifier{Domain: domain, Pass: true} }

func TestCheck(t *testing.T) {
	dkim := func(domains ...string) (ev Evidence) {
		for _, d := range domains {
			ev.DKIM = append(ev.DKIM, pass(d))
		}
		return ev
	}
	spf := func(domain string) Evidence { return Evidence{SPF: pass(domain)} }
	nothing := Evidence{SPF: Identifier{Domain: "example.com"}, DKIM: []Identifier{{Domain: "example.com"}}}
	tests := []struct {
		name, from string
		ev         Evidence
		value      Value
		dis        Disposition
		where, tag string
	}{
		{"dkim", "example.com", dkim("example.com"), Pass, NoAction, "example.com", "p"},
		{"spf", "example.com", spf("example.com"), Pass, NoAction, "example.com", "p"},
		{"case and final dot", "Example.COM.", spf("eXample.com."), Pass, NoAction, "example.com", "p"},
		{"second signature", "example.com", dkim("other.example", "example.com"), Pass, NoAction, "example.com", "p"},
		{"relaxed, below", "example.com", spf("bounce.example.com"), Pass, NoAction, "example.com", "p"},
		{"relaxed, above", "a.example.com", dkim("example.com"), Pass, NoAction, "example.com", "sp"},
		{"relaxed, beside", "a.example.com", dkim("c.example.com"), Pass, NoAction, "example.com", "sp"},
		{"failed alone", "example.com", nothing, Fail, Reject, "example.com", "p"},
		{"no evidence", "example.com", Evidence{}, Fail, Reject, "example.com", "p"},
		{"unaligned", "example.com", dkim("example.org", "com", "example.com.evil.example", "notexample.com"), Fail, Reject, "example.com", "p"},
		{"subdomain", "a.example.com", nothing1("x.example"), Fail, Quarantine, "example.com", "sp"},
		{"subdomain of it", "mail.a.example.com", Evidence{}, Fail, Quarantine, "example.com", "sp"},
		{"subdomain that is not there", "no.example.com", Evidence{}, Fail, Reject, "example.com", "np"},
		{"own record wins", "b.example.com", Evidence{}, Fail, NoAction, "b.example.com", "p"},
		{"own record, same organization", "b.example.com", spf("example.com"), Pass, NoAction, "b.example.com", "p"},
		{"strict, equal", "strict.example", dkim("strict.example"), Pass, NoAction, "strict.example", "p"},
		{"strict dkim, below", "strict.example", dkim("a.strict.example"), Fail, Quarantine, "strict.example", "p"},
		{"strict spf, below", "strict.example", spf("a.strict.example"), Fail, Quarantine, "strict.example", "p"},
		{"testing reject", "test.example", Evidence{}, Fail, Quarantine, "test.example", "p"},
		{"testing quarantine", "sub.test.example", Evidence{}, Fail, NoAction, "test.example", "sp"},
		{"psd=n is its own", "dept.corp.example", dkim("corp.example"), Fail, Reject, "dept.corp.example", "p"},
		{"psd=n below", "x.dept.corp.example", dkim("dept.corp.example"), Pass, NoAction, "dept.corp.example", "sp"},
		{"psd=n from above", "corp.example", dkim("dept.corp.example"), Fail, NoAction, "corp.example", "p"},
		{"psd=y record", "www.mine.bank", Evidence{}, Fail, Reject, "bank", "sp"},
		{"psd=y organization", "www.mine.bank", dkim("mine.bank"), Pass, NoAction, "bank", "sp"},
		{"psd=y, strangers", "mine.bank", dkim("yours.bank"), Fail, Reject, "bank", "sp"},
		{"psd=y, the suffix signs", "mine.bank", dkim("bank"), Fail, Reject, "bank", "sp"},
		{"psd=y, organization has a record", "x.org.bank", Evidence{}, Fail, Quarantine, "org.bank", "sp"},
		{"psd=y itself", "bank", spf("bank"), Pass, NoAction, "bank", "p"},
		{"two records", "two.example", Evidence{}, None, NoAction, "", ""},
		{"other texts", "mixed.example", Evidence{}, Fail, Reject, "mixed.example", "p"},
		{"broken", "broken.example", spf("broken.example"), PermError, NoAction, "broken.example", "p"},
		{"broken with rua", "mended.example", Evidence{}, Fail, NoAction, "mended.example", "p"},
		{"pct is gone", "pct.example", Evidence{}, Fail, Reject, "pct.example", "p"},
		{"no record", "none.example", spf("none.example"), None, NoAction, "", ""},
		{"address literal", "[192.0.2.1]", spf("[192.0.2.1]"), None, NoAction, "", ""},
		{"no domain", "", Evidence{}, None, NoAction, "", ""},
	}
	for _, tt := range tests {
		r := Check(t.Context(), dnstest.Zone(t, zone), tt.from, tt.ev, Options{})
		if r.Value != tt.value || r.Disposition != tt.dis || r.PolicyDomain != tt.where || r.Tag != tt.tag {
			t.Errorf("%s: %s dis=%s by %s of %q (organization %s, %v), want %s dis=%s by %s of %q",
				tt.name, r.Value, r.Disposition, r.Tag, r.PolicyDomain, r.Organization, r.Problem, tt.value, tt.dis, tt.tag, tt.where)
		}
	}
}

func nothing1(domain string) Evidence { return Evidence{SPF: pass(domain)} }

func TestAlignedWithoutRecord(t *testing.T) {
	x := dnstest.Zone(t, zone)
	for _, tt := range []struct {
		from, id string
		psl      bool
		want     bool
	}{
		{"none.example", "none.example", false, true},
		{"none.example", "sub.none.example", false, false},
		{"none.example", "sub.none.example", true, true},
		{"shop.none.example", "none.example", true, true},
		{"one.github.io", "two.github.io", true, false},
		{"none.example", "other.example", true, false},
		{"a.co.uk", "b.co.uk", false, true}, // a registry that forgot psd=y
		{"a.co.uk", "b.co.uk", true, false},
	} {
		r := Check(t.Context(), x, tt.from, Evidence{SPF: pass(tt.id)}, Options{PublicSuffixes: tt.psl})
		if r.Aligned() != tt.want {
			t.Errorf("%+v: %+v", tt, r)
		}
	}
}

func TestTreeWalkNames(t *testing.T) {
	var asked []string
	x := dns.ExchangerFunc(func(_ context.Context, q *dns.Msg) (*dns.Msg, error) {
		asked = append(asked, dns.Host(q.Question[0].Name))
		return dns.NewResponse(q, dns.RcodeNameError), nil
	})
	Check(t.Context(), x, "a.b.c.d.e.f.g.h.i.j.mail.example.com", Evidence{}, Options{})
	want := "_dmarc.a.b.c.d.e.f.g.h.i.j.mail.example.com _dmarc.g.h.i.j.mail.example.com _dmarc.h.i.j.mail.example.com " +
		"_dmarc.i.j.mail.example.com _dmarc.j.mail.example.com _dmarc.mail.example.com _dmarc.example.com _dmarc.com"
	if got := strings.Join(asked, " "); got != want {
		t.Errorf("asked for\n%s, want\n%s", got, want)
	}
	asked = nil
	Check(t.Context(), x, "b.c.d.e.f.g.h.com", Evidence{}, Options{})
	if len(asked) != 8 {
		t.Errorf("eight labels cost %d queries: %v", len(asked), asked)
	}
}

// No failure of DNS may become none, fail or a rejection.
func TestFailuresAreTemporary(t *testing.T) {
	for _, how := range []dnstest.Failure{dnstest.ServFail, dnstest.Refused, dnstest.Timeout, dnstest.Garbage, dnstest.Lame} {
		for _, tt := range []struct {
			fails, from string
			ev          Evidence
		}{
			{"_dmarc.a.example.com", "a.example.com", Evidence{}},
			{"_dmarc.example.com", "a.example.com", Evidence{}},
			{"_dmarc.com", "a.example.com", Evidence{}},
			{"no.example.com", "no.example.com", Evidence{}}, // np or sp?
			{"_dmarc.c.example.com", "example.com", Evidence{SPF: pass("c.example.com")}},
		} {
			x := dnstest.Zone(t, zone)
			x.Fail(tt.fails, how)
			r := Check(t.Context(), x, tt.from, tt.ev, Options{})
			if r.Value != TempError || r.Disposition != NoAction || r.Problem == nil {
				t.Errorf("failure %d of %s: %s dis=%s %v", how, tt.fails, r.Value, r.Disposition, r.Problem)
			}
		}
	}
	x := dnstest.Zone(t, zone)
	temporary := Evidence{DKIM: []Identifier{{Domain: "a.example.com", Temporary: true}}}
	if r := Check(t.Context(), x, "example.com", temporary, Options{}); r.Value != TempError || r.Policy != Reject {
		t.Errorf("key not found yet: %+v", r)
	}
	temporary.DKIM[0].Domain = "evil.example"
	if r := Check(t.Context(), x, "example.com", temporary, Options{}); r.Value != Fail {
		t.Errorf("a stranger's key not found yet: %+v", r)
	}
	temporary.SPF = pass("example.com")
	if r := Check(t.Context(), x, "example.com", temporary, Options{}); r.Value != Pass {
		t.Errorf("one of two passes: %+v", r)
	}
	if r := Check(t.Context(), x, "broken.example", Evidence{SPF: pass("a.broken.example")}, Options{}); !r.Aligned() {
		t.Errorf("a broken record leaves alignment: %+v", r)
	}
	x.Fail("_dmarc.com", dnstest.ServFail)
	if r := Check(t.Context(), x, "example.com", Evidence{SPF: pass("example.com")}, Options{}); r.Value != Pass {
		t.Errorf("a walk that is not needed: %+v", r)
	}
}

func TestQueriesAreBounded(t *testing.T) {
	x := dnstest.Zone(t, "_dmarc.example.com TXT \"v=DMARC1; p=reject\"\nexample.com A 192.0.2.1")
	var ev Evidence
	for i := range 500 {
		ev.DKIM = append(ev.DKIM, pass(fmt.Sprintf("a%d.b.c.d.e.f.g.h.i.example.com.evil.example", i)))
	}
	Check(t.Context(), x, "example.com", ev, Options{})
	if x.Total() > 10 {
		t.Errorf("strangers cost %d queries", x.Total())
	}
}

func TestParseRecord(t *testing.T) {
	for _, tt := range []struct {
		text string
		want string
		err  error
	}{
		{"v=DMARC1", "none none none u", nil},
		{"v=DMARC1;", "none none none u", nil},
		{"v = DMARC1 ; P = Reject ;", "reject reject reject u", nil},
		{"v=DMARC1; p=none; sp=quarantine; psd=y; t=y", "none quarantine quarantine y", nil},
		{"v=DMARC1; p=none; np=reject; psd=n", "none none reject n", nil},
		{"v=DMARC1; p=reject; p=none", "reject reject reject u", nil},
		{"v=DMARC1; x=1; ;; =; p=reject; psd=maybe; t=perhaps; adkim=q", "reject reject reject u", nil},
		{"v=DMARC1; p=reject; sp=nonsense", "", ErrBroken},
		{"v=DMARC1; p=", "none none none u", nil},
		{"v=DMARC1; p=r\xc3\xa9ject", "", ErrBroken},
		{"v=DMARC1; p=bad; rua=mailto:a@b.example!10m", "none none none u", nil},
		{"v=DMARC1; p=bad; rua=nonsense", "", ErrBroken},
		{"v=dmarc1; p=reject", "", errNotRecord},
		{"v=DMARC12; p=reject", "", errNotRecord},
		{"p=reject; v=DMARC1", "", errNotRecord},
		{" v=DMARC1; p=reject", "reject reject reject u", nil},
		{"", "", errNotRecord},
	} {
		r, err := ParseRecord(tt.text)
		got := fmt.Sprintf("%s %s %s %c", r.Policy, r.Subdomain, r.NonExistent, r.PSD)
		if !errors.Is(err, tt.err) || err == nil && got != tt.want {
			t.Errorf("%q: %s, %v, want %s, %v", tt.text, got, err, tt.want, tt.err)
		}
	}
	r, err := ParseRecord("v=DMARC1; p=none; fo=1:d:s; rua=mailto:a@x.example!10m, https://y.example/r ,nonsense; ruf=mailto:b@x.example")
	if err != nil || strings.Join(r.Reports, " ") != "mailto:a@x.example https://y.example/r" || len(r.Failures) != 1 || r.FailureOpts != "1:d:s" {
		t.Errorf("%+v, %v", r, err)
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add("v=DMARC1; p=reject; sp=none; np=quarantine; psd=y; t=y; adkim=s; aspf=r; rua=mailto:a@b!1g,mailto:c@d; fo=0:d:s")
	f.Add("v=DMARC1;;;p=x;rua=a:b")
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRecord(s)
		if err != nil {
			return
		}
		for _, d := range []Disposition{r.Policy, r.Subdomain, r.NonExistent} {
			if d != NoAction && d != Quarantine && d != Reject {
				t.Fatalf("%q has the disposition %q", s, d)
			}
		}
		if len(r.Reports) > maxURIs || len(r.Failures) > maxURIs {
			t.Fatalf("%q has too many addresses", s)
		}
	})
}
