package authority

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stagecoach/rfc/dns"
)

const handwritten = `; our zone, please ask Ann before a change
$TTL 3600
@  IN SOA ns hostmaster ( 2024010101 ; serial
                          7200 900
                          1209600 3600 )
     NS  ns
     MX  10 mx        ; the one

ns   A   192.0.2.1
; mail
mx   A   192.0.2.2    ; v4
     AAAA 2001:db8::2
     TXT ( "a;b"
           "c" ) ; several lines
$ORIGIN sub.example.
x  60 A 192.0.2.3
`

func rrs(t testing.TB, lines ...string) []dns.RR {
	t.Helper()
	var out []dns.RR
	for _, l := range lines {
		rr, err := dns.ParseRR(l)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, rr)
	}
	return out
}

func edit(f *zoneFile, d delta, serial uint32) (*zoneFile, error) {
	want, err := f.after(d, serial)
	if err != nil {
		return nil, err
	}
	return f.edit(d, serial, want)
}

// A change touches the lines that it is about, and the serial.
func TestEdits(t *testing.T) {
	for name, c := range map[string]struct {
		gone, come []string
		old, new   []string // replacements in the text, besides the serial
	}{
		"add to a name": {
			come: []string{"mx.example. 3600 TXT new"},
			old:  []string{"           \"c\" ) ; several lines\n"},
			new:  []string{"           \"c\" ) ; several lines\nmx\tTXT\t\"new\"\n"},
		},
		"add with a TTL": {
			come: []string{"ns.example. 60 AAAA 2001:db8::1"},
			old:  []string{"ns   A   192.0.2.1\n"},
			new:  []string{"ns   A   192.0.2.1\nns\t60\tAAAA\t2001:db8::1\n"},
		},
		"add a name": {
			come: []string{"_dmarc.example. 3600 TXT \"v=DMARC1; p=none\""},
			old:  []string{"x  60 A 192.0.2.3\n"},
			new:  []string{"x  60 A 192.0.2.3\n_dmarc.example.\tTXT\t\"v=DMARC1; p=none\"\n"},
		},
		"remove the first of a name": {
			gone: []string{"mx.example. 3600 A 192.0.2.2"},
			old:  []string{"mx   A   192.0.2.2    ; v4\n     AAAA"},
			new:  []string{"mx     AAAA"},
		},
		"remove several lines": {
			gone: []string{"mx.example. 3600 TXT \"a;b\" \"c\""},
			old:  []string{"     TXT ( \"a;b\"\n           \"c\" ) ; several lines\n"},
			new:  []string{""},
		},
		"remove a whole name": {
			gone: []string{"mx.example. 3600 TXT \"a;b\" \"c\"", "mx.example. 3600 A 192.0.2.2", "mx.example. 3600 AAAA 2001:db8::2"},
			old:  []string{"mx   A   192.0.2.2    ; v4\n     AAAA 2001:db8::2\n     TXT ( \"a;b\"\n           \"c\" ) ; several lines\n"},
			new:  []string{""},
		},
		"replace": {
			gone: []string{"x.sub.example. 60 A 192.0.2.3"},
			come: []string{"x.sub.example. 60 A 192.0.2.4", "x.sub.example. 60 A 192.0.2.5"},
			old:  []string{"x  60 A 192.0.2.3\n"},
			new:  []string{"x\t60\tA\t192.0.2.4\nx\t60\tA\t192.0.2.5\n"},
		},
		"nothing but the serial": {},
	} {
		f, problems := parseFile("example", "example", handwritten)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		got, err := edit(f, delta{gone: rrs(t, c.gone...), come: rrs(t, c.come...)}, 2024010102)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		want := strings.Replace(handwritten, "2024010101", "2024010102", 1)
		for i := range c.old {
			want = strings.Replace(want, c.old[i], c.new[i], 1)
		}
		if err != nil {
			continue
		}
		if d := cmp.Diff(want, got.text); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func TestEditWithoutLastNewline(t *testing.T) {
	f, _ := parseFile("x", "x", "@ SOA a b 1 2 3 4 5\na A 192.0.2.1")
	got, err := edit(f, delta{come: rrs(t, "a.x. 5 A 192.0.2.2")}, 2)
	if err != nil || got.text != "@ SOA a b 2 2 3 4 5\na A 192.0.2.1\na\tA\t192.0.2.2\n" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestProblems(t *testing.T) {
	const soa = "@ 60 SOA ns h 7 1 1 1 60\n@ 60 NS ns\nns 60 A 192.0.2.1\n"
	for _, c := range []struct{ text, before, want string }{
		{soa, "", ""},
		{"", "", "x: no SOA"},
		{"a 60 A 192.0.2.1\n", "", "x: no SOA"},
		{soa + "@ 60 SOA ns h 8 1 1 1 60\n", "", "x: more than one SOA"},
		{soa + "a 60 A 192.0.2\n", "", "x:4: bad A A: \"192.0.2\""},
		{soa + "a 60 TXT \"x\n", "", "x:4: a quoted text does not end on its line"},
		{soa + "a 60 A ( 192.0.2.1\n", "", "x:4: the file ends within quotes or parentheses"},
		{soa + "$INCLUDE /etc/passwd\n", "", "x:4: $INCLUDE is not supported"},
		{soa + "$GENERATE 1-9 a$ A 192.0.2.$\n", "", "x:4: $GENERATE wants one value"},
		{soa + "a 60 CH A 192.0.2.1\n", "", "x:4: a.x. is not of class IN"},
		{soa + "a 60 CNAME ns\na 60 A 192.0.2.1\n", "", "x: a.x. has a CNAME, and also other records"},
		{soa + "b.y. 60 A 192.0.2.1\n", "", "x: warning: ignoring 1 records out of the zone"},
		{soa + "@ 60 MX 1 mx\n", "", "x:4: missing address record for mx.x."},
		{soa + "@ 60 MX 1 a\na 60 CNAME ns\n", "", "x:4: a.x. of the MX is an alias"},
		{soa + "@ 60 MX 1 a.w\n*.w 60 A 192.0.2.1\n", "", ""},
		{soa + "sub 60 NS ns.sub\n", "", "x:4: missing address record for ns.sub.x."},
		{soa + "sub 60 NS ns.sub\nns.sub 60 A 192.0.2.1\n@ 60 MX 1 mx.sub\n", "", ""},
		{soa + "@ 60 TXT \"v=spf1 -all\"\n@ 60 TXT v=spf1\n", "", "x:5: x. has more than one SPF record"},
		{soa + "_dmarc 60 TXT \"v=DMARC1; p=nothing\"\n", "", "x:4: DMARC: p is none of none, quarantine, reject"},
		{soa + "s._domainkey 60 TXT \"h=sha256; v=DKIM1; p=AAAA\"\n", "", "x:4: DKIM: v=DKIM1 is not the first tag"},
		{soa + "s._domainkey 60 TXT \"v=DKIM1; p=A*\"\n", "", "x:4: DKIM: the key (p) is no base64"},
		{soa + "a 60 A 192.0.2.1\na 61 A 192.0.2.2\n", "", "x:5: warning: a.x. A has another TTL than in line 4"},
		{soa + "a 60 A 192.0.2.1\n", soa, "x:1: the zone has changed, but its serial is not newer than 7"},
		{soa, soa + "; a comment\n", ""},
		{"@ 60 SOA ns h 7 1 1 1 60\n", "", "x: warning: the zone has no name servers (NS)"},
	} {
		var got []string
		for _, p := range Check("x", c.text, c.before) {
			if p.Line == 1 && strings.Contains(p.Text, "no name servers") {
				p.Line = 0
			}
			got = append(got, p.String())
		}
		if s := strings.Join(got, "\n"); s != c.want {
			t.Errorf("%q: %s, want %s", c.text, s, c.want)
		}
	}
}

func TestCheckFiles(t *testing.T) {
	before := map[string][]byte{"x": []byte("nonsense"), "y": []byte("@ 60 SOA ns h 7 1 1 1 60\n@ 60 NS a.\n")}
	now := map[string][]byte{
		"x": []byte("nonsense"), "y": []byte("@ 60 SOA ns h 7 1 1 1 60\n@ 60 NS b.\n"),
		"y._keys": []byte("k._update.z. DNSKEY 0 3 163 AAAA\n"), ".gitignore": nil, "a/b": nil, "y._grants": []byte("k TXT a\n"),
	}
	var got []string
	for _, p := range CheckFiles(now, before) {
		got = append(got, p.String())
	}
	want := []string{
		"y:1: the zone has changed, but its serial is not newer than 7",
		"y._grants:1: k is no key of this zone",
		"y._keys:1: warning: the key k._update.z. is not of this zone",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func FuzzFile(f *testing.F) {
	f.Add(handwritten, "mx.example. 3600 TXT new", uint16(2))
	f.Add(exampleText, "_dmarc.example. 60 TXT x", uint16(9))
	f.Fuzz(func(t *testing.T, text, come string, which uint16) {
		zf, problems := parseFile("example", "example", text)
		if fatal(problems) {
			return
		}
		z, err := NewZone("example", zf.records())
		if err != nil {
			return
		}
		var d delta
		if all := z.nodes["example."].all(); len(all) > 0 {
			d.gone = all[int(which)%len(all):][:1]
		}
		if rr, err := dns.ParseRR(come); err == nil && dns.IsSubdomain("example", rr.Header().Name) && rr.Header().Rrtype != dns.TypeSOA {
			rr.Header().Class = dns.ClassINET
			rr.Header().Name = dns.Canonical(rr.Header().Name)
			d.come = []dns.RR{rr}
		}
		after, err := edit(zf, d, z.Serial()+1)
		if err != nil {
			return
		}
		z2, err := NewZone("example", after.records())
		if err != nil || z2.Serial() != z.Serial()+1 {
			t.Fatalf("%q becomes %q: %v", text, after.text, err)
		}
		asIfRead(t, after, z2)
	})
}
