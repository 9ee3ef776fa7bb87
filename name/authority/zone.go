package authority

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"stagecoach/rfc/dns"
)

// A Zone is the records of one zone. It does not change.
type Zone struct {
	Name  string // canonical
	soa   *dns.SOARecord
	nodes map[string]*node
	names []string // of all nodes, in the order of RFC 4034 section 6.1
	dname bool     // there is a DNAME somewhere

	pointers []dns.RR         // that name hosts which are to have addresses, glue apart
	chain    []link           // of the NSEC or NSEC3 records, in order; nil where there are none
	nsec3    *dns.NSEC3Record // one of the chain, for its parameters; nil for NSEC

	// Of a zone that we sign. Its signatures, NSECs and NSEC3s are made when they are asked for.
	signer *signer
	apex   *node      // in place of that of nodes
	hashes []hashLink // in the order of NSEC3s; nil where there are none
}

// node returns the node of a name, nil for none.
func (z *Zone) node(name string) *node {
	if z.apex != nil && name == z.Name {
		return z.apex
	}
	return z.nodes[name]
}

// A node is a name that exists: it has records, or a name below it has.
type node struct {
	name string
	sets []rrset // sorted by type; empty for an empty non-terminal
	cut  *node   // the delegation that this name lies at or below, nil for none
	hash bool    // an NSEC3 stands here, and for what is asked there is no such name
}

// An rrset is records of one name and type (RFC 2181 section 5).
type rrset struct {
	t    uint16
	rrs  []dns.RR
	sigs []dns.RR // RRSIGs over rrs, where the zone is signed
}

// NewZone builds a zone of its records, which it keeps. There must be one SOA, at the name of
// the zone; records outside of the zone are an error, duplicates are not.
func NewZone(name string, rrs []dns.RR) (*Zone, error) {
	z := &Zone{Name: dns.Canonical(name), nodes: make(map[string]*node, len(rrs)/2+1)}
	for _, rr := range rrs {
		h := rr.Header()
		owner := dns.Canonical(h.Name)
		if !dns.IsSubdomain(z.Name, owner) {
			return nil, fmt.Errorf("%s is out of the zone", h.Name)
		}
		if h.Name != owner { // records of a zone that is in service already are being read
			h.Name = owner
		}
		z.at(owner).add(rr)
	}
	apex := z.nodes[z.Name]
	if apex == nil || len(apex.set(dns.TypeSOA)) == 0 {
		return nil, errors.New("no SOA")
	}
	if len(apex.set(dns.TypeSOA)) > 1 {
		return nil, errors.New("more than one SOA")
	}
	z.soa = apex.set(dns.TypeSOA)[0].(*dns.SOARecord)
	z.finish()
	return z, nil
}

// at returns the node of a name, made if need be with those above it.
func (z *Zone) at(name string) *node {
	n := z.nodes[name]
	if n == nil {
		n = &node{name: name}
		z.nodes[name] = n
		if name != z.Name {
			z.at(parentOf(name))
		}
	}
	return n
}

// finish sorts what was added and marks what lies below delegations.
func (z *Zone) finish() {
	z.names = make([]string, 0, len(z.nodes))
	for name := range z.nodes {
		z.names = append(z.names, name)
	}
	sortNames(z.names)
	z.mark()
	z.pointers = z.pointing()
}

// mark finds what lies below delegations, and the NSEC chain. A name comes after those above it.
func (z *Zone) mark() {
	z.chain, z.nsec3 = nil, nil
	defer z.markHashed()
	for _, name := range z.names {
		n := z.nodes[name]
		n.attach()
		z.dname = z.dname || n.get(dns.TypeDNAME) != nil
		if n.get(dns.TypeNSEC) != nil {
			z.chain = append(z.chain, link{sortKey(name), n})
		}
		if name == z.Name {
			continue
		}
		n.cut = z.nodes[parentOf(name)].cut
		if n.cut == nil && len(n.set(dns.TypeNS)) > 0 {
			n.cut = n
		}
	}
}

// attach puts signatures to the records that they are over.
func (n *node) attach() {
	sigs := n.set(dns.TypeRRSIG)
	if sigs == nil {
		return
	}
	n.sets = slices.DeleteFunc(n.sets, func(s rrset) bool { return s.t == dns.TypeRRSIG })
	for _, sig := range sigs {
		if s := n.get(sig.(*dns.RRSIGRecord).TypeCovered); s != nil {
			s.sigs = append(s.sigs, sig)
		}
	}
}

