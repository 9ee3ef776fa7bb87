package authority

import (
	"maps"
	"slices"

	"stagecoach/rfc/dns"
)

// with returns the zone after a change. It shares with z all that stays as it is, so that the work
// is that of copying the tables of names. nil means that the change may reach further than the
// names that it is about: to what lies below a delegation, or to signatures.
func (z *Zone) with(d delta, serial uint32) *Zone {
	if z.chain != nil || z.nsec3 != nil {
		return nil
	}
	soa := *z.soa
	soa.Serial = serial
	s := &zoneStep{
		Zone:   &Zone{Name: z.Name, soa: &soa, nodes: maps.Clone(z.nodes), names: z.names, dname: z.dname, hashes: z.hashes},
		before: z, copied: map[string]bool{},
	}
	for _, rr := range d.gone {
		if s.reaches(rr) || !s.drop(rr) {
			return nil
		}
	}
	for _, rr := range d.come {
		if s.reaches(rr) {
			return nil
		}
		s.add(dns.Copy(rr))
	}
	for _, rr := range d.gone {
		s.leave(dns.Canonical(rr.Header().Name))
	}
	s.own(z.Name).get(dns.TypeSOA).rrs = []dns.RR{&soa}
	s.point(d)
	return s.Zone
}

// A zoneStep is a zone on its way from one version to the next.
type zoneStep struct {
	*Zone
	before *Zone
	copied map[string]bool // the nodes that are no longer those of before
}

// reaches reports whether a record says something of other names.
func (s *zoneStep) reaches(rr dns.RR) bool {
	switch rr.Header().Rrtype {
	case dns.TypeNS, dns.TypeDNAME, dns.TypeSOA, dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNSEC3, dns.TypeNSEC3PARAM:
		return true
	}
	n := s.before.nodes[dns.Canonical(rr.Header().Name)]
	return n != nil && n.cut == n // nodes below point to it
}

// own returns a node that may be changed. If there is none of the name it is made, with those
// above it.
func (s *zoneStep) own(name string) *node {
	n := s.nodes[name]
	if n != nil && s.copied[name] {
		return n
	}
	if n == nil {
		n = &node{name: name, cut: s.above(name).cut}
		s.rename(n, true)
	} else {
		n = &node{name: name, sets: slices.Clone(n.sets), cut: n.cut}
	}
	s.nodes[name], s.copied[name] = n, true
	return n
}

func (s *zoneStep) above(name string) *node {
	parent := parentOf(name)
	if n := s.nodes[parent]; n != nil {
		return n
	}
	return s.own(parent)
}

// rename puts a name into the list of names, or takes it away; and with that of hashes.
func (s *zoneStep) rename(n *node, come bool) {
	i, _ := s.rank(n.name)
	s.names = changed(s.names, i, n.name, come)
	if s.hashes != nil && n.ours() {
		hash := hashOf(n.name)
		i, _ = hashRank(s.hashes, hash)
		s.hashes = changed(s.hashes, i, hashLink{hash, n.name}, come)
	}
}

// changed returns a copy of a list with one more or less at a place.
func changed[T any](list []T, i int, one T, come bool) []T {
	if come {
		return slices.Concat(list[:i], []T{one}, list[i:])
	}
	return slices.Concat(list[:i], list[i+1:])
}

func (s *zoneStep) drop(rr dns.RR) bool {
	name := dns.Canonical(rr.Header().Name)
	if s.nodes[name] == nil {
		return false
	}
	n := s.own(name)
	set := n.get(rr.Header().Rrtype)
	if set == nil {
		return false
	}
	left := slices.DeleteFunc(slices.Clone(set.rrs), func(have dns.RR) bool { return dns.Equal(have, rr) })
	gone := len(left) < len(set.rrs)
	if set.rrs = left; len(left) == 0 {
		n.sets = slices.DeleteFunc(n.sets, func(one rrset) bool { return one.t == rr.Header().Rrtype })
	}
	return gone
}

func (s *zoneStep) add(rr dns.RR) {
	rr.Header().Name = dns.Canonical(rr.Header().Name)
	n := s.own(rr.Header().Name)
	if set := n.get(rr.Header().Rrtype); set != nil {
		set.rrs = slices.Clone(set.rrs) // add appends to them
	}
	n.add(rr)
}

// leave takes a name away that has nothing and nobody left, and then those above it.
func (s *zoneStep) leave(name string) {
	for name != s.Name {
		n := s.nodes[name]
		if n == nil || len(n.sets) > 0 {
			return
		}
		i, _ := s.rank(name)
		if i+1 < len(s.names) && dns.IsSubdomain(name, s.names[i+1]) {
			return
		}
		delete(s.nodes, name)
		s.rename(n, false)
		name = parentOf(name)
	}
}

// points reports whether a record names a host that is to have an address.
func points(rr dns.RR) bool {
	switch rr.Header().Rrtype {
	case dns.TypeNS, dns.TypeMX, dns.TypeSRV:
		return true
	}
	return false
}

// point makes the list of the records that point to hosts, of that of the version before.
func (s *zoneStep) point(d delta) {
	s.pointers = s.before.pointers
	if slices.ContainsFunc(d.gone, points) {
		s.pointers = slices.DeleteFunc(slices.Clone(s.pointers), func(rr dns.RR) bool {
			return slices.ContainsFunc(d.gone, func(g dns.RR) bool { return dns.Equal(g, rr) })
		})
	}
	for _, rr := range d.come {
		if points(rr) && s.nodes[dns.Canonical(rr.Header().Name)].cut == nil {
			s.pointers = append(slices.Clip(s.pointers), rr)
		}
	}
}

// pointing returns the records of a zone that point to hosts, without glue.
func (z *Zone) pointing() []dns.RR {
	var out []dns.RR
	for _, name := range z.names {
		n := z.nodes[name]
		if n.cut != nil && n.cut != n {
			continue
		}
		for _, s := range n.sets {
			if points(s.rrs[0]) {
				out = append(out, s.rrs...)
			}
		}
	}
	return out
}

// fitsAfter returns an error if the change that made z of before made it no zone, or gave it a
// fault that before had not. Only what the change can have to do with is looked at.
func (z *Zone) fitsAfter(before *Zone, d delta) error {
	names := map[string]bool{}
	for _, rr := range slices.Concat(d.gone, d.come) {
		names[dns.Canonical(rr.Header().Name)] = true
	}
	for name := range names {
		if n := z.nodes[name]; n != nil {
			if err := n.aliasAlone(); err != nil {
				return err
			}
		}
	}
	return worse(before.faultsAt(names), z.faultsAt(names))
}

// faultsAt returns the faults of names, and of the records that point to hosts.
func (z *Zone) faultsAt(names map[string]bool) []fault {
	var out []fault
	for _, rr := range z.pointers {
		out = append(out, z.target(rr)...)
	}
	for name := range names {
		if n := z.nodes[name]; n != nil && n.ours() {
			out = append(out, texts(name, n.set(dns.TypeTXT))...)
		}
	}
	return out
}
