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
	soa   []dns.RR
	until time.Time // of the SOA
}

type span struct {
	owner string
	rrs   []dns.RR // the NSEC and its signatures
	until time.Time
}

const (
	maxSpans  = 512 // of one zone
	spanCost  = 700
	rangeCost = 600
)

// learnRanges takes the NSEC records out of an answer that was validated.
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
		if n, ok := rr.(*dns.NSECRecord); ok && signedBy(f.authority, n, zone) {
			s := span{owner: owner(n), rrs: []dns.RR{dns.Copy(n)}, until: f.expires()}
			for _, sig := range signaturesOf(f.authority, s.owner, dns.TypeNSEC) {
				s.rrs = append(s.rrs, dns.Copy(sig))
			}
			rs.insert(s)
		}
	}
	r.ranges.put(zone, rs, rangeCost+spanCost*len(rs.list))
}

func signedBy(rrs []dns.RR, n *dns.NSECRecord, zone string) bool {
	for _, sig := range signaturesOf(rrs, owner(n), dns.TypeNSEC) {
		if dns.Canonical(sig.SignerName) == zone {
			return true
		}
	}
	return false
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
			if f := rs.synthesize(k, now); f != nil {
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

func (rs *ranges) synthesize(k key, now time.Time) *found {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if !now.Before(rs.until) {
		return nil
	}
	s, ok := rs.before(k.name, now)
	if !ok {
		return nil
	}
	p := &proof{zone: rs.zone}
	used := []span{s}
	n := s.rrs[0].(*dns.NSECRecord)
	p.nsec = append(p.nsec, n)
	if s.owner != k.name {
		if !covers(n, k.name, rs.zone) {
			return nil
		}
		wild, ok := rs.before(wildcardOf(encloser(n, k.name)), now)
		if ok && wild.owner != s.owner {
			p.nsec = append(p.nsec, wild.rrs[0].(*dns.NSECRecord))
			used = append(used, wild)
		}
	}
	f := &found{key: k, zone: rs.zone, security: Secure, made: true, stored: now, ttl: rs.until.Sub(now)}
	if s, _, _ := p.noData(k.name, k.t); s == Secure {
		f.kind = noData
	} else if s, _, _ := p.noName(k.name); s == Secure {
		f.kind = noName
	} else {
		return nil
	}
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
	return f
}
