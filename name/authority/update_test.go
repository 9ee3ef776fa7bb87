package authority

import (
	"strings"
	"testing"

	"stagecoach/rfc/dns"
)

// A record is the same however it is written: services remove what people wrote.
func TestUpdateRemovesWhatIsWrittenOtherwise(t *testing.T) {
	z := zoneOf(t, "x", `@ 60 SOA ns h 7 1 1 1 60
a 60 TLSA 3 255 0 ABCDEF01 2345
b 60 TXT "\097b" ( "c" )
c 60 TYPE65280 \# 2 ABCD
D 60 MX 1 MX.Elsewhere.
`)
	m := dns.NewUpdate("x")
	m.Remove(rrs(t, "a.x. 60 TLSA 3 255 0 abcdef012345", `b.x. 60 TXT ab "\c"`, `c.x. 60 TYPE65280 \# 2 abcd`, "d.x. 60 MX 1 mx.elsewhere."))
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Unpack(wire); err != nil {
		t.Fatal(err)
	}
	d, _, rcode := update(z, m, func(string, uint16) bool { return true })
	if rcode != 0 || len(d.gone) != 4 || len(d.come) != 0 {
		t.Errorf("%s: gone %v, come %v", dns.RcodeName(rcode), d.gone, d.come)
	}
}

// RFC 2136 sections 3.2 and 3.4: what is malformed, and what is passed over.
func TestUpdateRules(t *testing.T) {
	z := zoneOf(t, "x", "@ 60 SOA ns h 7 1 1 1 60\n@ 60 NS ns\nns 60 A 192.0.2.1\nc 60 CNAME ns\n")
	for name, c := range map[string]struct {
		build func(m *dns.Msg)
		rcode int
		delta string // TYPE of what goes and comes
	}{
		"nothing":                 {func(*dns.Msg) {}, 0, ""},
		"CNAME beside others":     {func(m *dns.Msg) { m.Insert(rrs(t, "ns.x. 60 CNAME a.x.")) }, 0, ""},
		"others beside CNAME":     {func(m *dns.Msg) { m.Insert(rrs(t, "c.x. 60 A 192.0.2.1")) }, 0, ""},
		"another CNAME":           {func(m *dns.Msg) { m.Insert(rrs(t, "c.x. 60 CNAME a.x.")) }, 0, "-CNAME +CNAME"},
		"another TTL":             {func(m *dns.Msg) { m.Insert(rrs(t, "ns.x. 61 A 192.0.2.1")) }, 0, "-A +A"},
		"TTL for the whole set":   {func(m *dns.Msg) { m.Insert(rrs(t, "ns.x. 61 A 192.0.2.2")) }, 0, "-A +A +A"},
		"older SOA":               {func(m *dns.Msg) { m.Insert(rrs(t, "x. 60 SOA ns h 6 1 1 1 60")) }, 0, ""},
		"newer SOA":               {func(m *dns.Msg) { m.Insert(rrs(t, "x. 60 SOA ns h 9 1 1 1 60")) }, 0, "-SOA +SOA"},
		"SOA elsewhere":           {func(m *dns.Msg) { m.Insert(rrs(t, "y.x. 60 SOA ns h 9 1 1 1 60")) }, 0, ""},
		"SOA removed":             {func(m *dns.Msg) { m.RemoveRRset(rrs(t, "x. 60 SOA ns h 7 1 1 1 60")) }, 0, ""},
		"apex removed":            {func(m *dns.Msg) { m.RemoveName(rrs(t, "x. 60 NS ns.x.")) }, 0, ""},
		"last NS removed":         {func(m *dns.Msg) { m.Remove(rrs(t, "x. 60 NS ns.x.")) }, 0, ""},
		"added and removed again": {func(m *dns.Msg) { m.Insert(rrs(t, "n.x. 60 A 192.0.2.1")); m.RemoveName(rrs(t, "n.x. 60 A 192.0.2.1")) }, 0, ""},
		"an RRSIG":                {func(m *dns.Msg) { m.RemoveRRset(rrs(t, "x. 60 NSEC a.x. A")) }, dns.RcodeRefused, ""},
		"outside":                 {func(m *dns.Msg) { m.Insert(rrs(t, "y. 60 A 192.0.2.1")) }, dns.RcodeNotZone, ""},
		"prerequisite outside":    {func(m *dns.Msg) { m.NameUsed(rrs(t, "y. 60 A 192.0.2.1")) }, dns.RcodeNotZone, ""},
		"prerequisite with a TTL": {func(m *dns.Msg) { m.NameUsed(rrs(t, "ns.x. 60 A 192.0.2.1")); m.Answer[0].Header().Ttl = 1 }, dns.RcodeFormatError, ""},
		"deletion with a TTL":     {func(m *dns.Msg) { m.RemoveRRset(rrs(t, "ns.x. 60 A 192.0.2.1")); m.Ns[0].Header().Ttl = 1 }, dns.RcodeFormatError, ""},
		"addition of ANY":         {func(m *dns.Msg) { m.RemoveName(rrs(t, "ns.x. 60 A 192.0.2.1")); m.Ns[0].Header().Class = 1 }, dns.RcodeFormatError, ""},
		"another class":           {func(m *dns.Msg) { m.Insert(rrs(t, "ns.x. 60 A 192.0.2.1")); m.Ns[0].Header().Class = 3 }, dns.RcodeFormatError, ""},
	} {
		m := dns.NewUpdate("x")
		c.build(m)
		if wire, err := m.Pack(); err != nil {
			t.Fatal(name, err)
		} else if err := m.Unpack(wire); err != nil {
			t.Fatal(name, err)
		}
		d, _, rcode := update(z, m, func(string, uint16) bool { return true })
		var got []string
		for _, rr := range d.gone {
			got = append(got, "-"+dns.TypeName(rr.Header().Rrtype))
		}
		for _, rr := range d.come {
			got = append(got, "+"+dns.TypeName(rr.Header().Rrtype))
		}
		if s := strings.Join(got, " "); rcode != c.rcode || s != c.delta {
			t.Errorf("%s: %s %q, want %s %q", name, dns.RcodeName(rcode), s, dns.RcodeName(c.rcode), c.delta)
		}
	}
}

