package dns

import (
	"encoding/binary"
	"net/netip"

	"github.com/miekg/dns"
)

// A Plain is a query in the shape that nearly all have: one question in class IN, whose name
// needs no escapes, perhaps an OPT record with nothing in it but a cookie, and nothing else. It
// is read without the wire library. What is not of this shape, even by a bit, is read by that
// library, so that what is odd, wrong or rare has its rules in one place.
type Plain struct {
	Type uint16
	Peer netip.Addr
	EDNS bool
	DO   bool // signatures are wanted (RFC 3225)

	RecursionDesired, CheckingDisabled, AuthenticatedData bool

	question []byte // as on the wire, in the client's spelling
	cookie   []byte // nil for none
	limit    int    // size of the response
	lower    [255 + 4]byte
}

// Key returns the question, name, type and class, as on the wire and in lower case. It is good
// until the query is answered, and not to be changed.
func (q *Plain) Key() []byte { return q.lower[:len(q.question)] }

// Name returns the canonical name of the question.
func (q *Plain) Name() string {
	wire := q.lower[:len(q.question)-4]
	if len(wire) == 1 {
		return "."
	}
	var text [255]byte
	n := copy(text[:], wire[1:])
	for at := int(wire[0]); at < n; at += int(wire[at+1]) + 1 {
		text[at] = '.'
	}
	return string(text[:n])
}

// A RecallingHandler answers plain queries in wire form. Recall appends the response to out,
// with its header, question and records but without OPT; the Server sees to its ID, the bits
// that repeat the query's, the spelling of the question, EDNS, cookies and limits. It returns
// nil where the query takes the long way, by Quick or Serve, and gives what these would give.
// It waits for nothing, and keeps neither q nor out.
type RecallingHandler interface {
	QuickHandler
	Recall(q *Plain, out []byte) []byte
}

// ReadPlain reads a query off the wire, and reports whether it is of the plain shape. q refers to
// wire.
func ReadPlain(wire []byte, q *Plain) bool {
	if len(wire) < 12+5 || wire[2]&^1 != 0 || wire[3]&^0x30 != 0 {
		return false
	}
	// One question, no answer, no authority, at most one additional record.
	if binary.BigEndian.Uint64(wire[4:])&^1 != 1<<48 {
		return false
	}
	q.RecursionDesired = wire[2]&1 != 0
	q.AuthenticatedData, q.CheckingDisabled = wire[3]&0x20 != 0, wire[3]&0x10 != 0
	end := q.readName(wire[12:]) + 12
	if end == 12 || len(wire) < end+4 || binary.BigEndian.Uint16(wire[end+2:]) != ClassINET {
		return false
	}
	q.Type = binary.BigEndian.Uint16(wire[end:])
	q.question = wire[12 : end+4]
	copy(q.lower[end-12:], wire[end:end+4])
	q.EDNS, q.DO, q.cookie, q.limit = false, false, nil, 512
	rest := wire[end+4:]
	if wire[11] == 0 {
		return len(rest) == 0
	}
	return q.readOPT(rest)
}

// readName reads the name of the question, and returns how long it is; 0 for one that is not
// plain.
func (q *Plain) readName(b []byte) int {
	for at := 0; at < len(b) && at < 255; {
		n := int(b[at])
		q.lower[at] = b[at]
		at++
		switch {
		case n == 0:
			return at
		case n > 63 || at+n >= len(b) || at+n >= 255:
			return 0
		}
		for end := at + n; at < end; at++ {
			c := plainOctets[b[at]]
			if c == 0 {
				return 0
			}
			q.lower[at] = c
		}
	}
	return 0
}

// plainOctets has the lower case of those that stand for themselves in zone text; 0 for others.
var plainOctets = func() (t [256]byte) {
	for c := byte('!'); c <= '~'; c++ {
		t[c] = c
		if 'A' <= c && c <= 'Z' {
			t[c] = c + 'a' - 'A'
		}
	}
	for _, c := range []byte(`.'@;()"\`) {
		t[c] = 0
	}
	return t
}()

// readOPT reads the last record, which is to be OPT of version 0 with a cookie at most.
func (q *Plain) readOPT(b []byte) bool {
	if len(b) < 11 || b[0] != 0 || binary.BigEndian.Uint16(b[1:]) != TypeOPT {
		return false
	}
	// Of what stands in place of a TTL only DO may be set.
	if ttl := binary.BigEndian.Uint32(b[5:]); ttl&^0x8000 != 0 || int(binary.BigEndian.Uint16(b[9:])) != len(b)-11 {
		return false
	}
	q.EDNS, q.DO = true, b[7]&0x80 != 0
	q.limit = int(min(max(binary.BigEndian.Uint16(b[3:]), 512), UDPSize))
	options := b[11:]
	if len(options) == 0 {
		return true
	}
	if len(options) < 4+8 || binary.BigEndian.Uint16(options) != dns.EDNS0COOKIE || int(binary.BigEndian.Uint16(options[2:])) != len(options)-4 {
		return false
	}
	q.cookie = options[4:]
	return len(q.cookie) == 8 || len(q.cookie) >= 16 && len(q.cookie) <= 40
}

// Query returns the query as the wire library reads it, but for its cookie and ID.
func (q *Plain) Query() *Msg {
	m := new(Msg)
	m.RecursionDesired, m.AuthenticatedData, m.CheckingDisabled = q.RecursionDesired, q.AuthenticatedData, q.CheckingDisabled
	m.Question = []Question{{Name: q.Name(), Qtype: q.Type, Qclass: ClassINET}}
	if q.EDNS {
		m.SetEdns0(uint16(q.limit), q.DO)
	}
	return m
}

// WireName returns a name in lower case as it stands on the wire, without compression.
func WireName(name string) string { return string(packName(nil, Canonical(name))) }
