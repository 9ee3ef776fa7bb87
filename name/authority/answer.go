package authority

import (
	"stagecoach/rfc/dns"
)

// maxAliases bounds the CNAMEs and DNAMEs that one answer follows.
const maxAliases = 16

// Zones are those that a server answers for, by canonical name.
type Zones map[string]*Zone

// of returns the zone that a question belongs to: the one that encloses the name most closely,
// but for DS, which belongs to the side of the parent (RFC 4035 section 3.1.4.1).
func (zs Zones) of(name string, t uint16) *Zone {
	if t == dns.TypeDS && name != "." {
		if z := zs.enclosing(parentOf(name)); z != nil {
			return z
		}
	}
	return zs.enclosing(name)
}

func (zs Zones) enclosing(name string) *Zone {
	for {
		if z := zs[name]; z != nil {
			return z
		}
		if name == "." {
			return nil
		}
		name = parentOf(name)
	}
}

// An answering is a response in the making (RFC 1034 section 4.3.2).
type answering struct {
	zones  Zones
	m      *dns.Msg
	secure bool  // signatures and denials are wanted (the DO bit)
	full   bool  // ANY is all that there is at the name
	of     *Zone // that the question belongs to, nil for none
	beyond bool  // what is said depends on other zones too
}

// Answer returns the response to a query: REFUSED outside of the zones.
func (zs Zones) Answer(q *dns.Msg) *dns.Msg { return zs.answer(q).m }

// answerFully is Answer for a client that has shown where it is: for ANY it gives all that there is
// at the name.
func (zs Zones) answerFully(q *dns.Msg) *dns.Msg {
	a := &answering{zones: zs, m: dns.NewResponse(q, dns.RcodeSuccess), full: true}
	a.work(q)
	return a.m
}

func (zs Zones) answer(q *dns.Msg) *answering {
	a := &answering{zones: zs, m: dns.NewResponse(q, dns.RcodeSuccess)}
	a.work(q)
	return a
}

func (a *answering) work(q *dns.Msg) {
	zs := a.zones
	a.m.RecursionAvailable, a.m.AuthenticatedData = false, false
	if opt := q.IsEdns0(); opt != nil {
		a.secure = opt.Do()
	}
	question := q.Question[0]
	if question.Qclass != dns.ClassINET && question.Qclass != dns.ClassANY {
		a.m.Rcode = dns.RcodeRefused
		return
	}
	name := dns.Canonical(question.Name)
	z := zs.of(name, question.Qtype)
	if z == nil {
		a.m.Rcode = dns.RcodeRefused
		return
	}
	a.m.Authoritative, a.of = true, z
	for range maxAliases {
		next := a.step(z, name, question.Qtype)
		if next == "" {
			break
		}
		name = next
		if z = zs.of(name, question.Qtype); z == nil {
			break // the rest of the chain is not ours
		}
		a.beyond = a.beyond || z != a.of
	}
	a.additional()
}

// step answers in one zone for one name. It returns where a CNAME or DNAME leads to, or "".
func (a *answering) step(z *Zone, name string, t uint16) (next string) {
	n, exact := z.find(name)
	if n.cut != nil && !(exact && n == n.cut && t == dns.TypeDS) {
		a.refer(z, n.cut)
		return ""
	}
	if z.dname {
		if target, ok := a.redirect(z, n, name, exact); ok {
			if t == dns.TypeCNAME || t == dns.TypeANY {
				return "" // the CNAME that was made up is what was asked for
			}
			return target
		}
	}
	if exact {
		return a.from(z, n, name, t, false)
	}
	if star := z.node(child("*", n.name)); star != nil {
		return a.from(z, star, name, t, true)
	}
	a.m.Rcode = dns.RcodeNameError
	a.negative(z)
	a.denyName(z, n, name)
	return ""
}

// from answers with the records of n, which is name itself or the wildcard that stands for it.
func (a *answering) from(z *Zone, n *node, name string, t uint16, wild bool) (next string) {
	if t == dns.TypeANY || t == dns.TypeRRSIG {
		if a.several(z, n, name, t, wild) {
			a.proveWildcard(z, name, wild)
			return ""
		}
	} else if s := z.get(n, t); s != nil {
		a.put(z, n, s, name, wild)
		a.proveWildcard(z, name, wild)
		return ""
	}
	if s := n.get(dns.TypeCNAME); s != nil && t != dns.TypeANY && t != dns.TypeNSEC {
		a.put(z, n, s, name, wild)
		a.proveWildcard(z, name, wild)
		return dns.Canonical(s.rrs[0].(*dns.CNAMERecord).Target)
	}
	a.negative(z)
	a.denyType(z, n, name, wild)
	return ""
}

