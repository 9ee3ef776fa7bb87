package dns

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"github.com/miekg/dns"
)

// recall answers a plain query, for which q is the room, out of the Handler's memory; the
// response is appended to out, which is empty. ok is false where the query takes the long way; a
// response of nil is none.
func (s *Server) recall(wire []byte, peer netip.Addr, q *Plain, out []byte) (response []byte, ok bool) {
	if s.recaller == nil || !ReadPlain(wire, q) {
		return nil, false
	}
	q.Peer = peer
	out = s.recalled(q, out)
	if len(out) < 12+len(q.question) {
		return nil, false
	}
	state, cookie := noCookie, [24]byte{}
	size := len(out)
	if q.EDNS {
		size += 11
	}
	if q.cookie != nil {
		state, cookie = s.Cookies.answer(q.cookie, peer, s.now())
		size += 4 + len(cookie)
	}
	if size > q.limit {
		return nil, false
	}
	rcode := int(out[3] & 15)
	if s.Rate != nil && state != goodCookie {
		switch v := s.allow(peer, kindOfPlain(q, out)); {
		case v == drop:
			return nil, true
		case v == slip && state == newCookie:
			out, rcode = emptied(out, q), RcodeBadCookie
		case v == slip:
			out, rcode = emptied(out, q), RcodeSuccess
			out[2] |= 0x02
		}
	}
	copy(out, wire[:2])
	out[2] = out[2]&^1 | wire[2]&1                       // RD
	out[3] = out[3]&0xe0 | wire[3]&0x10 | byte(rcode)&15 // CD
	copy(out[12:], q.question)
	if q.EDNS {
		out = appendOPT(out, q, rcode)
		if q.cookie != nil {
			out = appendCookie(out, cookie[:])
		}
	}
	return out, true
}

// recalled is RecallingHandler.Recall, contained.
func (s *Server) recalled(q *Plain, out []byte) (response []byte) {
	defer func() {
		if p := recover(); p != nil {
			s.report("panic", &Request{Msg: q.Query()}, errors.New("in Recall"))
			response = nil
		}
	}()
	return s.recaller.Recall(q, out)
}

// emptied leaves header and question of a response, neither bits nor records.
func emptied(out []byte, q *Plain) []byte {
	clear(out[2:12])
	out[2], out[5] = 0x80, 1
	return out[:12+len(q.question)]
}

// appendOPT appends the OPT record of a response, and counts it.
func appendOPT(out []byte, q *Plain, rcode int) []byte {
	binary.BigEndian.PutUint16(out[10:], binary.BigEndian.Uint16(out[10:])+1)
	var do byte
	if q.DO {
		do = 0x80
	}
	return append(out, 0, 0, byte(TypeOPT), UDPSize>>8, UDPSize&0xff, byte(rcode>>4), 0, do, 0, 0, 0)
}

// appendCookie appends the option to the OPT record at the end of out, which has no other.
func appendCookie(out, cookie []byte) []byte {
	binary.BigEndian.PutUint16(out[len(out)-2:], uint16(4+len(cookie)))
	return append(append(out, 0, dns.EDNS0COOKIE, 0, byte(len(cookie))), cookie...)
}

// nextRecord returns where the TTL of a record is, whose owner is at off, and what comes behind
// the record; len(wire) for both where that is out of bounds.
func nextRecord(wire []byte, off int) (ttl, next int) {
	for off < len(wire) && wire[off] != 0 && wire[off] < 0xc0 {
		off += int(wire[off]) + 1
	}
	if off < len(wire) && wire[off] >= 0xc0 {
		off++
	}
	ttl = off + 1 + 4
	if ttl+6 > len(wire) {
		return len(wire), len(wire)
	}
	next = ttl + 6 + int(binary.BigEndian.Uint16(wire[ttl+4:]))
	if next > len(wire) {
		return len(wire), len(wire)
	}
	return ttl, next
}

// recordsStart returns where the records of a response begin that PackPlain made.
func recordsStart(wire []byte) int {
	at := 12
	for at < len(wire) && wire[at] != 0 {
		at += int(wire[at]) + 1
	}
	return at + 1 + 4
}

// RecordsEnd returns where the first n records of a response end that PackPlain made.
func RecordsEnd(wire []byte, n int) int {
	at := recordsStart(wire)
	for ; n > 0; n-- {
		_, at = nextRecord(wire, at)
	}
	return at
}

// SetTTLs gives all records of a response that PackPlain made the same TTL.
func SetTTLs(wire []byte, seconds uint32) {
	if len(wire) < 12 {
		return
	}
	for at := recordsStart(wire); at < len(wire); {
		ttl, next := nextRecord(wire, at)
		if next > ttl {
			binary.BigEndian.PutUint32(wire[ttl:], seconds)
		}
		at = next
	}
}

// PackPlain returns a response to a plain query as a RecallingHandler gives it: without OPT.
// It is nil for one that has to take the long way, since it has extended errors or does not fit
// a message. m may be changed.
func PackPlain(m *Msg) []byte {
	if opt := m.IsEdns0(); opt != nil || m.Rcode > 15 {
		return nil
	}
	m.Compress = true
	wire, err := m.Pack()
	if err != nil {
		return nil
	}
	return wire
}
