package authority

import (
	"slices"
	"strings"

	"stagecoach/rfc/dns"
)

// An updating is a zone while an UPDATE is applied to it (RFC 2136 section 3). Names that are
// touched are copied.
type updating struct {
	zone    *Zone
	touched map[string][]dns.RR
	serial  uint32 // that the UPDATE itself has set, 0 for none
}

func newUpdating(z *Zone) *updating {
	return &updating{zone: z, touched: map[string][]dns.RR{}}
}

// update applies m to z and returns what it changes. The code is that of the response; unless
// it is NOERROR nothing changes.
func update(z *Zone, m *dns.Msg, may func(name string, t uint16) bool) (d delta, serial uint32, rcode int) {
	u := newUpdating(z)
	if rcode := u.prerequisites(m.Answer); rcode != dns.RcodeSuccess {
		return delta{}, 0, rcode
	}
	if rcode := u.scan(m.Ns, may); rcode != dns.RcodeSuccess {
		return delta{}, 0, rcode
	}
	for _, rr := range m.Ns {
		switch rr.Header().Class {
		case dns.ClassINET:
			u.add(rr)
		case dns.ClassANY:
			u.removeSet(dns.Canonical(rr.Header().Name), rr.Header().Rrtype)
		case dns.ClassNONE:
			u.remove(rr)
		}
	}
	return u.delta(), u.serial, dns.RcodeSuccess
}

func (u *updating) at(name string) []dns.RR {
	if rrs, ok := u.touched[name]; ok {
		return rrs
	}
	var rrs []dns.RR
	if n := u.zone.nodes[name]; n != nil {
		for _, s := range n.sets {
			rrs = append(append(rrs, s.rrs...), s.sigs...)
		}
	}
	return rrs
}

func has(rrs []dns.RR, t uint16) bool {
	return slices.ContainsFunc(rrs, func(rr dns.RR) bool { return rr.Header().Rrtype == t })
}

// prerequisites is RFC 2136 section 3.2.
func (u *updating) prerequisites(rrs []dns.RR) int {
	exact := map[rrKey][]dns.RR{}
	for _, rr := range rrs {
		h := rr.Header()
		name := dns.Canonical(h.Name)
		if h.Ttl != 0 || h.Class != dns.ClassINET && h.Rdlength != 0 {
			return dns.RcodeFormatError
		}
		if !dns.IsSubdomain(u.zone.Name, name) {
			return dns.RcodeNotZone
		}
		have := u.at(name)
		present := has(have, h.Rrtype) || h.Rrtype == dns.TypeANY && len(have) > 0
		switch {
		case h.Class == dns.ClassINET:
			k := rrKey{name, h.Rrtype}
			exact[k] = append(exact[k], rr)
		case h.Class == dns.ClassANY && !present:
			return cond(h.Rrtype == dns.TypeANY, dns.RcodeNameError, dns.RcodeNXRrset)
		case h.Class == dns.ClassNONE && present:
			return cond(h.Rrtype == dns.TypeANY, dns.RcodeYXDomain, dns.RcodeYXRrset)
		case h.Class != dns.ClassANY && h.Class != dns.ClassNONE:
			return dns.RcodeFormatError
		}
	}
	for k, want := range exact {
		have := slices.DeleteFunc(slices.Clone(u.at(k.name)), func(rr dns.RR) bool { return rr.Header().Rrtype != k.t })
		if !sameSets(have, want) {
			return dns.RcodeNXRrset
		}
	}
	return dns.RcodeSuccess
}

type rrKey struct {
	name string
	t    uint16
}

func cond(c bool, a, b int) int {
	if c {
		return a
	}
	return b
}

// sameSets reports whether two RRsets have the same records, duplicates not counted.
func sameSets(a, b []dns.RR) bool {
	within := func(a, b []dns.RR) bool {
		return !slices.ContainsFunc(a, func(rr dns.RR) bool {
			return !slices.ContainsFunc(b, func(o dns.RR) bool { return dns.Equal(rr, o) })
		})
	}
	return within(a, b) && within(b, a)
}

