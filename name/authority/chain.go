package authority

import (
	"slices"
	"strings"

	"stagecoach/rfc/dns"
)

// ours reports whether a name belongs to the zone itself: it does not lie below a delegation.
func (n *node) ours() bool { return n.cut == nil || n.cut.name == n.name }

// chained reports whether a name of a zone that we sign has an NSEC (RFC 4035 section 2.3).
func (n *node) chained() bool { return len(n.sets) > 0 && n.ours() }

// signatures returns the signatures over records of a node, nil for what is not ours to sign:
// delegations and glue.
func (z *Zone) signatures(n *node, s *rrset) []dns.RR {
	switch {
	case z.signer == nil:
		return s.sigs
	case n.cut == nil, n.ours() && (s.t == dns.TypeDS || s.t == dns.TypeNSEC):
		return z.signer.over(s)
	}
	return nil
}

// get returns the records of a type at a node, nil for none, the NSEC of a zone that we sign too.
func (z *Zone) get(n *node, t uint16) *rrset {
	if t == dns.TypeNSEC && z.signer != nil && !z.signer.nsec3 && n.chained() {
		return z.nsecAt(n)
	}
	return n.get(t)
}

// sets returns all records of a node, sorted by type.
func (z *Zone) sets(n *node) []rrset {
	nsec := z.get(n, dns.TypeNSEC)
	if nsec == nil || n.get(dns.TypeNSEC) != nil {
		return n.sets
	}
	i, _ := slices.BinarySearchFunc(n.sets, dns.TypeNSEC, func(s rrset, t uint16) int { return int(s.t) - int(t) })
	return slices.Insert(slices.Clone(n.sets), i, *nsec)
}

// nsecAt makes the NSEC of a name, with the TTL of RFC 9077.
func (z *Zone) nsecAt(n *node) *rrset {
	rr := &dns.NSECRecord{
		Hdr:        z.denialHeader(n.name, dns.TypeNSEC),
		NextDomain: z.chainedAfter(n),
		TypeBitMap: bitmap(n, dns.TypeRRSIG, dns.TypeNSEC),
	}
	return &rrset{t: dns.TypeNSEC, rrs: []dns.RR{rr}}
}

// chainedAfter returns the name of the next NSEC, which after the last is the first.
func (z *Zone) chainedAfter(n *node) string {
	i, _ := z.rank(n.name)
	for i++; i < len(z.names); {
		next := z.node(z.names[i])
		if next.chained() {
			return next.name
		}
		if i++; !next.ours() {
			i = z.behind(next.cut.name)
		}
	}
	return z.Name
}

// chainedBefore returns the node of the last NSEC up to a name.
func (z *Zone) chainedBefore(name string) *node {
	i, found := z.rank(name)
	if !found {
		i--
	}
	for i > 0 {
		n := z.node(z.names[i])
		if n.chained() {
			return n
		}
		if n.ours() {
			i--
			continue
		}
		i, _ = z.rank(n.cut.name)
	}
	return z.node(z.Name)
}

// rank returns the place of a name in the list of names, or where it would be.
func (z *Zone) rank(name string) (int, bool) {
	return slices.BinarySearchFunc(z.names, name, compareNames)
}

// behind returns the place of the first name that comes after all those below one.
func (z *Zone) behind(name string) int {
	i, _ := z.rank(name)
	n, _ := slices.BinarySearchFunc(z.names[i:], name, func(below, name string) int {
		if dns.IsSubdomain(name, below) {
			return -1
		}
		return 1
	})
	return i + n
}

func (z *Zone) denialHeader(name string, t uint16) dns.Header {
	return dns.Header{Name: name, Rrtype: t, Class: dns.ClassINET, Ttl: min(z.soa.Hdr.Ttl, z.soa.Minttl)}
}

// bitmap returns the types at a name and more: at a delegation those of the parent's side.
func bitmap(n *node, more ...uint16) []uint16 {
	for _, s := range n.sets {
		if n.cut == nil || s.t == dns.TypeNS || s.t == dns.TypeDS {
			more = append(more, s.t)
		}
	}
	slices.Sort(more)
	return more
}

// nsec3SHA1 is the one hash algorithm there is (RFC 5155 section 11).
const nsec3SHA1 = 1

// A hashLink is where a name stands among the NSEC3s.
type hashLink struct{ hash, name string }

// hashAll returns the order of the NSEC3s (RFC 5155 section 7.1): for all names that are ours, the
// empty ones too, without opt-out.
func (z *Zone) hashAll() []hashLink {
	chain := make([]hashLink, 0, len(z.names))
	for _, name := range z.names {
		if z.nodes[name].ours() {
			chain = append(chain, hashLink{hashOf(name), name})
		}
	}
	slices.SortFunc(chain, func(a, b hashLink) int { return strings.Compare(a.hash, b.hash) })
	return chain
}

func hashOf(name string) string { return dns.HashName(name, nsec3SHA1, 0, "") }

func hashRank(chain []hashLink, hash string) (int, bool) {
	return slices.BinarySearchFunc(chain, hash, func(l hashLink, hash string) int { return strings.Compare(l.hash, hash) })
}

// nsec3At makes one NSEC3 of a zone that we sign.
func (z *Zone) nsec3At(i int) *rrset {
	l := z.hashes[i]
	rr := &dns.NSEC3Record{
		Hdr:        z.denialHeader(child(l.hash, z.Name), dns.TypeNSEC3),
		Hash:       nsec3SHA1,
		HashLength: 20,
		NextDomain: strings.ToUpper(z.hashes[(i+1)%len(z.hashes)].hash),
		TypeBitMap: bitmap3(z.node(l.name)),
	}
	return &rrset{t: dns.TypeNSEC3, rrs: []dns.RR{rr}}
}

// bitmap3 is bitmap for NSEC3, where RRSIG stands only where something of the name is signed.
func bitmap3(n *node) []uint16 {
	if len(n.sets) > 0 && (n.cut == nil || n.get(dns.TypeDS) != nil) {
		return bitmap(n, dns.TypeRRSIG)
	}
	return bitmap(n)
}
