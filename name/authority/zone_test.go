package authority

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stagecoach/rfc/dns"
)

func zoneOf(t testing.TB, name, text string) *Zone {
	t.Helper()
	f, problems := parseFile(name, name, text)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	z, err := NewZone(name, f.records())
	if err != nil {
		t.Fatal(err)
	}
	return z
}

const exampleText = `$TTL 300
@	SOA	ns1 hostmaster 7 7200 900 1209600 60
	NS	ns1
	NS	ns.other.
	MX	10 mx
ns1	A	192.0.2.1
mx	A	192.0.2.2
	AAAA	2001:db8::2
www	CNAME	mx
out	CNAME	www.elsewhere.
across	CNAME	host.sister
loop	CNAME	loop2
loop2	CNAME	loop
a.b.c	TXT	"deep"
*.wild	TXT	"star"
	MX	5 mx
host.wild	A	192.0.2.3
*.c.wild CNAME	mx
sub	NS	ns.sub
	NS	ns.other.
	DS	12345 13 2 0000000000000000000000000000000000000000000000000000000000000000
ns.sub	A	192.0.2.4
_25._tcp.mx	TLSA	3 1 1 0000000000000000000000000000000000000000000000000000000000000001
mx	SSHFP	4 2 0000000000000000000000000000000000000000000000000000000000000002
@	CAA	0 issue "ca.example"
svc	HTTPS	1 . alpn=h2
odd	TYPE65280	\# 2 ABCD
loc	LOC	51 30 12.748 N 0 7 39.612 W 0.00m
old	DNAME	sister
`

func exampleZones(t testing.TB) Zones {
	return Zones{
		"example.":        zoneOf(t, "example", exampleText),
		"sister.example.": zoneOf(t, "sister.example", "@ 300 SOA ns1 h 1 1 1 1 60\nhost 300 A 192.0.2.9\n"),
	}
}