// scan is RFC 2136 section 3.4.1 and, for the rights of the key, section 3.3.
func (u *updating) scan(rrs []dns.RR, may func(name string, t uint16) bool) int {
	for _, rr := range rrs {
		h := rr.Header()
		if !dns.IsSubdomain(u.zone.Name, h.Name) {
			return dns.RcodeNotZone
		}
		meta := h.Rrtype == 0 || h.Rrtype == dns.TypeOPT || h.Rrtype >= 128 && h.Rrtype <= 255
		switch h.Class {
		case dns.ClassINET:
			if meta || h.Rdlength == 0 {
				return dns.RcodeFormatError
			}
		case dns.ClassANY:
			if h.Ttl != 0 || h.Rdlength != 0 || meta && h.Rrtype != dns.TypeANY {
				return dns.RcodeFormatError
			}
		case dns.ClassNONE:
			if h.Ttl != 0 || meta {
				return dns.RcodeFormatError
			}
		default:
			return dns.RcodeFormatError
		}
	}
	for _, rr := range rrs {
		h := rr.Header()
		switch h.Rrtype {
		case dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNSEC3, dns.TypeNSEC3PARAM:
			return dns.RcodeRefused // we make them ourselves
		}
		if !may(dns.Canonical(h.Name), h.Rrtype) {
			return dns.RcodeRefused
		}
	}
	return dns.RcodeSuccess
}

// add is RFC 2136 section 3.4.2.2. The TTL counts for the whole RRset (RFC 2181 section 5.2).
func (u *updating) add(rr dns.RR) {
	rr = dns.Copy(rr)
	h := rr.Header()
	h.Name = dns.Canonical(h.Name)
	h.Ttl = min(h.Ttl, 1<<31-1)
	have := u.at(h.Name)
	alias := has(have, dns.TypeCNAME)
	switch {
	case h.Rrtype == dns.TypeCNAME && len(have) > 0 && !alias:
		return
	case h.Rrtype != dns.TypeCNAME && alias:
		return
	case h.Rrtype == dns.TypeSOA && (h.Name != u.zone.Name || !u.newer(rr)):
		return
	}
	single := h.Rrtype == dns.TypeCNAME || h.Rrtype == dns.TypeSOA || h.Rrtype == dns.TypeDNAME
	var next []dns.RR
	for _, old := range have {
		switch {
		case old.Header().Rrtype != h.Rrtype:
			next = append(next, old)
		case single || dns.Equal(old, rr):
		default:
			old = dns.Copy(old)
			old.Header().Ttl = h.Ttl
			next = append(next, old)
		}
	}
	u.touched[h.Name] = append(next, rr)
}

func (u *updating) newer(rr dns.RR) bool {
	soa := rr.(*dns.SOARecord)
	if !dns.SerialNewer(soa.Serial, u.zone.Serial()) {
		return false
	}
	u.serial = soa.Serial
	return true
}

// removeSet is RFC 2136 section 3.4.2.3: the SOA and NS of the zone stay.
func (u *updating) removeSet(name string, t uint16) {
	u.touched[name] = slices.DeleteFunc(slices.Clone(u.at(name)), func(rr dns.RR) bool {
		have := rr.Header().Rrtype
		if name == u.zone.Name && (have == dns.TypeSOA || have == dns.TypeNS) {
			return false
		}
		return t == dns.TypeANY || have == t
	})
}

// remove is RFC 2136 section 3.4.2.4: the SOA and the last NS of the zone stay.
func (u *updating) remove(rr dns.RR) {
	h := rr.Header()
	name := dns.Canonical(h.Name)
	have := u.at(name)
	if h.Rrtype == dns.TypeSOA {
		return
	}
	target := dns.Copy(rr)
	target.Header().Class = dns.ClassINET
	next := slices.DeleteFunc(slices.Clone(have), func(rr dns.RR) bool { return dns.Equal(rr, target) })
	if name == u.zone.Name && h.Rrtype == dns.TypeNS && !has(next, dns.TypeNS) {
		return
	}
	u.touched[name] = next
}

// delta compares what was touched with what was there.
func (u *updating) delta() delta {
	var d delta
	for name, now := range u.touched {
		before := (&updating{zone: u.zone}).at(name)
		d.gone = append(d.gone, missing(before, now)...)
		d.come = append(d.come, missing(now, before)...)
	}
	sortRecords(d.gone)
	sortRecords(d.come)
	return d
}

// missing returns the records of a that are not in b, those with another TTL among them.
func missing(a, b []dns.RR) []dns.RR {
	var out []dns.RR
	for _, rr := range a {
		if !slices.ContainsFunc(b, func(o dns.RR) bool { return dns.Equal(rr, o) && rr.Header().Ttl == o.Header().Ttl }) {
			out = append(out, rr)
		}
	}
	return out
}

func sortRecords(rrs []dns.RR) {
	slices.SortFunc(rrs, func(a, b dns.RR) int {
		if a.Header().Name == b.Header().Name {
			return strings.Compare(a.String(), b.String())
		}
		return strings.Compare(sortKey(a.Header().Name), sortKey(b.Header().Name))
	})
}
