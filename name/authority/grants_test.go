package authority

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"stagecoach/rfc/dns"
)

// The keys and grants of docs/names.md, and more.
const (
	matrixKeys = `personal._update.example. DNSKEY 0 3 163 ` + secret + `
signer._update.example.   DNSKEY 0 3 163 ` + secret + `
mx._update.example.       DNSKEY 0 3 163 ` + secret + `
issuer._update.example.   DNSKEY 0 3 163 ` + secret + `
mail._update.example.     DNSKEY 0 3 163 ` + secret + `
second._transfer.example. DNSKEY 0 3 165 ` + secret + `
hook._notify.example.     DNSKEY 0 3 163 ` + secret + `
sub._update.sub.example.  DNSKEY 0 3 163 ` + secret + "\n"
	matrixGrants = `
signer._update.example   TXT       *._domainkey
mx._update.example       TLSA      _letsencrypt._tcp.mx,_25._tcp.mx
issuer._update.example   TLSA,TXT  _letsencrypt._tcp,_letsencrypt._tcp.*,_acme-challenge,_acme-challenge.*
mail._update.example     *         www,*.free
mail._update.example     MX,CAA    @
`
)

// mayWrite says for each key which types it may write at which names. What is not here is
// refused.
var mayWrite = map[string]map[string]string{
	"signer._update.example": {"s1._domainkey": "TXT", "a.b._domainkey": "TXT"},
	"mx._update.example":     {"_letsencrypt._tcp.mx": "TLSA", "_25._tcp.mx": "TLSA"},
	"issuer._update.example": {
		"_letsencrypt._tcp": "TLSA TXT", "_letsencrypt._tcp.mx": "TLSA TXT", "_letsencrypt._tcp.a.b": "TLSA TXT",
		"_acme-challenge": "TLSA TXT", "_acme-challenge.mx": "TLSA TXT", "_acme-challenge.a.b": "TLSA TXT",
	},
	"mail._update.example": {"@": "MX CAA", "www": "*", "a.free": "*", "*.free": "*", "_domainkey.a.free": "*"},
}

var matrixNames = []string{
	"@", "www", "mx", "*", "free", "a.free", "*.free", "_domainkey.a.free", "_domainkey", "s1._domainkey", "a.b._domainkey", "xs1_domainkey",
	"s1._domainkey.www", "_tcp", "_letsencrypt._tcp", "_letsencrypt._tcp.mx", "_letsencrypt._tcp.a.b", "x._letsencrypt._tcp.mx",
	"_25._tcp.mx", "_25._tcp.www", "x._25._tcp.mx", "_acme-challenge", "_acme-challenge.mx", "_acme-challenge.a.b", "x._acme-challenge", "_dmarc",
}

var matrixTypes = []string{"A", "AAAA", "NS", "CNAME", "SOA", "MX", "TXT", "TLSA", "CAA", "SSHFP", "HTTPS", "DS", "TYPE65280", "ANY"}

// Each key against each type at each name, over the wire: as the grants say, and nothing else.
// What is deleted is not there, so that nothing changes.
func TestGrantsMatrix(t *testing.T) {
	t.Parallel()
	files := maps.Clone(testFiles)
	files["example"] = "@ 60 SOA ns h 7 1 1 1 60\n@ 60 NS ns\nns 60 A 192.0.2.1\n"
	files["example._keys"], files["example._grants"] = matrixKeys, matrixGrants
	a, at, _, bare := start(t, files)
	if p := a.Problems(); len(p) > 0 {
		t.Fatal(p)
	}
	cells, allowed := 0, 0
	for _, key := range []string{"personal._update.example", "signer._update.example", "mx._update.example", "issuer._update.example", "mail._update.example"} {
		c := client(at, dns.TCP, keyNamed(t, key))
		for _, name := range matrixNames {
			for _, kind := range matrixTypes {
				want := dns.RcodeRefused
				types := strings.Fields(mayWrite[key][name])
				if key == "personal._update.example" || slices.Contains(types, "*") || slices.Contains(types, kind) {
					want = dns.RcodeSuccess
					allowed++
				}
				cells++
				if got := rcodeOf(t, dns.Do(t.Context(), c, deletion(t, name, kind))); got != want {
					t.Errorf("%s: %s %s: %s, want %s", key, kind, name, dns.RcodeName(got), dns.RcodeName(want))
				}
			}
		}
	}
	for _, key := range []string{"second._transfer.example", "hook._notify.example", "sub._update.sub.example", "personal._update.other"} {
		k := keyNamed(t, key)
		if key == "sub._update.sub.example" {
			continue // of a zone that is not here: below
		}
		c := client(at, dns.TCP, k)
		for _, name := range matrixNames {
			cells++
			if got := rcodeOf(t, dns.Do(t.Context(), c, deletion(t, name, "TXT"))); got != dns.RcodeNotAuth {
				t.Errorf("%s: %s: %s", key, name, dns.RcodeName(got))
			}
		}
	}
	t.Logf("%d cells over the wire, %d of them allowed", cells, allowed)
	if n := git(t, bare, "rev-list", "--count", "main"); n != "1" {
		t.Errorf("%s commits", n)
	}
}

