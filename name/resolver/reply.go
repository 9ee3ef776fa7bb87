package resolver

import (
	"stagecoach/rfc/dns"
)

// reply makes the response to q.
func (r *Resolver) reply(q *dns.Msg, w want, res *result) *dns.Msg {
	m := dns.NewResponse(q, res.rcode)
	m.RecursionAvailable = true
	m.CheckingDisabled = w.cd
	m.AuthenticatedData = res.security == Secure && !res.stale && res.rcode != dns.RcodeServerFailure && (w.ad || w.do) && !w.cd
	m.Answer = w.pick(res.answer, res.shared)
	if len(m.Answer) == 0 || w.do || res.rcode != dns.RcodeSuccess || res.negative() {
		m.Ns = w.pick(res.authority, res.shared)
	}
	for _, e := range res.why {
		dns.Extend(m, e)
	}
	r.count.answered(m.Rcode, res.security)
	return m
}

func (res *result) negative() bool {
	if len(res.steps) == 0 {
		return true
	}
	k := res.steps[len(res.steps)-1].kind
	return k == noData || k == noName
}

// pick leaves out the records of DNSSEC that a client did not ask for (RFC 4035 section
// 3.2.1), and hands out copies of what others read too.
func (w want) pick(rrs []dns.RR, shared bool) []dns.RR {
	out := make([]dns.RR, 0, len(rrs))
	for _, rr := range rrs {
		switch t := rr.Header().Rrtype; t {
		case dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNSEC3:
			if !w.do && t != w.t {
				continue
			}
		}
		if shared {
			rr = dns.Copy(rr)
		}
		out = append(out, rr)
	}
	return out
}
