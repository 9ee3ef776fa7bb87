package authority

import (
	"slices"
	"strings"

	"stagecoach/rfc/dns"
)

// A link is one NSEC of the chain.
type link struct {
	key string // in the order of names
	n   *node
}

// prove adds the NSEC of a node with its signatures, once.
func (a *answering) prove(n *node) {
	s := n.get(dns.TypeNSEC)
	if s == nil || slices.Contains(a.m.Ns, s.rrs[0]) {
		return
	}
	a.m.Ns = append(append(a.m.Ns, s.rrs...), s.sigs...)
}

// covering returns the node whose NSEC shows that there is no name, or whose it is.
func (z *Zone) covering(name string) *node {
	i, found := slices.BinarySearchFunc(z.chain, sortKey(name), func(l link, key string) int { return strings.Compare(l.key, key) })
	if !found {
		i-- // before the first there is nothing: that is the apex
	}
	return z.chain[max(i, 0)].n
}

// denyName proves that a name does not exist, nor a wildcard that could stand for it (RFC 4035
// section 3.1.3.2).
func (a *answering) denyName(z *Zone, encloser *node, name string) {
	if !a.secure || z.chain == nil {
		return
	}
	a.prove(z.covering(name))
	a.prove(z.covering(child("*", encloser.name)))
}

// denyType proves that a name has no records of a type (RFC 4035 section 3.1.3.1), and for a
// wildcard also that the name itself does not exist (section 3.1.3.4).
func (a *answering) denyType(z *Zone, n *node, name string, wild bool) {
	if !a.secure || z.chain == nil {
		return
	}
	a.proveWildcard(z, name, wild)
	a.prove(z.covering(n.name)) // of an empty non-terminal, the one before it
}

// proveWildcard proves that no name closer than the wildcard exists (RFC 4035 section 3.1.3.3).
func (a *answering) proveWildcard(z *Zone, name string, wild bool) {
	if wild && a.secure && z.chain != nil {
		a.prove(z.covering(name))
	}
}