// deletion is an UPDATE that deletes an RRset, or all that is at a name.
func deletion(t *testing.T, name, kind string) *dns.Msg {
	t.Helper()
	n, ok := dns.ParseType(kind)
	if !ok {
		t.Fatal(kind)
	}
	if name = strings.ToUpper(name) + ".example."; name == "@.EXAMPLE." || name == "@.example." {
		name = "example."
	}
	rr := rrs(t, name+" 0 TXT x")
	rr[0].Header().Rrtype = n
	m := dns.NewUpdate("example")
	m.RemoveRRset(rr)
	return m
}

// The forms of a change (add, delete one record, an RRset, all at a name) are alike to the grants,
// and one part that is refused has all refused.
func TestGrantsForEachForm(t *testing.T) {
	z := zoneOf(t, "example", exampleText)
	var g Grants
	if problems := g.add("example._grants", "example.", matrixGrants); problems != nil {
		t.Fatal(problems)
	}
	for form, change := range map[string]func(m *dns.Msg, rr []dns.RR){
		"add": (*dns.Msg).Insert, "record": (*dns.Msg).Remove, "RRset": (*dns.Msg).RemoveRRset, "name": (*dns.Msg).RemoveName,
	} {
		for key, names := range mayWrite {
			may := func(name string, kind uint16) bool { return g.allows(dns.Canonical(key), name, kind) }
			for _, name := range matrixNames {
				owner := strings.Replace(name+".example.", "@.", "", 1)
				types := strings.Fields(names[name])
				want := slices.Contains(types, "*") || form != "name" && slices.Contains(types, "TXT")
				m := dns.NewUpdate("example")
				change(m, rrs(t, owner+" 0 TXT x"))
				if _, _, rcode := update(z, m, may); (rcode == dns.RcodeSuccess) != want {
					t.Errorf("%s: %s at %s: %s", key, form, name, dns.RcodeName(rcode))
				}
				m.Insert(rrs(t, "elsewhere.example. 60 A 192.0.2.1"))
				if d, _, rcode := update(z, m, may); rcode != dns.RcodeRefused || !d.empty() {
					t.Errorf("%s: %s at %s and more: %s", key, form, name, dns.RcodeName(rcode))
				}
			}
		}
	}
}

// What we make of a signed zone is nobody's to write, whatever the grants say.
func TestSignaturesAreNobodysToWrite(t *testing.T) {
	z := zoneOf(t, "example", exampleText)
	for _, text := range []string{
		"mx.example. 60 NSEC n.example. A", "mx.example. 60 RRSIG A 13 2 60 20300101000000 20200101000000 1 example. AAAA",
		"example. 0 NSEC3PARAM 1 0 0 -", "abc.example. 60 NSEC3 1 0 0 - 0123456789ABCDEFGHIJKLMNOPQRSTUV A",
	} {
		m := dns.NewUpdate("example")
		m.Insert(rrs(t, text))
		if _, _, rcode := update(z, m, func(string, uint16) bool { return true }); rcode != dns.RcodeRefused {
			t.Errorf("%s: %s", text, dns.RcodeName(rcode))
		}
	}
}
