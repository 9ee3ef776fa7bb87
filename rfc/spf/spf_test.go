package spf

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"stagecoach/mail"
	"stagecoach/rfc/dns"
	"stagecoach/rfc/dns/dnstest"
)

var client = netip.MustParseAddr("192.0.2.1")

func sender(s string) mail.Address { return mail.MustParseAddress(s) }

func TestIdentities(t *testing.T) {
	x := dnstest.Zone(t, `
a.example    TXT "v=spf1 ip4:192.0.2.1 -all"
b.example    TXT "v=spf1 -all"
h.a.example  TXT "v=spf1 a -all"
h.a.example  A   192.0.2.1
`)
	for _, tt := range []struct {
		o      Outcome
		result Result
		id     Identity
		domain string
		by     string
	}{
		{Check(t.Context(), x, client, "h.a.example", sender("ann@a.example")), Pass, MailFrom, "a.example", "ip4:192.0.2.1"},
		{Check(t.Context(), x, client, "h.a.example", sender("ann@b.example")), Fail, MailFrom, "b.example", "-all"},
		{Check(t.Context(), x, client, "h.a.example", sender("ann@c.example")), None, MailFrom, "c.example", ""},
		{Check(t.Context(), x, client, "h.a.example", mail.Address{}), Pass, MailFrom, "h.a.example", "a"},
		{CheckHELO(t.Context(), x, client, "H.A.example."), Pass, HELO, "h.a.example", "a"},
		{CheckHELO(t.Context(), x, client, "[192.0.2.1]"), None, HELO, "[192.0.2.1]", ""},
		{CheckHELO(t.Context(), x, client, ""), None, HELO, "", ""},
		{CheckHELO(t.Context(), x, client, "localhost"), None, HELO, "localhost", ""},
		{Check(t.Context(), x, netip.MustParseAddr("::ffff:192.0.2.1"), "x", sender("ann@a.example")), Pass, MailFrom, "a.example", "ip4:192.0.2.1"},
		{Check(t.Context(), x, netip.Addr{}, "x", sender("ann@a.example")), None, MailFrom, "a.example", ""},
		{Check(t.Context(), x, client, "x", sender("ann@[192.0.2.1]")), None, MailFrom, "[192.0.2.1]", ""},
	} {
		if tt.o.Result != tt.result || tt.o.Identity != tt.id || tt.o.Domain != tt.domain || tt.o.Mechanism != tt.by {
			t.Errorf("%+v, want %s %s %s by %q", tt.o, tt.id, tt.domain, tt.result, tt.by)
		}
	}
}

