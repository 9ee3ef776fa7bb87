package scenario

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"stagecoach/rfc/dns"
	"stagecoach/rfc/dns/dnstest"
)

// A zone is the data of one zone, signed as it is asked for.
type zone struct {
	apex    string
	options map[string]string
	data    map[string]map[uint16][]dns.RR
	keys    []*dnstest.Key // the first one signs the others
	signer  int            // of them, for all else
}

const day = 24 * time.Hour

func newZone(apex, text string, options map[string]string) (*zone, error) {
	z := &zone{apex: dns.Canonical(apex), options: options, data: map[string]map[uint16][]dns.RR{}}
	rrs, err := dns.ParseZone(strings.NewReader("$TTL 3600\n"+text+"\n"), z.apex)
	if err != nil {
		return nil, fmt.Errorf("zone %s: %w", apex, err)
	}
	for _, rr := range rrs {
		z.add(rr)
	}
	if z.get(z.apex, dns.TypeSOA) == nil {
		z.add(dns.MustParseRR(z.apex + " 3600 SOA ns.invalid. root.invalid. 1 7200 900 1209600 300"))
	}
	if z.signed() {
		return z, z.makeKeys()
	}
	return z, nil
}

func (z *zone) signed() bool { return z.options["sign"] != "" }
func (z *zone) nsec3() bool  { return z.options["sign"] == "nsec3" || z.options["sign"] == "optout" }

// algorithms are the names of what a zone may be signed with.
var algorithms = map[string]uint8{
	"": dnstest.Ed25519, "ed25519": dnstest.Ed25519, "rsa": dnstest.RSASHA256, "rsa512": dnstest.RSASHA512,
	"p256": dnstest.ECDSAP256, "p384": dnstest.ECDSAP384,
}

func (z *zone) makeKeys() error {
	alg, ok := algorithms[z.options["alg"]]
	if !ok {
		return fmt.Errorf("zone %s: unknown algorithm", z.apex)
	}
	n, _ := strconv.Atoi(z.options["keys"]) //nolint:errcheck // 0 is the default
	for range max(n, 1) {
		k, err := dnstest.NewKey(z.apex, alg, 257)
		if err != nil {
			return err
		}
		z.keys = append(z.keys, k)
		z.add(k.Record)
	}
	return nil
}

// newKey adds a key, without a DS, that signs from now on.
func (z *zone) newKey() error {
	k, err := dnstest.NewKey(z.apex, z.keys[0].Record.Algorithm, 256)
	if err == nil {
		z.keys = append(z.keys, k)
		z.signer = len(z.keys) - 1
		z.add(k.Record)
	}
	return err
}

func (z *zone) add(rr dns.RR) {
	rr.Header().Name = dns.Canonical(rr.Header().Name)
	name, t := rr.Header().Name, rr.Header().Rrtype
	if z.data[name] == nil {
		z.data[name] = map[uint16][]dns.RR{}
	}
	z.data[name][t] = append(z.data[name][t], rr)
}

func (z *zone) get(name string, t uint16) []dns.RR { return z.data[name][t] }

func (z *zone) del(name string, t uint16) {
	delete(z.data[name], t)
	if len(z.data[name]) == 0 {
		delete(z.data, name)
	}
}

// sign returns the signature over a set, as the zone's options want it to be.
func (z *zone) sign(set []dns.RR) dns.RR {
	now := time.Now()
	from, until := now.Add(-day), now.Add(30*day)
	if d, err := time.ParseDuration(z.options["valid"]); err == nil {
		until = started(z).Add(d)
	}
	switch z.options["time"] {
	case "expired":
		from, until = now.Add(-40*day), now.Add(-3*day)
	case "future":
		from, until = now.Add(3*day), now.Add(40*day)
	}
	k := z.keys[0]
	if set[0].Header().Rrtype != dns.TypeDNSKEY {
		k = z.keys[z.signer]
	}
	sig, err := k.Sign(set, from, until)
	if err != nil {
		panic(err)
	}
	if z.options["sig"] == "bad" {
		spoil(sig)
	}
	return sig
}

// started is when the zone was signed last, for signatures that are not renewed.
func started(z *zone) time.Time {
	if t, err := time.Parse(time.RFC3339, z.options["started"]); err == nil {
		return t
	}
	t := time.Now()
	z.options["started"] = t.Format(time.RFC3339)
	return t
}

