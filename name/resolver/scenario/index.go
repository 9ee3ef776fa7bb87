package scenario

import (
	"slices"
	"strings"

	"stagecoach/rfc/dns"
	"stagecoach/rfc/dns/dnstest"
)

// An index is what is worked out of a zone's data, until that changes.
type index struct {
	exists map[string]bool // names with records, and those above them
	names  []string        // that NSEC records stand at, in order
	chain  []link          // that NSEC3 records stand for, by hash
	params string          // options that it was made for
}

type link struct{ hash, name string }

func (z *zone) indexed() *index {
	params := z.options["sign"] + " " + z.options["iterations"] + " " + z.options["salt"]
	if z.index != nil && z.index.params == params {
		return z.index
	}
	x := &index{exists: map[string]bool{}, params: params}
	kept := map[string]bool{} // with names between
	for name := range z.data {
		for at := name; !x.exists[at]; at = parent(at) {
			x.exists[at] = true
		}
		c := z.cut(name)
		if c != "" && c != name || z.options["sign"] == "optout" && z.isInsecureCut(name) {
			continue
		}
		x.names = append(x.names, name)
		for at := name; !kept[at]; at = parent(at) {
			kept[at] = true
			if at == z.apex {
				break
			}
		}
	}
	slices.SortFunc(x.names, dns.CompareNames)
	if z.nsec3() {
		p := z.nsec3param()
		for name := range kept {
			x.chain = append(x.chain, link{dnstest.HashName(name, p), name})
		}
		slices.SortFunc(x.chain, func(a, b link) int { return strings.Compare(a.hash, b.hash) })
	}
	z.index = x
	return x
}

// exists reports whether a name has records or stands above one that has.
func (z *zone) exists(name string) bool { return z.indexed().exists[name] }

// nsecAt returns the NSEC at the owner that comes before name, or is name.
func (z *zone) nsecAt(name string) dns.RR {
	names := z.indexed().names
	i, ok := slices.BinarySearchFunc(names, name, dns.CompareNames)
	if !ok {
		i--
	}
	i = max(i, 0)
	n := &dns.NSECRecord{NextDomain: names[(i+1)%len(names)], TypeBitMap: z.types(names[i], dns.TypeNSEC)}
	n.Hdr = dns.Header{Name: names[i], Rrtype: dns.TypeNSEC, Class: dns.ClassINET, Ttl: 300}
	return n
}

// find3 returns the place in the chain of the NSEC3 that matches or covers the hash of name.
func (z *zone) find3(name string) (i int, matches bool) {
	chain := z.indexed().chain
	hash := dnstest.HashName(name, z.nsec3param())
	i, matches = slices.BinarySearchFunc(chain, hash, func(l link, h string) int { return strings.Compare(l.hash, h) })
	if !matches {
		i = (i - 1 + len(chain)) % len(chain)
	}
	return i, matches
}

// nsec3At returns the NSEC3 that matches or covers the hash of name.
func (z *zone) nsec3At(name string) dns.RR {
	chain := z.indexed().chain
	i, _ := z.find3(name)
	n := *z.nsec3param()
	n.Hdr = dns.Header{Name: dns.Canonical(chain[i].hash + "." + strings.TrimPrefix(z.apex, ".")), Rrtype: dns.TypeNSEC3, Class: dns.ClassINET, Ttl: 300}
	n.NextDomain = chain[(i+1)%len(chain)].hash
	n.HashLength = 20
	n.TypeBitMap = z.types(chain[i].name, dns.TypeNSEC3)
	return &n
}
