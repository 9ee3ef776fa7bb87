package resolver

import (
	"net/netip"
	"time"

	"stagecoach/rfc/dns"
)

// said is what one server says on one question: an answer or a referral.
type said struct {
	found    *found
	referral *referral
	from     netip.AddrPort
	extra    []dns.RR // for priming alone
}

// classify makes sense of a response from a server of a zone, and takes out of it what the
// server has a say in: the answer to the question, the proof that there is none, or the way to
// a zone below (RFC 2181 section 5.4.1). All else is left where it is. An error means that the
// server is of no use here.
func (r *Resolver) classify(m *dns.Msg, c *cut, k key) (*said, error) {
	if len(m.Answer)+len(m.Ns)+len(m.Extra) > maxRecords {
		return nil, fail(dns.ExtendedOther, "a response with too many records")
	}
	switch m.Rcode {
	case dns.RcodeSuccess, dns.RcodeNameError, dns.RcodeYXDomain:
	default:
		return nil, fail(dns.ExtendedOther, "response code %s", dns.RcodeName(m.Rcode))
	}
	recursive := c.route != nil && c.route.Recursive
	if m.RecursionAvailable && !m.Authoritative && !recursive {
		return nil, fail(dns.ExtendedNotAuthoritative, "a resolver, not an authority")
	}
	f := &found{key: k, zone: c.zone, stored: time.Now(), ttl: r.Limits.MaxTTL}
	if f.takeAnswer(m, k, c.zone) {
		return &said{found: f, extra: m.Extra}, nil
	}
	if len(m.Answer) > 0 && (soaOf(m, k, c.zone) == nil || hasAlias(m, k)) {
		return nil, fail(dns.ExtendedOther, "an answer that is none to the question")
	}
	if m.Rcode == dns.RcodeYXDomain {
		return nil, fail(dns.ExtendedOther, "response code YXDOMAIN without a DNAME")
	}
	soa := soaOf(m, k, c.zone)
	if m.Rcode == dns.RcodeSuccess && soa == nil && !recursive {
		if ref := referralOf(m, k, c.zone); ref != nil {
			return &said{referral: ref}, nil
		}
	}
	if recursive && soa == nil && !m.RecursionAvailable {
		return nil, fail(dns.ExtendedNotAuthoritative, "the forwarder does not resolve")
	}
	if !m.Authoritative && !recursive {
		return nil, fail(dns.ExtendedNotAuthoritative, "not an authority of %s", c.zone)
	}
	if soa == nil && wrongSide(m, k) {
		return nil, fail(dns.ExtendedNotAuthoritative, "the zone below answered for the one above")
	}
	f.kind = noData
	if m.Rcode == dns.RcodeNameError {
		f.kind = noName
	}
	r.takeProof(f, m, soa)
	return &said{found: f}, nil
}

// takeAnswer takes the set of records that answers k, or the alias in its place. It reports
// whether there is one.
func (f *found) takeAnswer(m *dns.Msg, k key, zone string) bool {
	var want, cname []dns.RR
	var dname []dns.RR
	top := ""
	for _, rr := range m.Answer {
		name, h := owner(rr), rr.Header()
		if h.Class != dns.ClassINET || !under(zone, name) {
			continue
		}
		switch {
		case name == k.name && h.Rrtype == k.t:
			want = append(want, rr)
		case name == k.name && h.Rrtype == dns.TypeCNAME:
			cname = append(cname, rr)
		case h.Rrtype == dns.TypeDNAME && below(name, k.name):
			// The highest is the one that counts; a second one at a name fails with it.
			if top == "" || below(name, top) {
				top, dname = name, nil
			}
			if name == top {
				dname = append(dname, rr)
			}
		}
	}
	switch {
	case len(want) > 0:
		f.kind, f.answer = records, want
	case len(dname) == 1:
		f.kind, f.answer, f.key = subtree, dname, key{top, dns.TypeDNAME}
	case len(cname) == 1:
		f.kind, f.answer, f.key = alias, cname, key{k.name, dns.TypeCNAME}
	default:
		return false
	}
	f.finish(m)
	return true
}

// hasAlias reports whether there is an alias at the name that was asked for, or several of them
// (RFC 2181 section 10.1), which is no negative answer in any case.
func hasAlias(m *dns.Msg, k key) bool {
	for _, rr := range m.Answer {
		if rr.Header().Rrtype == dns.TypeCNAME && owner(rr) == k.name {
			return true
		}
	}
	return false
}