// several answers what asks for more than one RRset: with one of them, which is enough (RFC 8482
// section 4.1 and 7), or with all.
func (a *answering) several(z *Zone, n *node, name string, t uint16, wild bool) bool {
	before := len(a.m.Answer)
	for _, s := range z.sets(n) {
		if t == dns.TypeANY {
			a.put(z, n, &s, name, wild)
		} else {
			a.m.Answer = appendSet(a.m.Answer, z.signatures(n, &s), name, wild)
		}
		if !a.full && len(a.m.Answer) > before {
			break
		}
	}
	return len(a.m.Answer) > before
}

// put adds records to the answer, under the name that was asked for.
func (a *answering) put(z *Zone, n *node, s *rrset, name string, wild bool) {
	a.m.Answer = appendSet(a.m.Answer, s.rrs, name, wild)
	if a.secure {
		a.m.Answer = appendSet(a.m.Answer, z.signatures(n, s), name, wild)
	}
}

func appendSet(to, rrs []dns.RR, name string, wild bool) []dns.RR {
	if !wild {
		return append(to, rrs...)
	}
	for _, rr := range rrs {
		rr = dns.Copy(rr)
		rr.Header().Name = name
		to = append(to, rr)
	}
	return to
}

// refer hands the client on to the servers of a delegated zone, with glue.
func (a *answering) refer(z *Zone, cut *node) {
	if len(a.m.Answer) == 0 {
		a.m.Authoritative = false
	}
	a.m.Ns = append(a.m.Ns, cut.set(dns.TypeNS)...)
	if a.secure && z.proves() {
		if ds := cut.get(dns.TypeDS); ds != nil {
			a.m.Ns = append(append(a.m.Ns, ds.rrs...), z.signatures(cut, ds)...)
		} else {
			a.denyType(z, cut, cut.name, false)
		}
	}
	for _, rr := range cut.set(dns.TypeNS) {
		a.addresses(z, dns.Canonical(rr.(*dns.NSRecord).Ns))
	}
}

// redirect follows a DNAME above name (RFC 6672 section 3.2) and makes up the CNAME for it.
func (a *answering) redirect(z *Zone, n *node, name string, exact bool) (string, bool) {
	if exact {
		if n.name == z.Name {
			return "", false
		}
		n = z.node(parentOf(n.name))
	}
	for ; ; n = z.node(parentOf(n.name)) {
		if s := n.get(dns.TypeDNAME); s != nil {
			a.put(z, n, s, n.name, false)
			target := name[:len(name)-len(n.name)] + dns.Canonical(s.rrs[0].(*dns.DNAMERecord).Target)
			if n.name == "." {
				target = name + dns.Canonical(s.rrs[0].(*dns.DNAMERecord).Target)
			}
			if !dns.IsName(target) {
				a.m.Rcode = dns.RcodeYXDomain
				return "", true
			}
			a.m.Answer = append(a.m.Answer, &dns.CNAMERecord{
				Hdr:    dns.Header{Name: name, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: s.rrs[0].Header().Ttl},
				Target: target,
			})
			return target, true
		}
		if n.name == z.Name {
			return "", false
		}
	}
}

// negative adds the SOA by which a negative answer is remembered (RFC 2308 section 3).
func (a *answering) negative(z *Zone) {
	soa := *z.soa
	soa.Hdr.Ttl = min(soa.Hdr.Ttl, soa.Minttl)
	a.m.Ns = append(a.m.Ns, &soa)
	if a.secure {
		apex := z.node(z.Name)
		for _, sig := range z.signatures(apex, apex.get(dns.TypeSOA)) {
			sig = dns.Copy(sig)
			sig.Header().Ttl = soa.Hdr.Ttl
			a.m.Ns = append(a.m.Ns, sig)
		}
	}
}

// additional adds addresses of ours for the names in the answer.
func (a *answering) additional() {
	for _, rr := range a.m.Answer {
		name := ""
		switch rr := rr.(type) {
		case *dns.NSRecord:
			name = rr.Ns
		case *dns.MXRecord:
			name = rr.Mx
		case *dns.SRVRecord:
			name = rr.Target
		}
		if name == "" || name == "." {
			continue
		}
		name = dns.Canonical(name)
		if z := a.zones.enclosing(name); z != nil {
			a.beyond = a.beyond || z != a.of
			a.addresses(z, name)
		}
	}
}

func (a *answering) addresses(z *Zone, name string) {
	n := z.node(name)
	if n == nil || len(a.m.Extra) > 24 {
		return
	}
	for _, have := range a.m.Extra {
		if have.Header().Name == name {
			return
		}
	}
	for _, t := range []uint16{dns.TypeA, dns.TypeAAAA} {
		if s := n.get(t); s != nil {
			a.m.Extra = append(a.m.Extra, s.rrs...)
			if a.secure && n.cut == nil {
				a.m.Extra = append(a.m.Extra, z.signatures(n, s)...)
			}
		}
	}
}
