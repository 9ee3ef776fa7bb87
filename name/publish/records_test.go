package publish

import (
	"strings"
	"testing"

	"stagecoach/rfc/dns"
)

type maker func(domain, record string) (Want, error)

func mx(domain, record string) (Want, error) { return MX(domain, strings.Split(record, ",")...) }

func TestRecordsThatAreGood(t *testing.T) {
	for _, c := range []struct {
		make               maker
		record, name, want string
	}{
		{SPF, "v=spf1 +ip4:76.8.60.93 -all", "x.example", "v=spf1 +ip4:76.8.60.93/32 -all"},
		{DMARC, "v=DMARC1; p=none", "_dmarc.x.example", "v=DMARC1; p=none"},
		{DMARC, "v=DMARC1;p=reject;sp=none;rua=mailto:a@x.example,mailto:b@y.example!10m;adkim=s;fo=1:d;pct=50;", "_dmarc.x.example", ""},
		{STS, "v=STSv1; id=20261121T234500;", "_mta-sts.x.example", ""},
		{TLSRPT, "v=TLSRPTv1; rua=mailto:tls@x.example,https://x.example/report", "_smtp._tls.x.example", ""},
		{mx, "10 mx1.x.example,20 mx2.y.example.", "x.example", ""},
		{mx, "mx1.x.example", "x.example", "10 mx1.x.example."},
		{mx, "10 bücher.example", "x.example", "10 xn--bcher-kva.example."},
		{mx, ".", "x.example", "0 ."},
	} {
		w, err := c.make("x.example", c.record)
		if err != nil {
			t.Errorf("%q: %v", c.record, err)
			continue
		}
		got := dns.Data(w.RRs[0])
		if txt, ok := w.RRs[0].(*dns.TXTRecord); ok {
			got = dns.Text(txt)
		}
		if c.want != "" && got != c.want || w.name() != c.name+"." {
			t.Errorf("%q becomes %s %q", c.record, w.name(), got)
		}
	}
}

func TestRecordsThatAreNot(t *testing.T) {
	for _, c := range []struct {
		make         maker
		record, want string
	}{
		{SPF, "v=spf1 -al", "unknown mechanism"},
		{SPF, "spf1 -all", "begins with v=spf1"},
		{SPF, "v=spf1 " + strings.Repeat("ip4:192.0.2.1 ", 40) + "-all", "450"},
		{DMARC, "p=none", "v=DMARC1"},
		{DMARC, "v=DMARC1", "p= is missing"},
		{DMARC, "v=DMARC1; p=non", "none of none, quarantine, reject"},
		{DMARC, "v=DMARC1; p=none; p=reject", "twice"},
		{DMARC, "v=DMARC1; p=none; rua=a@x.example", "URI"},
		{DMARC, "v=DMARC1; p=none; rua=mailto:x.example", "no mail address"},
		{DMARC, "v=DMARC1; p=none; rau=mailto:a@x.example", "rau is no tag"},
		{DMARC, "v=DMARC1 p=none", "v=DMARC1"},
		{DMARC, "v=DMARC1; p=none; pct=101", "range"},
		{DMARC, "v=DMARC1; p=none; fo=2", "0, 1, d, s"},
		{DMARC, "v=DMARC1; p=none; rua=mailto:ä@x.example", "ASCII"},
		{STS, "v=STSv1", "id= is missing"},
		{STS, "v=STSv1; id=a-b", "letters and digits"},
		{STS, "v=STSv1; id=" + strings.Repeat("1", 33), "32"},
		{STS, "v=STSv2; id=1", "v=STSv1"},
		{TLSRPT, "v=TLSRPTv1; rua=ftp://x.example", "mailto or https"},
		{TLSRPT, "v=TLSRPTv1; rua=https:", "no host"},
		{mx, "10 192.0.2.1", "no host name"},
		{mx, "10 [192.0.2.1]", "no host name"},
		{mx, "70000 mx.x.example", "PREFERENCE HOST"},
		{mx, "mx a b", "PREFERENCE HOST"},
		{mx, "10 mx.x.example,.", "stands alone"},
		{mx, "10 a_b.x.example", "no host name"},
		{mx, "", "PREFERENCE HOST"},
	} {
		if w, err := c.make("x.example", c.record); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, %v", c.record, w.RRs, err)
		}
	}
}

// An older record of the same kind goes, two of them too; others at the name stay.
func TestOneOfAKind(t *testing.T) {
	z := newZone(t, "@ TXT \"v=spf1 -all\"\n@ TXT \"V=SPF1 ~all\"\n_dmarc TXT \"v=DMARC1; p=none\"\nmx A 192.0.2.1\n@ MX 5 ns\n")
	for _, c := range []struct {
		make   maker
		record string
		name   string
		want   string
	}{
		{SPF, "v=spf1 mx -all", "x.example", "site=1, v=spf1 mx -all"},
		{DMARC, "v=DMARC1; p=reject", "_dmarc.x.example", "v=DMARC1; p=reject"},
		{TLSRPT, `v=TLSRPTv1; rua=mailto:tls@x.example`, "_smtp._tls.x.example", "v=TLSRPTv1; rua=mailto:tls@x.example"},
	} {
		w, err := c.make("x.example", c.record)
		if err != nil {
			t.Fatal(err)
		}
		for n := range 2 {
			_, changed, err := z.as(personalKey).Put(t.Context(), w)
			if err != nil || changed != (n == 0) {
				t.Errorf("%s: changed %v, %v", c.record, changed, err)
			}
		}
		if got := strings.Join(z.texts(c.name), ", "); got != c.want {
			t.Errorf("%s has %q, want %q", c.name, got, c.want)
		}
	}
	w, err := MX("x.example", "10 mx.x.example")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := z.as(personalKey).Put(t.Context(), w); err != nil {
		t.Error(err)
	}
	if got, err := dns.MX(t.Context(), z.a, "x.example"); err != nil || len(got) != 1 || got[0].Host != "mx.x.example" {
		t.Errorf("%v, %v", got, err)
	}
	w, err = MX("x.example", "10 nobody.x.example")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := z.as(personalKey).Put(t.Context(), w); err == nil || !strings.Contains(err.Error(), "broken") {
		t.Errorf("a mail server without address: %v", err)
	}
}

func FuzzDMARC(f *testing.F) {
	f.Add("v=DMARC1; p=none; rua=mailto:a@x.example!10m")
	f.Add("v=DMARC1;p=reject;fo=1:d;")
	f.Fuzz(func(t *testing.T, s string) {
		w, err := DMARC("x.example", s)
		if err == nil && dns.Text(w.RRs[0].(*dns.TXTRecord)) != s {
			t.Fatalf("%q becomes another text", s)
		}
	})
}
