package dns

import (
	"encoding/binary"
	"errors"

	"github.com/miekg/dns"
)

// A tsig is a TSIG record (RFC 8945 section 4.2).
type tsig struct {
	name      string // canonical
	algorithm Algorithm
	time      uint64 // seconds, 48 bits
	fudge     uint16 // seconds
	mac       []byte
	origID    uint16
	err       uint16
	other     []byte
}

// variables are what the MAC covers besides the message (RFC 8945 section 4.3.3).
func (t *tsig) variables() []byte {
	b := packName(nil, t.name)
	b = append(b, 0, 255, 0, 0, 0, 0) // class ANY, TTL 0
	b = packName(b, string(t.algorithm))
	b = append(b, t.timers()...)
	b = binary.BigEndian.AppendUint16(b, t.err)
	b = binary.BigEndian.AppendUint16(b, uint16(len(t.other)))
	return append(b, t.other...)
}

// timers are what it covers from the second message of a stream on (section 5.3.1).
func (t *tsig) timers() []byte {
	return binary.BigEndian.AppendUint16(append48(nil, t.time), t.fudge)
}

// appendTo returns wire with the record behind it and counted. wire is not changed.
func (t *tsig) appendTo(wire []byte) []byte {
	out := append(make([]byte, 0, len(wire)+512), wire...)
	binary.BigEndian.PutUint16(out[10:], binary.BigEndian.Uint16(out[10:])+1)
	out = packName(out, t.name)
	out = append(out, 0, 250, 0, 255, 0, 0, 0, 0, 0, 0) // TSIG, ANY, TTL 0, length to come
	start := len(out)
	out = packName(out, string(t.algorithm))
	out = append48(out, t.time)
	out = binary.BigEndian.AppendUint16(out, t.fudge)
	out = binary.BigEndian.AppendUint16(out, uint16(len(t.mac)))
	out = append(out, t.mac...)
	out = binary.BigEndian.AppendUint16(out, t.origID)
	out = binary.BigEndian.AppendUint16(out, t.err)
	out = binary.BigEndian.AppendUint16(out, uint16(len(t.other)))
	out = append(out, t.other...)
	binary.BigEndian.PutUint16(out[start-2:], uint16(len(out)-start))
	return out
}

// size is the room that appendTo needs.
func (t *tsig) size() int { return len(t.name) + len(t.algorithm) + 2 + 2 + 10 + 16 + len(t.mac) + 6 }

func packName(b []byte, name string) []byte {
	var buf [256]byte
	n, err := dns.PackDomainName(Canonical(name), buf[:], 0, nil, false)
	if err != nil { // keys and algorithms have been checked, and names off the wire fit it
		return append(b, 0)
	}
	return append(b, buf[:n]...)
}

var errTSIGPlace = errors.New("TSIG: not the last record, or more than one")

// cutTSIG takes the TSIG record off a packed message; it is nil where there is none. The body
// shares nothing with wire when a record was cut. A TSIG anywhere but at the end is an error,
// and so are octets behind the last record.
func cutTSIG(wire []byte) (body []byte, t *tsig, err error) {
	if len(wire) < 12 {
		return nil, nil, errShort
	}
	off := 12
	for range binary.BigEndian.Uint16(wire[4:]) {
		if off, err = skipName(wire, off); err != nil {
			return nil, nil, err
		}
		off += 4
	}
	records := 0
	for i := 6; i < 12; i += 2 {
		records += int(binary.BigEndian.Uint16(wire[i:]))
	}
	additional := int(binary.BigEndian.Uint16(wire[10:]))
	for i := range records {
		start := off
		if off, err = skipName(wire, off); err != nil {
			return nil, nil, err
		}
		if off+10 > len(wire) {
			return nil, nil, errShort
		}
		kind := binary.BigEndian.Uint16(wire[off:])
		data := off + 10
		off = data + int(binary.BigEndian.Uint16(wire[off+8:]))
		if off > len(wire) {
			return nil, nil, errShort
		}
		if kind != TypeTSIG {
			continue
		}
		if i != records-1 || additional == 0 || off != len(wire) {
			return nil, nil, errTSIGPlace
		}
		t, err = readTSIG(wire, start, data)
		body = append([]byte(nil), wire[:start]...)
		binary.BigEndian.PutUint16(body[10:], uint16(additional-1))
		return body, t, err
	}
	if off != len(wire) {
		return nil, nil, errTrailing
	}
	return wire, nil, nil
}

var errTrailing = errors.New("there are octets behind the message")

var errShort = errors.New("the message is cut short")

// skipName returns where the name at off ends.
func skipName(wire []byte, off int) (int, error) {
	for off < len(wire) {
		n := int(wire[off])
		switch {
		case n == 0:
			return off + 1, nil
		case n&0xC0 == 0xC0:
			return off + 2, nil
		case n&0xC0 != 0:
			return 0, errors.New("the message has a label of an unknown kind")
		}
		off += 1 + n
	}
	return 0, errShort
}

// readTSIG reads the record whose owner is at start and whose data is from data to the end.
func readTSIG(wire []byte, start, data int) (*tsig, error) {
	malformed := TSIGError(RcodeFormatError)
	name, fixed, err := dns.UnpackDomainName(wire, start)
	if err != nil || string(wire[fixed+2:fixed+8]) != "\x00\xff\x00\x00\x00\x00" {
		return nil, malformed // class ANY, TTL 0
	}
	alg, off, err := dns.UnpackDomainName(wire[data:], 0) // so cut, a compressed name fails
	if err != nil {
		return nil, malformed
	}
	rest := wire[data+off:]
	if len(rest) < 10 {
		return nil, malformed
	}
	t := &tsig{name: Canonical(name), algorithm: Algorithm(Host(alg))}
	t.time = uint64(binary.BigEndian.Uint16(rest))<<32 | uint64(binary.BigEndian.Uint32(rest[2:]))
	t.fudge = binary.BigEndian.Uint16(rest[6:])
	size := int(binary.BigEndian.Uint16(rest[8:]))
	if rest = rest[10:]; len(rest) < size+6 {
		return nil, malformed
	}
	t.mac, rest = append([]byte{}, rest[:size]...), rest[size:]
	t.origID = binary.BigEndian.Uint16(rest)
	t.err = binary.BigEndian.Uint16(rest[2:])
	other := int(binary.BigEndian.Uint16(rest[4:]))
	if len(rest) != 6+other {
		return nil, malformed
	}
	t.other = append([]byte(nil), rest[6:]...)
	return t, nil
}