// Each case is "NAME TYPE", and below it the response: the code and "aa" if authoritative, then
// the records of the sections, short.
func TestAnswers(t *testing.T) {
	const soa = "ns example. 60 SOA"
	zones := exampleZones(t)
	for _, c := range []struct {
		ask  string
		want []string
	}{
		{"mx.example A", []string{"NOERROR aa", "an mx.example. 300 A 192.0.2.2"}},
		{"MX.Example A", []string{"NOERROR aa", "an mx.example. 300 A 192.0.2.2"}},
		{"mx.example TXT", []string{"NOERROR aa", soa}},
		{"no.example A", []string{"NXDOMAIN aa", soa}},
		{"b.c.example A", []string{"NOERROR aa", soa}},
		{"x.b.c.example A", []string{"NXDOMAIN aa", soa}},
		{"example MX", []string{"NOERROR aa", "an example. 300 MX 10 mx.example.", "ar mx.example. 300 A 192.0.2.2", "ar mx.example. 300 AAAA 2001:db8::2"}},
		{"www.example A", []string{"NOERROR aa", "an www.example. 300 CNAME mx.example.", "an mx.example. 300 A 192.0.2.2"}},
		{"www.example CNAME", []string{"NOERROR aa", "an www.example. 300 CNAME mx.example."}},
		{"www.example TXT", []string{"NOERROR aa", "an www.example. 300 CNAME mx.example.", soa}},
		{"out.example A", []string{"NOERROR aa", "an out.example. 300 CNAME www.elsewhere."}},
		{"across.example A", []string{"NOERROR aa", "an across.example. 300 CNAME host.sister.example.", "an host.sister.example. 300 A 192.0.2.9"}},
		{"x.wild.example TXT", []string{"NOERROR aa", `an x.wild.example. 300 TXT "star"`}},
		{"y.x.wild.example TXT", []string{"NOERROR aa", `an y.x.wild.example. 300 TXT "star"`}},
		{"x.wild.example A", []string{"NOERROR aa", soa}},
		{"host.wild.example TXT", []string{"NOERROR aa", soa}},
		{"x.host.wild.example TXT", []string{"NXDOMAIN aa", soa}},
		{"*.wild.example TXT", []string{"NOERROR aa", `an *.wild.example. 300 TXT "star"`}},
		{"c.wild.example TXT", []string{"NOERROR aa", soa}},
		{"x.c.wild.example A", []string{"NOERROR aa", "an x.c.wild.example. 300 CNAME mx.example.", "an mx.example. 300 A 192.0.2.2"}},
		{"sub.example A", []string{"NOERROR", "ns sub.example. 300 NS ns.sub.example.", "ns sub.example. 300 NS ns.other.", "ar ns.sub.example. 300 A 192.0.2.4"}},
		{"x.y.sub.example A", []string{"NOERROR", "ns sub.example. 300 NS ns.sub.example.", "ns sub.example. 300 NS ns.other.", "ar ns.sub.example. 300 A 192.0.2.4"}},
		{"ns.sub.example A", []string{"NOERROR", "ns sub.example. 300 NS ns.sub.example.", "ns sub.example. 300 NS ns.other.", "ar ns.sub.example. 300 A 192.0.2.4"}},
		{"sub.example NS", []string{"NOERROR", "ns sub.example. 300 NS ns.sub.example.", "ns sub.example. 300 NS ns.other.", "ar ns.sub.example. 300 A 192.0.2.4"}},
		{"sub.example DS", []string{"NOERROR aa", "an sub.example. 300 DS 12345 13 2 0000000000000000000000000000000000000000000000000000000000000000"}},
		{"sister.example DS", []string{"NXDOMAIN aa", soa}},
		{"elsewhere A", []string{"REFUSED"}},
		{"_25._tcp.mx.example TLSA", []string{"NOERROR aa", "an _25._tcp.mx.example. 300 TLSA 3 1 1 0000000000000000000000000000000000000000000000000000000000000001"}},
		{"_tcp.mx.example TLSA", []string{"NOERROR aa", soa}},
		{"mx.example SSHFP", []string{"NOERROR aa", "an mx.example. 300 SSHFP 4 2 0000000000000000000000000000000000000000000000000000000000000002"}},
		{"example CAA", []string{"NOERROR aa", `an example. 300 CAA 0 issue "ca.example"`}},
		{"svc.example HTTPS", []string{"NOERROR aa", `an svc.example. 300 HTTPS 1 . alpn="h2"`}},
		{"odd.example TYPE65280", []string{"NOERROR aa", `an odd.example. 300 TYPE65280 \# 2 abcd`}},
		{"loc.example LOC", []string{"NOERROR aa", "an loc.example. 300 LOC 51 30 12.748 N 00 07 39.612 W 0m 1m 10000m 10m"}},
		{"host.old.example A", []string{"NOERROR aa", "an old.example. 300 DNAME sister.example.", "an host.old.example. 300 CNAME host.sister.example.", "an host.sister.example. 300 A 192.0.2.9"}},
		{"old.example A", []string{"NOERROR aa", soa}},
		{"svc.example ANY", []string{"NOERROR aa", `an svc.example. 300 HTTPS 1 . alpn="h2"`}},
	} {
		name, kind, _ := strings.Cut(c.ask, " ")
		typ, ok := dns.ParseType(kind)
		if !ok {
			t.Fatal(kind)
		}
		got := short(zones.Answer(dns.NewQuery(name, typ)))
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", c.ask, d)
		}
	}
	if m := zones.Answer(dns.NewQuery("loop.example", dns.TypeA)); len(m.Answer) > 2*maxAliases {
		t.Errorf("a loop gives %d records", len(m.Answer))
	}
}

func short(m *dns.Msg) []string {
	head := dns.RcodeName(m.Rcode)
	if m.Authoritative {
		head += " aa"
	}
	out := []string{head}
	for i, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			h := rr.Header()
			data := dns.Data(rr)
			if h.Rrtype == dns.TypeSOA {
				data = ""
			}
			out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %d %s %s", []string{"an", "ns", "ar"}[i], h.Name, h.Ttl, dns.TypeName(h.Rrtype), data)))
		}
	}
	return out
}

func TestCanonicalOrder(t *testing.T) {
	want := []string{ // RFC 4034 section 6.1
		"example.", "a.example.", "yljkjljk.a.example.", "z.a.example.", "zabc.a.example.", "z.example.",
		`\001.z.example.`, "*.z.example.", `\200.z.example.`,
	}
	got := slices.Clone(want)
	slices.Reverse(got)
	sortNames(got)
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func BenchmarkAnswer(b *testing.B) {
	zones := exampleZones(b)
	q := dns.NewQuery("www.example", dns.TypeA)
	b.ReportAllocs()
	for b.Loop() {
		zones.Answer(q)
	}
}