// spoil breaks a signature.
func spoil(sig *dns.RRSIGRecord) {
	c := byte('A')
	if sig.Signature[10] == c {
		c = 'B'
	}
	sig.Signature = sig.Signature[:10] + string(c) + sig.Signature[11:]
}

// cut returns the delegation above name, or at it; "" for none.
func (z *zone) cut(name string) string {
	found := ""
	for at := name; at != z.apex && at != "."; at = parent(at) {
		if z.get(at, dns.TypeNS) != nil {
			found = at
		}
	}
	return found
}

// exists reports whether a name has records or stands above one that has.
func (z *zone) exists(name string) bool {
	for have := range z.data {
		if dns.IsSubdomain(name, have) {
			return true
		}
	}
	return false
}

// owners returns the names that the zone is the authority of, in order; with between also those
// that have no records.
func (z *zone) owners(between bool) []string {
	set := map[string]bool{}
	for name := range z.data {
		if c := z.cut(name); c != "" && c != name {
			continue
		}
		if z.options["sign"] == "optout" && z.isInsecureCut(name) {
			continue
		}
		set[name] = true
		for at := name; between && at != z.apex; at = parent(at) {
			set[at] = true
		}
	}
	var out []string
	for name := range set {
		out = append(out, name)
	}
	slices.SortFunc(out, dns.CompareNames)
	return out
}

func (z *zone) isInsecureCut(name string) bool {
	return name != z.apex && z.get(name, dns.TypeNS) != nil && z.get(name, dns.TypeDS) == nil
}

// types returns the types at a name for an NSEC or NSEC3.
func (z *zone) types(name string, denial uint16) []uint16 {
	var out []uint16
	if denial == dns.TypeNSEC {
		out = append(out, dns.TypeNSEC, dns.TypeRRSIG)
	}
	for t := range z.data[name] {
		if z.cut(name) == name && t != dns.TypeNS && t != dns.TypeDS {
			continue
		}
		out = append(out, t)
	}
	if denial == dns.TypeNSEC3 && len(out) > 0 && !z.isInsecureCut(name) {
		out = append(out, dns.TypeRRSIG)
	}
	slices.Sort(out)
	return out
}

// nsecAt returns the NSEC at the owner that comes before name, or is name.
func (z *zone) nsecAt(name string) dns.RR {
	names := z.owners(false)
	i, ok := slices.BinarySearchFunc(names, name, dns.CompareNames)
	if !ok {
		i--
	}
	i = max(i, 0)
	n := &dns.NSECRecord{NextDomain: names[(i+1)%len(names)], TypeBitMap: z.types(names[i], dns.TypeNSEC)}
	n.Hdr = dns.Header{Name: names[i], Rrtype: dns.TypeNSEC, Class: dns.ClassINET, Ttl: 300}
	return n
}

// nsec3At returns the NSEC3 that matches or covers the hash of name.
func (z *zone) nsec3At(name string) dns.RR {
	p := z.nsec3param()
	type link struct{ hash, name string }
	var chain []link
	for _, n := range z.owners(true) {
		chain = append(chain, link{dnstest.HashName(n, p), n})
	}
	slices.SortFunc(chain, func(a, b link) int { return strings.Compare(a.hash, b.hash) })
	i, ok := slices.BinarySearchFunc(chain, dnstest.HashName(name, p), func(l link, h string) int { return strings.Compare(l.hash, h) })
	if !ok {
		i = (i - 1 + len(chain)) % len(chain)
	}
	n := *p
	n.Hdr = dns.Header{Name: dns.Canonical(chain[i].hash + "." + strings.TrimPrefix(z.apex, ".")), Rrtype: dns.TypeNSEC3, Class: dns.ClassINET, Ttl: 300}
	n.NextDomain = chain[(i+1)%len(chain)].hash
	n.HashLength = 20
	n.TypeBitMap = z.types(chain[i].name, dns.TypeNSEC3)
	return &n
}

func (z *zone) nsec3param() *dns.NSEC3Record {
	iterations, _ := strconv.Atoi(z.options["iterations"]) //nolint:errcheck // 0 is the default
	n := &dns.NSEC3Record{Hash: 1, Iterations: uint16(iterations), Salt: z.options["salt"]}
	n.SaltLength = uint8(len(n.Salt) / 2)
	if z.options["sign"] == "optout" {
		n.Flags = 1
	}
	return n
}

func parent(name string) string {
	l := dns.Labels(name)
	if len(l) < 2 {
		return "."
	}
	return strings.Join(l[1:], ".") + "."
}