// finish copies the records, adds their signatures, and gives all of them one TTL (RFC 2181
// section 5.2).
func (f *found) finish(m *dns.Msg) {
	name, t := owner(f.answer[0]), f.answer[0].Header().Rrtype
	var set []dns.RR
	for _, rr := range f.answer {
		duplicate := false
		if len(f.answer) <= 64 {
			for _, have := range set {
				duplicate = duplicate || dns.Equal(have, rr)
			}
		}
		if duplicate {
			continue
		}
		c := dns.Copy(rr)
		c.Header().Name = dns.Canonical(c.Header().Name)
		set = append(set, c)
		f.limitTTL(ttlOf(rr))
	}
	for _, rr := range m.Answer {
		if sig, ok := rr.(*dns.RRSIGRecord); ok && sig.TypeCovered == t && owner(rr) == name {
			set = append(set, dns.Copy(rr))
		}
	}
	f.answer = set
	for _, rr := range m.Ns { // that no closer name than a wildcard exists
		if isProof(rr) && under(f.zone, owner(rr)) {
			f.authority = append(f.authority, dns.Copy(rr))
		}
	}
}

// isProof reports whether a record is an NSEC or NSEC3, or a signature of one.
func isProof(rr dns.RR) bool {
	switch rr := rr.(type) {
	case *dns.NSECRecord, *dns.NSEC3Record:
		return true
	case *dns.RRSIGRecord:
		return rr.TypeCovered == dns.TypeNSEC || rr.TypeCovered == dns.TypeNSEC3
	}
	return false
}

// soaOf returns the SOA record of a negative answer: one of a zone above the name and not
// above that of the server.
func soaOf(m *dns.Msg, k key, zone string) *dns.SOARecord {
	for _, rr := range m.Ns {
		soa, ok := rr.(*dns.SOARecord)
		if !ok || soa.Hdr.Class != dns.ClassINET {
			continue
		}
		at := owner(rr)
		if under(zone, at) && under(at, k.name) && !(k.t == dns.TypeDS && at == k.name) {
			return soa
		}
	}
	return nil
}

// wrongSide reports whether a question for DS was answered from the zone that it is about.
func wrongSide(m *dns.Msg, k key) bool {
	if k.t != dns.TypeDS {
		return false
	}
	for _, rr := range m.Ns {
		if rr.Header().Rrtype == dns.TypeSOA && owner(rr) == k.name {
			return true
		}
	}
	return false
}

// referralOf returns the way to a zone that is nearer to the name than that of the server.
func referralOf(m *dns.Msg, k key, zone string) *referral {
	var ref *referral
	for _, rr := range m.Ns {
		ns, ok := rr.(*dns.NSRecord)
		if !ok || ns.Hdr.Class != dns.ClassINET {
			continue
		}
		at := owner(rr)
		if !below(zone, at) || !under(at, k.name) {
			continue
		}
		if ref == nil {
			ref = &referral{zone: at, ttl: ttlOf(rr), extra: m.Extra}
		}
		if at == ref.zone {
			ref.names = append(ref.names, dns.Canonical(ns.Ns))
			ref.ttl = min(ref.ttl, ttlOf(rr))
		}
	}
	if ref == nil {
		return nil
	}
	for _, rr := range m.Ns {
		at := owner(rr)
		sig, _ := rr.(*dns.RRSIGRecord)
		isDS := rr.Header().Rrtype == dns.TypeDS || sig != nil && sig.TypeCovered == dns.TypeDS
		if isDS && at == ref.zone || isProof(rr) && under(zone, at) {
			ref.proof = append(ref.proof, dns.Copy(rr))
		}
	}
	return ref
}

// takeProof takes the records of a negative answer, and how long it holds (RFC 2308 section 5):
// without a SOA not at all.
func (r *Resolver) takeProof(f *found, m *dns.Msg, soa *dns.SOARecord) {
	if soa == nil {
		f.ttl = 0
	} else {
		f.limitTTL(min(ttlOf(soa), time.Duration(soa.Minttl)*time.Second, r.Limits.MaxNegative))
		f.authority = append(f.authority, dns.Copy(soa))
		f.authority[0].Header().Name = owner(soa)
	}
	for _, rr := range m.Ns {
		sig, _ := rr.(*dns.RRSIGRecord)
		switch {
		case isProof(rr) && under(f.zone, owner(rr)):
			f.limitTTL(ttlOf(rr))
		case sig != nil && sig.TypeCovered == dns.TypeSOA && soa != nil && owner(rr) == owner(soa):
		default:
			continue
		}
		f.authority = append(f.authority, dns.Copy(rr))
	}
}
