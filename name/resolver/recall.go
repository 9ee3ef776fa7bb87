package resolver

import (
	"encoding/binary"
	"time"

	"stagecoach/rfc/dns"
)

// Recall answers queries of the plain shape that one entry of the cache answers. Strangers,
// aliases and all that has to be said besides take the long way.
func (s *Service) Recall(q *dns.Plain, out []byte) []byte {
	if !q.RecursionDesired || q.CheckingDisabled || !recallable(q.Type) || !s.allows(q.Peer) {
		return nil
	}
	r := s.Resolver
	r.start()
	k := key{q.Name(), q.Type}
	now := time.Now()
	at, e := r.cache.whole(k, now)
	if e == nil || e.why != nil {
		return nil
	}
	security := Security(e.security)
	if security == Unchecked || security == Bogus {
		return nil
	}
	left := time.Duration(e.stored + int64(e.ttl) - now.UnixNano())
	if r.nearEnd(e, left, e.hits.Add(1)) {
		r.fetchAhead(at, k, e)
	}
	out = e.appendTo(out, q.DO, at.t == dns.TypeNone)
	if security == Secure && (q.DO || q.AuthenticatedData) {
		out[3] |= 0x20 // AD
	}
	copy(out[12:], q.Key()) // what says that there is no such name was found by any type
	dns.SetTTLs(out, seconds(left))
	r.count.questions.Add(1)
	r.count.hits.Add(1)
	r.count.answered(int(out[3]&15), security)
	return out
}

// recallable leaves out what refuse and pick have rules for.
func recallable(t uint16) bool {
	switch t {
	case dns.TypeNone, dns.TypeOPT, dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNSEC3, dns.TypeDS:
		return false
	}
	return t < 128 || t > 255
}

// whole returns the entry that is the whole answer to a question, and where it lies; nil where
// there is none, or an alias leads on.
func (c *cache) whole(k key, now time.Time) (key, *entry) {
	if e := c.peek(k, now, 0); e != nil {
		return k, e
	}
	if e := c.peek(key{k.name, dns.TypeCNAME}, now, 0); e != nil && e.leads() {
		return k, nil
	}
	k.t = dns.TypeNone
	return k, c.peek(k, now, 0)
}

// appendTo appends the response that an entry is, with the records of DNSSEC or without.
func (e *entry) appendTo(out []byte, dnssec, noName bool) []byte {
	start := len(out)
	if dnssec {
		out = append(out, e.wire...)
	} else {
		out = append(out, e.wire[:e.short]...)
	}
	head := out[start:]
	head[2], head[3] = 0x80, 0x80 // QR, RA
	if noName {
		head[3] |= dns.RcodeNameError
	}
	if !dnssec {
		answers := binary.BigEndian.Uint16(head[6:])
		if answers == 0 {
			binary.BigEndian.PutUint16(head[8:], e.shortCount)
		} else {
			binary.BigEndian.PutUint16(head[6:], e.shortCount)
			binary.BigEndian.PutUint16(head[8:], 0)
		}
	}
	return out
}