func TestGrants(t *testing.T) {
	var g Grants
	problems := g.add("x._grants", "x.", `
; comment
a._update.x  TXT  *._domainkey
b._update.x. TLSA,TXT _letsencrypt._tcp.*,_acme-challenge,_acme-challenge.* ; more
c._update.x  *    @,www
d._update.x  A    *
d._update.x  TXT  only
`)
	if problems != nil {
		t.Fatal(problems)
	}
	for _, c := range []struct {
		key, name, types string
		want             bool
	}{
		{"a", "s._domainkey.x.", "TXT", true}, {"a", "r.s._domainkey.x.", "TXT", true}, {"a", "_domainkey.x.", "TXT", false},
		{"a", "s._domainkey.x.", "CNAME", false}, {"a", "s._domainkey.x.", "ANY", false}, {"a", "s._domainkey.y.x.", "TXT", false},
		{"b", "_letsencrypt._tcp.mx.x.", "TLSA", true}, {"b", "_letsencrypt._tcp.x.", "TLSA", false}, {"b", "_acme-challenge.x.", "TXT", true},
		{"b", "_acme-challenge.a.b.x.", "TXT", true}, {"b", "x_acme-challenge.x.", "TXT", false}, {"b", "mx.x.", "TLSA", false},
		{"c", "x.", "SOA", true}, {"c", "www.x.", "ANY", true}, {"c", "mx.x.", "A", false},
		{"d", "x.", "A", true}, {"d", "q.x.", "A", true}, {"d", "q.x.", "TXT", false}, {"d", "only.x.", "TXT", true},
		{"e", "x.", "SOA", true}, // no line, no limit
	} {
		n, _ := dns.ParseType(c.types)
		if got := g.allows(c.key+"._update.x.", c.name, n); got != c.want {
			t.Errorf("%s %s %s: %v", c.key, c.name, c.types, got)
		}
	}
	if problems := g.add("x._grants", "x.", "e._update.x TXT\n"); problems == nil || g.allows("e._update.x.", "x.", dns.TypeTXT) {
		t.Error("a broken file of grants lets keys write")
	}
	for _, bad := range []string{"k.y TXT a", "k.x NOTYPE a", "k.x TXT,* a", "k.x TXT a.*.b", "k.x TXT a.y.", "k.x TXT ,", "k.x TXT **"} {
		if (&Grants{}).add("x._grants", "x.", bad) == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func FuzzGrants(f *testing.F) {
	f.Add("a._update.x  TXT,A  *._domainkey,@,b.*,*\n;c\n")
	f.Fuzz(func(t *testing.T, text string) {
		var g Grants
		g.add("x._grants", "x.", text)
		g.allows("a._update.x.", "s._domainkey.x.", dns.TypeTXT)
	})
}

// Whatever an UPDATE asks for, the zone is one afterwards, with its SOA and NS, and the change
// fits it.
func FuzzUpdate(f *testing.F) {
	z := zoneOf(f, "example", exampleText)
	m := dns.NewUpdate("example")
	m.Insert(rrs(f, "a.example. 60 A 192.0.2.1", "example. 60 NS x.example."))
	m.RemoveName(rrs(f, "mx.example. 60 A 192.0.2.1"))
	m.RemoveRRset(rrs(f, "example. 60 MX 1 mx.example."))
	m.Remove(rrs(f, "example. 300 NS ns1.example."))
	m.Used(rrs(f, "mx.example. 0 A 192.0.2.2"))
	wire, err := m.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(wire)
	file, _ := parseFile("example", "example", exampleText)
	f.Fuzz(func(t *testing.T, in []byte) {
		m := new(dns.Msg)
		if m.Unpack(in) != nil {
			return
		}
		d, serial, rcode := update(z, m, func(string, uint16) bool { return true })
		if rcode != dns.RcodeSuccess || d.empty() {
			return
		}
		if serial == 0 {
			serial = 8
		}
		after, err := file.after(d, serial)
		if err != nil {
			t.Fatalf("%v: %v", m, err)
		}
		if len(after.node("example.").set(dns.TypeNS)) == 0 || after.Serial() != serial {
			t.Errorf("%v: the SOA or NS is lost", m)
		}
		back, err := file.edit(d, serial, after)
		if err != nil {
			t.Logf("%v: %v", m, err) // refused with SERVFAIL: what is on the wire does not always fit text
			return
		}
		if z := z.with(d, serial); z != nil {
			after = z
		}
		asIfRead(t, back, after)
	})
}

func FuzzKeys(f *testing.F) {
	f.Add("x._keys", testFiles["example._keys"])
	f.Fuzz(func(t *testing.T, file, text string) {
		if kind, zone := kindOf(file); kind == keyFile {
			ks := Keys{}
			ks.add(file, zone, text)
			for name := range ks {
				if !dns.IsSubdomain(zone, name) {
					t.Errorf("the key %s is not of %s", name, zone)
				}
			}
		}
	})
}