func (n *node) add(rr dns.RR) {
	t := rr.Header().Rrtype
	i, found := slices.BinarySearchFunc(n.sets, t, func(s rrset, t uint16) int { return int(s.t) - int(t) })
	if !found {
		n.sets = slices.Insert(n.sets, i, rrset{t: t, rrs: []dns.RR{rr}})
		return
	}
	for _, have := range n.sets[i].rrs {
		if dns.Equal(have, rr) {
			return
		}
	}
	n.sets[i].rrs = append(n.sets[i].rrs, rr)
}

// get returns the records of a type with their signatures, nil for none.
func (n *node) get(t uint16) *rrset {
	for i := range n.sets {
		if n.sets[i].t == t {
			return &n.sets[i]
		}
	}
	return nil
}

func (n *node) set(t uint16) []dns.RR {
	if s := n.get(t); s != nil {
		return s.rrs
	}
	return nil
}

// Serial returns the serial of the zone.
func (z *Zone) Serial() uint32 { return z.soa.Serial }

// SOA returns the zone's SOA record, not to be changed.
func (z *Zone) SOA() *dns.SOARecord { return z.soa }

// Records returns all records of the zone, the SOA first, then by name and type; the NSEC3s of a
// zone that we sign come last. They are not to be changed.
func (z *Zone) Records() []dns.RR { return slices.Collect(z.each) }

// each is Records one by one, for a zone that is large.
func (z *Zone) each(yield func(dns.RR) bool) {
	ok := yield(z.soa)
	send := func(rrs []dns.RR) {
		for _, rr := range rrs {
			ok = ok && yield(rr)
		}
	}
	for _, name := range z.names {
		n := z.node(name)
		for _, s := range z.sets(n) {
			if s.t != dns.TypeSOA {
				send(s.rrs)
			}
			if !ok {
				return
			}
			send(z.signatures(n, &s))
		}
	}
	if z.signer == nil || !z.signer.nsec3 {
		return
	}
	for i := range z.hashes {
		s := z.nsec3At(i)
		send(s.rrs)
		if !ok {
			return
		}
		send(z.signer.over(s))
	}
}

// Len returns the number of records, without those that signing adds.
func (z *Zone) Len() int {
	count := 0
	for _, n := range z.nodes {
		for _, s := range n.sets {
			count += len(s.rrs) + len(s.sigs)
		}
	}
	return count
}

// find returns the node of name; if there is none, the closest one above it (RFC 4592 section
// 3.3.1).
func (z *Zone) find(name string) (n *node, exact bool) {
	if n = z.node(name); n != nil && !n.hash {
		return n, true
	}
	for {
		name = parentOf(name)
		if n = z.node(name); n != nil && !n.hash {
			return n, false
		}
	}
}

// parentOf returns the name one label up. The name is canonical and not the root.
func parentOf(name string) string {
	for i := 0; i < len(name); i++ {
		switch name[i] {
		case '\\':
			i++
		case '.':
			if i+1 == len(name) {
				return "."
			}
			return name[i+1:]
		}
	}
	return "."
}

// child returns the name of label below name.
func child(label, name string) string {
	if name == "." {
		return label + "."
	}
	return label + "." + name
}

// sortNames puts names in the order of RFC 4034 section 6.1: by labels, the rightmost first, as
// octets.
func sortNames(names []string) {
	keys := make(map[string]string, len(names))
	for _, n := range names {
		keys[n] = sortKey(n)
	}
	slices.SortFunc(names, func(a, b string) int { return strings.Compare(keys[a], keys[b]) })
}

// compareNames compares canonical names in that order.
func compareNames(a, b string) int {
	if a == b {
		return 0
	}
	if a == "." || b == "." || strings.IndexByte(a, '\\') >= 0 || strings.IndexByte(b, '\\') >= 0 {
		return strings.Compare(sortKey(a), sortKey(b))
	}
	a, b = a[:len(a)-1], b[:len(b)-1]
	for {
		i, j := strings.LastIndexByte(a, '.'), strings.LastIndexByte(b, '.')
		if c := strings.Compare(a[i+1:], b[j+1:]); c != 0 {
			return c
		}
		switch {
		case i < 0:
			return -1 // they differ, so b has more labels
		case j < 0:
			return 1
		}
		a, b = a[:i], b[:j]
	}
}

// sortKey returns a text whose order as octets is that of the names. Within it an octet of 0
// ends a label; an octet of 0 or 1 in a label is written as two.
func sortKey(name string) string {
	labels := dns.Labels(name)
	b := make([]byte, 0, len(name)+8)
	for i := len(labels) - 1; i >= 0; i-- {
		for _, c := range dns.UnescapeLabel(labels[i]) {
			if c <= 1 {
				b = append(b, 1)
			}
			b = append(b, c)
		}
		b = append(b, 0)
	}
	return string(b)
}
