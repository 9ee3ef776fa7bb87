package authority

import (
	"slices"
	"strings"

	"stagecoach/rfc/dns"
)

// ours reports whether a name belongs to the zone itself: it does not lie below a delegation.
func (n *node) ours() bool { return n.cut == nil || n.cut.name == n.name }

// addNSEC adds the chain of NSECs to a copy of z (RFC 4035 section 2.3), with the TTL of RFC
// 9077.
func addNSEC(out, z *Zone) {
	var chain []*node
	for _, name := range z.names {
		if n := out.nodes[name]; len(n.sets) > 0 && n.ours() {
			chain = append(chain, n)
		}
	}
	for i, n := range chain {
		n.add(&dns.NSECRecord{
			Hdr:        denialHeader(z, n.name, dns.TypeNSEC),
			NextDomain: chain[(i+1)%len(chain)].name,
			TypeBitMap: bitmap(n, dns.TypeRRSIG, dns.TypeNSEC),
		})
	}
}

func denialHeader(z *Zone, name string, t uint16) dns.Header {
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

// addNSEC3 adds the chain of NSEC3s to a copy of z (RFC 5155 section 7.1): for all names that
// are ours, the empty ones too, without opt-out.
func addNSEC3(out, z *Zone) {
	out.nodes[z.Name].add(&dns.NSEC3PARAMRecord{
		Hdr:  dns.Header{Name: z.Name, Rrtype: dns.TypeNSEC3PARAM, Class: dns.ClassINET},
		Hash: nsec3SHA1,
	})
	type hashed struct {
		label string
		n     *node
	}
	var chain []hashed
	for _, name := range z.names {
		if n := out.nodes[name]; n.ours() {
			chain = append(chain, hashed{dns.HashName(name, nsec3SHA1, 0, ""), n})
		}
	}
	slices.SortFunc(chain, func(a, b hashed) int { return strings.Compare(a.label, b.label) })
	out.names = slices.Clone(z.names)
	for i, h := range chain {
		owner := child(h.label, z.Name)
		rr := &dns.NSEC3Record{
			Hdr:        denialHeader(z, owner, dns.TypeNSEC3),
			Hash:       nsec3SHA1,
			HashLength: 20,
			NextDomain: strings.ToUpper(chain[(i+1)%len(chain)].label),
			TypeBitMap: bitmap3(h.n),
		}
		out.nodes[owner] = &node{name: owner, sets: []rrset{{t: dns.TypeNSEC3, rrs: []dns.RR{rr}}}}
		out.names = append(out.names, owner)
	}
	sortNames(out.names)
}

// bitmap3 is bitmap for NSEC3, where RRSIG stands only where something of the name is signed.
func bitmap3(n *node) []uint16 {
	if len(n.sets) > 0 && (n.cut == nil || n.get(dns.TypeDS) != nil) {
		return bitmap(n, dns.TypeRRSIG)
	}
	return bitmap(n)
}