// No failure of DNS may read as "no record" or as the sender's fault, wherever it strikes.
func TestFailuresAreTemporary(t *testing.T) {
	zone := `
a.example    TXT "v=spf1 include:i.example mx a:h.example exists:e.example redirect=r.example"
a.example    MX  10 m.example
i.example    TXT "v=spf1 ip4:198.51.100.1 -all"
m.example    A   198.51.100.2
h.example    A   198.51.100.3
r.example    TXT "v=spf1 -all"
x.example    TXT "v=spf1 ?all"
`
	for _, how := range []dnstest.Failure{dnstest.ServFail, dnstest.Refused, dnstest.Timeout, dnstest.Garbage, dnstest.Lame} {
		for _, name := range []string{"a.example", "i.example", "m.example", "h.example", "e.example", "r.example"} {
			x := dnstest.Zone(t, zone)
			x.Fail(name, how)
			if o := Check(t.Context(), x, client, "helo.example", sender("ann@a.example")); o.Result != TempError || o.Problem == nil {
				t.Errorf("failure %d of %s: %s, %v", how, name, o.Result, o.Problem)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if o := Check(ctx, dnstest.Zone(t, zone), client, "helo.example", sender("ann@a.example")); o.Result != TempError {
		t.Errorf("cancelled: %s", o.Result)
	}
}

// Reliability.md S23: what a hostile record makes us ask for stays small.
func TestQueriesAreBounded(t *testing.T) {
	var zone strings.Builder
	var tree, mx, exists strings.Builder
	for i := range 20 {
		fmt.Fprintf(&tree, " include:t%d.example", i)
		fmt.Fprintf(&zone, "t%d.example TXT \"v=spf1 include:t%d.example include:t%d.example\"\n", i, (2*i+1)%20, (2*i+2)%20)
		fmt.Fprintf(&mx, " mx:m%d.example", i)
		fmt.Fprintf(&exists, " exists:%%{ir}.%%{d10r}.%%{s}.e%d.example", i)
		for j := range 10 {
			fmt.Fprintf(&zone, "m%d.example MX 10 h%d.m%d.example\nh%d.m%d.example A 198.51.100.9\n", i, j, i, j, i)
		}
		fmt.Fprintf(&zone, "1.2.0.192.in-addr.arpa PTR p%d.example\np%d.example A 198.51.100.9\n", i, i)
	}
	fmt.Fprintf(&zone, "tree.example TXT \"v=spf1%s\"\n", tree.String())
	fmt.Fprintf(&zone, "mx.example TXT \"v=spf1%s\"\n", mx.String())
	fmt.Fprintf(&zone, "exists.example TXT \"%s\" \"%s\"\n", "v=spf1"+exists.String()[:200], exists.String()[200:400])
	zone.WriteString("ptr.example TXT \"v=spf1 ptr ptr:a.example exists:%{p}.example ptr:b.example mx:m1.example mx:m2.example -all\"\n")
	for _, tt := range []struct {
		domain string
		want   Result
	}{{"tree.example", PermError}, {"mx.example", PermError}, {"exists.example", PermError}, {"ptr.example", PermError}} {
		x := dnstest.Zone(t, zone.String())
		o := Check(t.Context(), x, client, "helo.example", sender("ann@"+tt.domain))
		if o.Result != tt.want || x.Total() > 21 {
			t.Errorf("%s: %s (%v) after %d queries", tt.domain, o.Result, o.Problem, x.Total())
		}
	}
}

func TestHugeMacrosAreCheap(t *testing.T) {
	text := "v=spf1 exists:" + strings.Repeat("%{s}%{h}%{d}", 4000) + ".example -all"
	x := dns.ExchangerFunc(func(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
		r := dns.NewResponse(q, dns.RcodeSuccess)
		if q.Question[0].Qtype == dns.TypeTXT {
			rr := &dns.TXTRecord{Hdr: dns.Header{Name: q.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET}}
			for s := text; s != ""; s = s[min(255, len(s)):] {
				rr.Txt = append(rr.Txt, s[:min(255, len(s))])
			}
			r.Answer = append(r.Answer, rr)
		}
		return r, nil
	})
	start := time.Now()
	o := Check(t.Context(), x, client, strings.Repeat("h.", 250), sender("ann@a.example"))
	if d := time.Since(start); o.Result != Fail || d > time.Second {
		t.Errorf("%s (%v) in %v", o.Result, o.Problem, d)
	}
}

func TestReceivedField(t *testing.T) {
	o := Outcome{Result: Pass, Identity: MailFrom, Sender: "ann@a.example", Domain: "a.example", IP: client, Hello: "h.a.example", Mechanism: "ip4:192.0.2.1"}
	want := "Received-SPF: pass (mx.example.org: domain of ann@a.example designates 192.0.2.1 as permitted sender)\r\n" +
		"\tclient-ip=192.0.2.1;\r\n\tenvelope-from=\"ann@a.example\";\r\n\thelo=h.a.example;\r\n\tidentity=mailfrom;\r\n" +
		"\tmechanism=\"ip4:192.0.2.1\";\r\n\treceiver=mx.example.org\r\n"
	if got := o.Field("mx.example.org").Raw(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	o.Sender, o.Hello = "a)\r\n b\"\\("+strings.Repeat("x", 5000), "x\r\n\r\nbody\x00"
	h := mail.ParseHeader(o.Field("mx").Raw() + "\r\n")
	if h.Len() != 1 || h.Size() > 2000 {
		t.Errorf("hostile text: %d fields, %d octets", h.Len(), h.Size())
	}
}

func FuzzRecord(f *testing.F) {
	for _, s := range []string{"v=spf1 a/24//64 mx:%{d2r.}.x.example ptr -all exp=x.example", "v=spf1 ip4:1.2.3.4/8 ip6:::1/0 ~include:a.b ?exists:%{L}%%%_%-.c redirect=d.e", "v=spf1 x.y=%{ir}"} {
		f.Add(s, "helo.example", "ann", "a.example")
	}
	x := dns.ExchangerFunc(func(_ context.Context, q *dns.Msg) (*dns.Msg, error) {
		return dns.NewResponse(q, dns.RcodeNameError), nil
	})
	f.Fuzz(func(t *testing.T, text, helo, local, domain string) {
		if !isRecord(text) {
			return
		}
		r, err := parseRecord(text)
		if err != nil {
			return
		}
		e := &evaluation{x: x, ip: client, helo: helo, local: local, domain: domain}
		result, _ := e.evaluate(t.Context(), r, domain)
		switch result {
		case Neutral, Pass, Fail, SoftFail, PermError:
		default:
			t.Fatalf("%q gives %q", text, result)
		}
		if e.terms > maxTerms+1 || e.hosts > maxHosts+1 {
			t.Fatalf("%q costs %d terms and %d hosts", text, e.terms, e.hosts)
		}
	})
}
