package scenario

import (
	"strings"

	"stagecoach/rfc/dns"
)

// answer fills r from a zone (RFC 1034 section 4.3.2, RFC 4035 section 3.1). secure is the DO
// bit.
func (z *zone) answer(r *dns.Msg, name string, t uint16, secure bool) {
	z.mu.Lock()
	defer z.mu.Unlock()
	a := &answer{z: z, r: r, secure: secure && z.signed() && z.options["sig"] != "none"}
	if cut := z.cut(name); cut != "" && (cut != name || t != dns.TypeDS) {
		a.refer(cut)
		return
	}
	r.Authoritative = true
	for range 8 {
		next := a.at(name, t)
		if next == "" || !dns.IsSubdomain(z.apex, next) || z.cut(next) != "" {
			return
		}
		name = next
	}
}

type answer struct {
	z      *zone
	r      *dns.Msg
	secure bool
}

// put adds a set to a section under a name, with its signature.
func (a *answer) put(section *[]dns.RR, set []dns.RR, name string) {
	if len(set) == 0 {
		return
	}
	for _, rr := range *section {
		if rr.Header().Rrtype == set[0].Header().Rrtype && rr.Header().Name == name {
			return
		}
	}
	if a.secure {
		set = append(append([]dns.RR(nil), set...), a.z.signatures(set)...)
	}
	for _, rr := range set {
		c := dns.Copy(rr)
		c.Header().Name = name
		*section = append(*section, c)
	}
}

func (a *answer) refer(cut string) {
	for _, rr := range a.z.get(cut, dns.TypeNS) {
		a.r.Ns = append(a.r.Ns, dns.Copy(rr))
		host := dns.Canonical(rr.(*dns.NSRecord).Ns)
		for _, t := range []uint16{dns.TypeA, dns.TypeAAAA} {
			for _, g := range a.z.get(host, t) {
				a.r.Extra = append(a.r.Extra, dns.Copy(g))
			}
		}
	}
	if !a.secure {
		return
	}
	if ds := a.z.get(cut, dns.TypeDS); ds != nil {
		a.put(&a.r.Ns, ds, cut)
		return
	}
	a.denyData(cut)
}

// at answers for one name, and returns where a CNAME leads.
func (a *answer) at(name string, t uint16) (next string) {
	z := a.z
	for up := name; up != z.apex; {
		up = parent(up)
		if d := z.get(up, dns.TypeDNAME); d != nil {
			a.put(&a.r.Answer, d, up)
			to := strings.TrimSuffix(name, up) + dns.Canonical(d[0].(*dns.DNAMERecord).Target)
			if !dns.IsName(to) {
				a.r.Rcode = dns.RcodeYXDomain
				return ""
			}
			c := &dns.CNAMERecord{Hdr: dns.Header{Name: name, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: 3600}, Target: to}
			a.r.Answer = append(a.r.Answer, c)
			return to
		}
	}
	source := name
	if !z.exists(name) {
		closest := name
		for !z.exists(closest) {
			closest = parent(closest)
		}
		source = "*." + strings.TrimPrefix(closest, ".")
		if z.data[source] == nil {
			a.r.Rcode = dns.RcodeNameError
			a.put(&a.r.Ns, z.get(z.apex, dns.TypeSOA), z.apex)
			a.denyName(name, closest, source)
			return ""
		}
		if a.secure {
			a.denyCloser(name, closest)
		}
	}
	if set := z.get(source, t); set != nil {
		a.put(&a.r.Answer, set, name)
		return ""
	}
	if c := z.get(source, dns.TypeCNAME); c != nil {
		a.put(&a.r.Answer, c, name)
		return dns.Canonical(c[0].(*dns.CNAMERecord).Target)
	}
	a.put(&a.r.Ns, z.get(z.apex, dns.TypeSOA), z.apex)
	if a.secure {
		a.denyData(source)
	}
	return ""
}

func (a *answer) deny(names ...string) {
	for _, name := range names {
		rr := dns.RR(nil)
		if a.z.nsec3() {
			rr = a.z.nsec3At(name)
		} else {
			rr = a.z.nsecAt(name)
		}
		a.put(&a.r.Ns, []dns.RR{rr}, rr.Header().Name)
	}
}

// next returns the name one label below closest on the way to name.
func next(name, closest string) string {
	for parent(name) != closest {
		name = parent(name)
	}
	return name
}

// denyName proves that neither the name nor the wildcard exists.
func (a *answer) denyName(name, closest, wildcard string) {
	switch {
	case !a.secure:
	case a.z.nsec3():
		a.deny(closest, next(name, closest), wildcard)
	default:
		a.deny(name, wildcard)
	}
}

func (a *answer) denyCloser(name, closest string) {
	if a.z.nsec3() {
		a.deny(closest, next(name, closest))
		return
	}
	a.deny(name)
}

// denyData proves that a name has no more types. One that was left out for opt-out is denied by
// its closest encloser (RFC 5155 section 7.2.4).
func (a *answer) denyData(name string) {
	if a.z.nsec3() {
		closest := name
		for _, ok := a.z.find3(closest); !ok; _, ok = a.z.find3(closest) {
			closest = parent(closest)
		}
		if closest != name {
			a.deny(closest, next(name, closest))
			return
		}
	}
	a.deny(name)
}
