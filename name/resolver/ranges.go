package resolver

import (
	"slices"
	"sync"
	"time"

	"stagecoach/rfc/dns"
)

// ranges is what one zone has proved not to exist, in order: from it more negative answers can
// be made without asking (RFC 8198), so that random names cost its servers nothing.
type ranges struct {
	mu    sync.Mutex
	zone  string
	list  []span // by owner
	chain chain3
	soa   []dns.RR
	until time.Time // of the SOA
}

type span struct {
	owner string
	rrs   []dns.RR // the NSEC or NSEC3 and its signatures
	until time.Time
}

const (
	maxSpans  = 512 // of one zone
	spanCost  = 700
	rangeCost = 600
)

// learnRanges takes the NSEC and NSEC3 records out of an answer that was validated.
func (r *Resolver) learnRanges(f *found) {
	soa, ok := find[*dns.SOARecord](f.authority)
	if !ok {
		return
	}
	zone := owner(soa)
	rs := r.ranges.getOrPut(zone, rangeCost, func() *ranges { return &ranges{zone: zone} })
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.soa, rs.until = nil, f.expires()
	for _, rr := range f.authority {
		if rr == dns.RR(soa) {
			rs.soa = append(rs.soa, dns.Copy(rr))
			for _, sig := range signaturesOf(f.authority, zone, dns.TypeSOA) {
				rs.soa = append(rs.soa, dns.Copy(sig))
			}
		}
		switch n := rr.(type) {
		case *dns.NSECRecord:
			if s, ok := spanOf(f, n, zone); ok {
				rs.insert(s)
			}
		case *dns.NSEC3Record:
			if s, ok := spanOf(f, n, zone); ok && parent(s.owner) == zone {
				rs.chain.learn(s.rrs[0].(*dns.NSEC3Record), s)
			}
		}
	}
	r.ranges.put(zone, rs, rangeCost+spanCost*(len(rs.list)+len(rs.chain.list)))
}

// spanOf copies a record of a proof that a zone has signed, with its signatures.
func spanOf(f *found, rr dns.RR, zone string) (span, bool) {
	s := span{owner: owner(rr), rrs: []dns.RR{dns.Copy(rr)}, until: f.expires()}
	signed := false
	for _, sig := range signaturesOf(f.authority, s.owner, rr.Header().Rrtype) {
		signed = signed || dns.Canonical(sig.SignerName) == zone
		s.rrs = append(s.rrs, dns.Copy(sig))
	}
	return s, signed
}

func (rs *ranges) search(name string) (int, bool) {
	return slices.BinarySearchFunc(rs.list, name, func(s span, name string) int { return dns.CompareNames(s.owner, name) })
}

func (rs *ranges) insert(s span) {
	i, have := rs.search(s.owner)
	if have {
		rs.list[i] = s
		return
	}
	if len(rs.list) >= maxSpans {
		now := time.Now()
		rs.list = slices.DeleteFunc(rs.list, func(s span) bool { return !now.Before(s.until) })
		if len(rs.list) >= maxSpans {
			return
		}
		i, _ = rs.search(s.owner)
	}
	rs.list = slices.Insert(rs.list, i, s)
}

// before returns the span whose owner is name or comes last before it.
func (rs *ranges) before(name string, now time.Time) (span, bool) {
	i, have := rs.search(name)
	if !have {
		i--
	}
	if i < 0 || !now.Before(rs.list[i].until) {
		return span{}, false
	}
	return rs.list[i], true
}

// synthesize makes a negative answer from what is known not to exist; nil where it cannot.
func (r *Resolver) synthesize(k key, now time.Time) *found {
	if r.routeOf(k.name) != nil || r.untrusted(k.name) != "" {
		return nil
	}
	top := k.name
	if k.t == dns.TypeDS {
		top = parent(top)
	}
	for zone := top; ; zone = parent(zone) {
		if rs, ok := r.ranges.get(zone); ok {
			if f := rs.synthesize(r, k, now); f != nil {
				r.count.synthesized.Add(1)
				return f
			}
			return nil
		}
		if zone == "." {
			return nil
		}
	}
}

func (rs *ranges) synthesize(r *Resolver, k key, now time.Time) *found {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if !now.Before(rs.until) {
		return nil
	}
	p := &proof{j: &job{r: r}, zone: rs.zone, hashes: map[string]string{}}
	used := rs.gather(p, k.name, now)
	if used == nil && len(rs.chain.list) > 0 {
		used = rs.chain.gather(p, k.name, now)
	}
	if used == nil {
		return nil
	}
	f := &found{key: k, zone: rs.zone, security: Secure, made: true, stored: now, ttl: rs.until.Sub(now)}
	if s, _, err := p.noData(k.name, k.t); s == Secure && err == nil {
		f.kind = noData
	} else if s, _, err := p.noName(k.name); s == Secure && err == nil {
		f.kind = noName
	} else {
		return nil
	}
	rs.fill(f, used, now)
	return f
}

// gather collects the NSEC records that may prove something of a name.
func (rs *ranges) gather(p *proof, name string, now time.Time) (used []span) {
	s, ok := rs.before(name, now)
	if !ok {
		return nil
	}
	n := s.rrs[0].(*dns.NSECRecord)
	if s.owner != name && !covers(n, name, rs.zone) {
		return nil
	}
	p.nsec = append(p.nsec, n)
	used = append(used, s)
	if s.owner == name {
		return used
	}
	if wild, ok := rs.before(wildcardOf(encloser(n, name)), now); ok && wild.owner != s.owner {
		p.nsec = append(p.nsec, wild.rrs[0].(*dns.NSECRecord))
		used = append(used, wild)
	}
	return used
}

// fill puts the proof into an answer, with the time that it has left.
func (rs *ranges) fill(f *found, used []span, now time.Time) {
	for _, rr := range rs.soa {
		f.authority = append(f.authority, dns.Copy(rr))
	}
	for _, s := range used {
		f.limitTTL(s.until.Sub(now))
		for _, rr := range s.rrs {
			f.authority = append(f.authority, dns.Copy(rr))
		}
	}
	for _, rr := range f.authority {
		rr.Header().Ttl = seconds(f.ttl)
	}
}
