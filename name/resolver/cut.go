package resolver

import (
	"net/netip"
	"slices"
	"time"

	"stagecoach/rfc/dns"
)

// A cut is where the servers of a zone are, as the zone above says. It is never told by the
// zone itself, and ends when the one above does: so a zone that is taken away from its owner
// is gone when its TTL at the parent is over (ghost domains).
type cut struct {
	zone  string
	addrs []netip.AddrPort // from glue
	names []string         // servers that have none, or only glue from outside of the zone
	until time.Time
	route *Route
}

func (c *cut) cost() int { return 200 + len(c.zone) + 40*len(c.addrs) + 64*len(c.names) }

// closest returns the lowest known cut above a question: for DS that of the zone above
// (RFC 4035 section 3.1.4.1).
func (j *job) closest(k key, p *path) (*cut, error) {
	name := k.name
	if k.t == dns.TypeDS {
		name = parent(name)
	}
	route := j.r.routeOf(name)
	now := time.Now()
	for at := name; ; at = parent(at) {
		if route != nil && at == dns.Canonical(route.Zone) {
			return &cut{zone: at, route: route, until: now.Add(time.Hour)}, nil
		}
		if c, ok := j.r.cuts.get(at); ok && now.Before(c.until) {
			return c, nil
		}
		if at == "." {
			return j.prime(p)
		}
	}
}

// prime asks the servers of the hints for the root's own (RFC 8109).
func (j *job) prime(p *path) (*cut, error) {
	hint := &cut{zone: ".", addrs: j.r.hints(), until: time.Now().Add(time.Minute)}
	if p.contains(key{".", dns.TypeNS}) {
		return hint, nil
	}
	if p.priming() {
		return hint, nil
	}
	s, err := j.ask(hint, key{".", dns.TypeNS}, p.enter(key{".", dns.TypeNS}))
	if err != nil {
		return nil, err
	}
	if s.found == nil || s.found.kind != records {
		return nil, fail(dns.ExtendedNoAuthority, "the root does not know its servers")
	}
	j.r.keep(s.found)
	root := &referral{zone: ".", ttl: s.found.ttl, extra: s.extra}
	for _, rr := range s.found.answer {
		if ns, ok := rr.(*dns.NSRecord); ok {
			root.names = append(root.names, dns.Canonical(ns.Ns))
		}
	}
	c := j.r.newCut(root, nil)
	if len(c.addrs) == 0 {
		c.addrs = hint.addrs
	}
	j.r.cuts.put(".", c, c.cost())
	j.note(".", "primed: %d servers", len(root.names))
	return c, nil
}

func (p *path) priming() bool { return p.contains(key{".", dns.TypeNS}) }

// A referral is what the servers of one zone say of those of a zone below.
type referral struct {
	zone  string
	names []string
	ttl   time.Duration
	extra []dns.RR // the additional section
	proof []dns.RR // DS records, or NSEC and NSEC3 that there are none, signed
}

// newCut turns a referral from the servers of above into a cut. Glue counts for this zone only,
// and only for names within the zone that was asked.
func (r *Resolver) newCut(ref *referral, above *cut) *cut {
	c := &cut{zone: ref.zone, until: time.Now().Add(min(ref.ttl, r.Limits.MaxTTL))}
	within := "."
	if above != nil {
		within = above.zone
		if above.route == nil && above.zone != "." && above.until.Before(c.until) {
			c.until = above.until
		}
	}
	for _, name := range ref.names[:min(len(ref.names), maxServers)] {
		glue := r.glue(ref.extra, name, within)
		inside := under(ref.zone, name)
		if len(c.addrs)+len(glue) <= maxAddresses {
			c.addrs = append(c.addrs, glue...)
		}
		switch {
		case len(glue) == 0 && !inside:
			c.names = slices.Insert(c.names, 0, name)
		case !inside || ref.zone == ".":
			c.names = append(c.names, name)
		}
	}
	return c
}

// glue returns the addresses of a server in an additional section.
func (r *Resolver) glue(extra []dns.RR, name, within string) []netip.AddrPort {
	if !under(within, name) {
		return nil
	}
	var out []netip.AddrPort
	for _, rr := range extra {
		if owner(rr) != name || rr.Header().Class != dns.ClassINET {
			continue
		}
		if a, ok := r.address(rr); ok && !slices.Contains(out, a) && len(out) < 8 {
			out = append(out, a)
		}
	}
	return out
}

// address returns the address in a record, if name servers there may be asked.
func (r *Resolver) address(rr dns.RR) (netip.AddrPort, bool) {
	var ip netip.Addr
	switch rr := rr.(type) {
	case *dns.ARecord:
		ip, _ = netip.AddrFromSlice(rr.A)
		ip = ip.Unmap()
	case *dns.AAAARecord:
		ip, _ = netip.AddrFromSlice(rr.AAAA)
	}
	if !ip.IsValid() || ip.Is4() && r.NoIPv4 || ip.Is6() && r.NoIPv6 {
		return netip.AddrPort{}, false
	}
	if !r.Private && isSpecial(ip) {
		r.count.special.Add(1)
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(ip, r.Port), true
}

// specialPrefixes are no places for name servers of the Internet (RFC 6890 and its registries):
// this network, shared and benchmark space, protocol assignments, documentation, what is
// reserved; and IPv4 in IPv6 in its several ways, behind which any of these may hide.
var specialPrefixes = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("192.0.0.0/24"), netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/96"), netip.MustParsePrefix("::ffff:0:0/96"),
	netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("100::/64"), netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("fec0::/10"),
	netip.MustParsePrefix("5f00::/16"),
}

func isSpecial(ip netip.Addr) bool {
	if !ip.IsGlobalUnicast() || ip.IsPrivate() {
		return true
	}
	for _, p := range specialPrefixes {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// learn keeps the cut of a referral, and what came with it about the zone's keys.
func (j *job) learn(ref *referral, above *cut, from netip.AddrPort) *cut {
	c := j.r.newCut(ref, above)
	j.r.cuts.put(c.zone, c, c.cost())
	k := key{ref.zone, dns.TypeDS}
	if len(ref.proof) == 0 || j.r.cache.has(k, time.Now()) {
		return c
	}
	f := &found{key: k, kind: noData, zone: above.zone, from: from, stored: time.Now(), ttl: ref.ttl}
	for _, rr := range ref.proof {
		f.limitTTL(ttlOf(rr))
		if rr.Header().Rrtype == dns.TypeDS {
			f.kind = records
		}
	}
	if f.kind == records {
		f.answer = ref.proof
	} else {
		f.authority = ref.proof
		f.limitTTL(j.r.Limits.MaxNegative)
	}
	j.r.keep(f)
	return c
}
