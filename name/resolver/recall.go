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
	at, e := r.cache.whole(k, now, out)
	if e.wire == nil || e.why != (dns.ExtendedError{}) || e.security == Unchecked || e.security == Bogus {
		return nil
	}
	left := time.Duration(e.stored + int64(e.ttl) - now.UnixNano())
	if nearEnd(e.ttl, left, e.hits) {
		r.fetchAhead(at, k)
	}
	out = e.response(len(out), q.DO, at.t == dns.TypeNone)
	if e.security == Secure && (q.DO || q.AuthenticatedData) {
		out[3] |= 0x20 // AD
	}
	copy(out[12:], q.Key()) // what says that there is no such name was found by any type
	dns.SetTTLs(out, seconds(left))
	r.count.questions.Add(1)
	r.count.hits.Add(1)
	r.count.answered(int(out[3]&15), e.security)
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

// whole returns the entry that is the whole answer to a question, its message appended to out, and
// where it lies; one without a message where there is none, or an alias leads on.
func (c *cache) whole(k key, now time.Time, out []byte) (key, entry) {
	at := now.UnixNano()
	r, hash := c.ring(k)
	if e, ok := r.look(hash, k, at, 0, true, out); ok {
		return k, e
	}
	k.t = dns.TypeCNAME
	r, hash = c.ring(k)
	if e, ok := r.look(hash, k, at, 0, false, out); ok && (e.kind == records || e.kind == alias) {
		return k, entry{}
	}
	k.t = dns.TypeNone
	r, hash = c.ring(k)
	e, _ := r.look(hash, k, at, 0, true, out)
	return k, e
}

// response makes the message of an entry, which begins at start, a response, with the records of
// DNSSEC or without.
func (e *entry) response(start int, dnssec, noName bool) []byte {
	out := e.wire
	if !dnssec {
		out = out[:start+int(e.short)]
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
