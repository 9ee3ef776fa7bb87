package resolver

import (
	"slices"
	"strings"
	"time"

	"stagecoach/rfc/dns"
)

// chain3 is what the NSEC3 records of one zone have proved not to exist, by hash (RFC 8198 section
// 5.2). Those of other parameters are another chain, which takes its place.
type chain3 struct {
	iterations uint16
	salt       string
	list       []span3
}

type span3 struct {
	hash string
	span
}

// maxAggressive3 bounds the iterations of chains that are worth hashing every unknown name for; RFC
// 9276 section 3.1 wants none.
const maxAggressive3 = 10

// maxBelow3 is how many labels below its zone a name may have to be worth it.
const maxBelow3 = 12

// learn takes an NSEC3 record that was validated, with its signatures.
func (c *chain3) learn(n *dns.NSEC3Record, s span) {
	if n.Iterations > maxAggressive3 || n.Hash != 1 || n.Flags&^1 != 0 {
		return
	}
	if c.iterations != n.Iterations || c.salt != n.Salt {
		*c = chain3{iterations: n.Iterations, salt: n.Salt}
	}
	at := span3{hashLabel(n), s}
	i, have := c.search(at.hash)
	switch {
	case have:
		c.list[i] = at
		return
	case len(c.list) >= maxSpans:
		now := time.Now()
		c.list = slices.DeleteFunc(c.list, func(s span3) bool { return !now.Before(s.until) })
		if len(c.list) >= maxSpans {
			return
		}
		i, _ = c.search(at.hash)
	}
	c.list = slices.Insert(c.list, i, at)
}

func (c *chain3) search(hash string) (int, bool) {
	return slices.BinarySearchFunc(c.list, hash, func(s span3, hash string) int { return strings.Compare(s.hash, hash) })
}

// near returns the span that stands for a name, or that covers it if any does.
func (c *chain3) near(hash string, now time.Time) (s span3, exact, ok bool) {
	i, exact := c.search(hash)
	if !exact {
		i = (i - 1 + len(c.list)) % len(c.list) // the last one goes round to the first
	}
	s = c.list[i]
	return s, exact, now.Before(s.until)
}

// gather collects what may prove something of a name, and the hashes that it takes: of the name
// and those above up to the closest that exists, and of the wildcard there.
func (c *chain3) gather(p *proof, name string, now time.Time) (used []span) {
	if labels(name)-labels(p.zone) > maxBelow3 {
		return nil
	}
	take := func(name string) (exact bool) {
		h := p.hashOf(name, c)
		s, exact, ok := c.near(h, now)
		if !ok {
			return false
		}
		n := s.rrs[0].(*dns.NSEC3Record)
		if !slices.Contains(p.nsec3, n) {
			p.nsec3 = append(p.nsec3, n)
			used = append(used, s.span)
		}
		return exact
	}
	for at := name; ; at = parent(at) {
		if take(at) {
			if at != name {
				take(wildcardOf(at))
			}
			return used
		}
		if at == p.zone {
			return nil
		}
	}
}

// hashOf hashes a name by the parameters of a chain, and keeps the hash for the proof.
func (p *proof) hashOf(name string, c *chain3) string {
	h, ok := p.hashes[name]
	if !ok {
		p.j.r.count.hashes.Add(1)
		h = dns.HashNSEC3(name, c.list[0].rrs[0].(*dns.NSEC3Record))
		p.hashes[name] = h
	}
	return h
}
