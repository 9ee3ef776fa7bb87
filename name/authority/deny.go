package authority

import (
	"slices"
	"strings"

	"stagecoach/rfc/dns"
)

// A link is one NSEC or NSEC3 of the chain.
type link struct {
	key string // in the order of names, or of hashes
	n   *node
}

// proves reports whether the zone can prove what does not exist.
func (z *Zone) proves() bool { return z.chain != nil || z.signer != nil }

// hashing reports whether it does so by NSEC3.
func (z *Zone) hashing() bool { return z.nsec3 != nil || z.signer != nil && z.signer.nsec3 }

// prove adds an NSEC or NSEC3 with its signatures, once.
func (a *answering) prove(z *Zone, s *rrset) {
	if s == nil || slices.ContainsFunc(a.m.Ns, func(rr dns.RR) bool {
		return rr.Header().Rrtype == s.t && rr.Header().Name == s.rrs[0].Header().Name
	}) {
		return
	}
	a.m.Ns = append(append(a.m.Ns, s.rrs...), z.denialSignatures(s)...)
}

func (z *Zone) denialSignatures(s *rrset) []dns.RR {
	if z.signer == nil {
		return s.sigs
	}
	return z.signer.over(s)
}

// covering returns the NSEC that shows that there is no name, or that of the name itself.
func (z *Zone) covering(name string) *rrset {
	if z.signer != nil {
		return z.nsecAt(z.chainedBefore(name))
	}
	return z.before(sortKey(name), false).get(dns.TypeNSEC)
}

// before returns the node of the chain at key or, unless it must be exact, the last one before.
func (z *Zone) before(key string, exact bool) *node {
	i, found := slices.BinarySearchFunc(z.chain, key, func(l link, key string) int { return strings.Compare(l.key, key) })
	switch {
	case found:
		return z.chain[i].n
	case exact:
		return nil
	case i == 0:
		return z.chain[len(z.chain)-1].n // of hashes the last one leads round to the first
	}
	return z.chain[i-1].n
}

// denyName proves that a name does not exist, nor a wildcard that could stand for it (RFC 4035
// section 3.1.3.2, RFC 5155 section 7.2.2).
func (a *answering) denyName(z *Zone, encloser *node, name string) {
	switch {
	case !a.secure || !z.proves():
	case z.hashing():
		a.proveEncloser(z, encloser.name, name)
		a.prove(z, z.hashed(child("*", encloser.name), false))
	default:
		a.prove(z, z.covering(name))
		a.prove(z, z.covering(child("*", encloser.name)))
	}
}

// denyType proves that a name has no records of a type (RFC 4035 section 3.1.3.1, RFC 5155
// section 7.2.3), and for a wildcard also that the name itself does not exist (section 3.1.3.4,
// RFC 5155 section 7.2.5).
func (a *answering) denyType(z *Zone, n *node, name string, wild bool) {
	switch {
	case !a.secure || !z.proves():
		return
	case !z.hashing():
		a.proveWildcard(z, name, wild)
		a.prove(z, z.covering(n.name)) // of an empty non-terminal, the one before it
		return
	case wild:
		a.proveEncloser(z, parentOf(n.name), name)
	}
	if match := z.hashed(n.name, true); match != nil {
		a.prove(z, match)
		return
	}
	for up := n.name; up != z.Name; up = parentOf(up) { // an unsigned delegation that was opted out
		if z.hashed(parentOf(up), true) != nil {
			a.proveEncloser(z, parentOf(up), n.name)
			return
		}
	}
}

// proveWildcard proves that no name closer than the wildcard exists (RFC 4035 section 3.1.3.3,
// RFC 5155 section 7.2.6).
func (a *answering) proveWildcard(z *Zone, name string, wild bool) {
	switch {
	case !wild || !a.secure || !z.proves():
	case z.hashing():
		encloser, _ := z.find(name)
		a.prove(z, z.hashed(nextCloser(name, encloser.name), false))
	default:
		a.prove(z, z.covering(name))
	}
}

// proveEncloser is the proof of RFC 5155 section 7.2.1: encloser exists, and what is one label
// longer towards name does not.
func (a *answering) proveEncloser(z *Zone, encloser, name string) {
	a.prove(z, z.hashed(encloser, true))
	a.prove(z, z.hashed(nextCloser(name, encloser), false))
}

func nextCloser(name, encloser string) string {
	for name != "." && parentOf(name) != encloser {
		name = parentOf(name)
	}
	return name
}

// hashed returns the NSEC3 that matches a name or, unless it must be exact, covers it.
func (z *Zone) hashed(name string, exact bool) *rrset {
	if z.signer == nil {
		n := z.before(dns.HashName(name, z.nsec3.Hash, z.nsec3.Iterations, z.nsec3.Salt), exact)
		if n == nil {
			return nil
		}
		return n.get(dns.TypeNSEC3)
	}
	switch i, found := hashRank(z.hashes, hashOf(name)); {
	case found:
		return z.nsec3At(i)
	case exact:
		return nil
	default:
		return z.nsec3At((i + len(z.hashes) - 1) % len(z.hashes))
	}
}

// maxIterations bounds the work that somebody else's zone may make of an answer (RFC 9276
// section 3.2); above it nothing is proven, which validators take for insecure or worse.
const maxIterations = 150

// markHashed finds the NSEC3 chain.
func (z *Zone) markHashed() {
	for _, name := range z.names {
		n := z.nodes[name]
		s := n.get(dns.TypeNSEC3)
		n.hash = s != nil && len(n.sets) == 1 && name != z.Name
		if !n.hash {
			continue
		}
		rr := s.rrs[0].(*dns.NSEC3Record)
		if rr.Iterations > maxIterations {
			continue
		}
		z.nsec3 = rr
		z.chain = append(z.chain, link{strings.ToLower(dns.Labels(name)[0]), n})
	}
	if z.nsec3 != nil {
		slices.SortFunc(z.chain, func(a, b link) int { return strings.Compare(a.key, b.key) })
	}
}
