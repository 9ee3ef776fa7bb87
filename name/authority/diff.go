package authority

import (
	"slices"

	"stagecoach/rfc/dns"
)

// diff returns the change from one version of a zone to another.
func diff(a, b *Zone) change { return diffAt(a, b, nil) }

// diffAt is diff for versions that differ at most at the names given; nil stands for all.
func diffAt(a, b *Zone, names []string) change {
	c := change{from: a.soa, to: b.soa}
	for _, pair := range []struct {
		x, y *Zone
		out  *[]dns.RR
	}{{a, b, &c.gone}, {b, a, &c.come}} {
		at := names
		if names == nil {
			at = pair.x.names
		}
		for _, name := range at {
			if n := pair.x.node(name); n != nil {
				*pair.out = appendMissing(*pair.out, pair.x, pair.y, n)
			}
		}
		*pair.out = append(*pair.out, missingHashes(pair.x, pair.y, names)...)
	}
	return c.sized()
}

// appendMissing adds what x has at a node and y has not, but for a SOA. What is the same and signed
// alike is not signed for that.
func appendMissing(out []dns.RR, x, y *Zone, n *node) []dns.RR {
	other := y.node(n.name)
	for _, s := range x.sets(n) {
		var there *rrset
		if other != nil {
			there = y.get(other, s.t)
		}
		if there != nil && x.signer != nil && x.signer == y.signer && n.standing() == other.standing() && slices.EqualFunc(s.rrs, there.rrs, alike) {
			continue
		}
		var rrs, sigs []dns.RR
		if there != nil {
			rrs, sigs = there.rrs, y.signatures(other, there)
		}
		if s.t != dns.TypeSOA {
			out = append(out, missing(s.rrs, rrs)...)
		}
		out = append(out, missing(x.signatures(n, &s), sigs)...)
	}
	return out
}

// standing tells names of the zone, delegations and what lies below them apart.
func (n *node) standing() int {
	switch {
	case n.cut == nil:
		return 0
	case n.ours():
		return 1
	}
	return 2
}

func alike(a, b dns.RR) bool { return dns.Equal(a, b) && a.Header().Ttl == b.Header().Ttl }

// missingHashes returns the NSEC3s that we make for x and not for y, of all or around some names.
func missingHashes(x, y *Zone, names []string) []dns.RR {
	if x.signer == nil || !x.signer.nsec3 {
		return nil
	}
	var out []dns.RR
	one := func(i int) {
		s := x.nsec3At(i)
		if y.signer != nil && y.signer.nsec3 {
			if j, found := hashRank(y.hashes, x.hashes[i].hash); found {
				there := y.nsec3At(j)
				if x.signer == y.signer && alike(s.rrs[0], there.rrs[0]) {
					return
				}
				out = append(out, missing(s.rrs, there.rrs)...)
				out = append(out, missing(x.signer.over(s), y.signer.over(there))...)
				return
			}
		}
		out = append(append(out, s.rrs...), x.signer.over(s)...)
	}
	if names == nil {
		for i := range x.hashes {
			one(i)
		}
		return out
	}
	at := map[int]bool{}
	for _, name := range names {
		i, found := hashRank(x.hashes, hashOf(name))
		if found {
			at[i] = true
		}
		at[(i+len(x.hashes)-1)%len(x.hashes)] = true // the one that leads there, or over it
	}
	for i := range at {
		one(i)
	}
	return out
}

// around returns the names at which two versions may differ after a change at some, which did not
// reach further: these, those above them, and in the chain of NSECs those before.
func around(a, b *Zone, changes []change) []string {
	names := map[string]bool{a.Name: true}
	for _, c := range changes {
		for _, rr := range slices.Concat(c.gone, c.come) {
			for name := dns.Canonical(rr.Header().Name); !names[name]; name = parentOf(name) {
				names[name] = true
			}
		}
	}
	var out []string
	for name := range names {
		out = append(out, name)
		for _, z := range []*Zone{a, b} {
			if i, _ := z.rank(name); i > 0 && z.signer != nil && !z.signer.nsec3 {
				out = append(out, z.chainedBefore(z.names[i-1]).name)
			}
		}
	}
	sortNames(out)
	return slices.Compact(out)
}

// signedSize is about what a signature takes on the wire.
const signedSize = 100

// recordBetween adds to the journal what leads from one version in service to the next. ready is
// the new one as updates have made it, nil where it may differ in any way.
func (n *world) recordBetween(zone string, old, fresh, ready *servedFile) {
	a, b := old.signed, fresh.signed
	switch {
	case ready != nil && !ready.wide && len(ready.steps) > 0 && a.signer == b.signer:
		n.record(zone, diffAt(a, b, around(a, b, ready.steps)))
	case a.signer != b.signer && 2*len(b.names)*signedSize > maxJournal:
		n.journal[zone] = nil // all signatures are others, which is too much
		if a.Serial() == b.Serial() {
			n.doubt(zone, b.Serial())
		}
	default:
		n.record(zone, diff(a, b))
	}
}

func (c change) sized() change {
	for _, rr := range slices.Concat(c.gone, c.come) {
		c.size += dns.Size(rr)
	}
	return c
}

// all returns the records of a node but for a SOA.
func (n *node) all() []dns.RR {
	var out []dns.RR
	for _, s := range n.sets {
		if s.t != dns.TypeSOA {
			out = append(out, s.rrs...)
		}
		out = append(out, s.sigs...)
	}
	return out
}
