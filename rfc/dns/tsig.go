package dns

import (
	"crypto/hmac"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Fudge is how far two clocks may be apart (RFC 8945 section 10). A request that allows
// itself more is held to this all the same.
const Fudge = 300 * time.Second

// maxUnsigned is how many messages of a stream may go by unsigned (RFC 8945 section 5.3.1).
const maxUnsigned = 99

// A TSIGError is why a signature was not accepted, as the other side put it or as we do. Its
// code is RcodeBadSig, RcodeBadKey, RcodeBadTime, RcodeBadTrunc or RcodeFormatError.
type TSIGError int

// Error names the code.
func (e TSIGError) Error() string {
	switch int(e) {
	case RcodeBadSig:
		return "TSIG: the signature is wrong (BADSIG)"
	case RcodeBadKey:
		return "TSIG: the key is not known (BADKEY)"
	case RcodeBadTime:
		return "TSIG: the clocks differ too much (BADTIME)"
	case RcodeBadTrunc:
		return "TSIG: the signature is shortened (BADTRUNC)"
	case RcodeFormatError:
		return "TSIG: the record is malformed"
	}
	return fmt.Sprintf("TSIG: error %d", int(e))
}

var errUnsigned = errors.New("TSIG: the response is not signed")

// A session is one exchange under a key, on either side: a request, and the response or the
// stream of responses that belongs to it. It holds the chain of MACs.
type session struct {
	key      Key
	request  []byte // MAC of the request
	prior    []byte // MAC of the message before
	started  bool   // a response was signed or verified: timers only from here
	unsigned []byte // of a stream, what came since the last signature
	skipped  int
}

// sign adds a TSIG record to a packed message and takes the chain one link on.
func (s *session) sign(wire []byte, now time.Time) []byte {
	t := &tsig{
		name: s.key.Name, algorithm: s.key.Algorithm, fudge: uint16(Fudge / time.Second),
		time: uint64(now.Unix()), origID: binary.BigEndian.Uint16(wire),
	}
	t.mac = s.mac(wire, t)
	s.link(t.mac)
	return t.appendTo(wire)
}

// signError answers a request whose signature failed: with BADTIME signed, with our clock and
// the client's time, and otherwise not signed (RFC 8945 section 5.3.2).
func (s *session) signError(wire []byte, code TSIGError, asked *tsig, now time.Time) []byte {
	t := *asked
	t.err, t.mac, t.other = uint16(code), nil, nil
	t.origID = binary.BigEndian.Uint16(wire)
	switch int(code) {
	case RcodeBadTime:
		t.other = append48(nil, uint64(now.Unix()))
		t.mac = s.mac(wire, &t)
	case RcodeBadTrunc:
		t.mac = s.mac(wire, &t)
	}
	return t.appendTo(wire)
}

func (s *session) mac(body []byte, t *tsig) []byte {
	variables := t.variables()
	if s.started {
		variables = t.timers()
	}
	return s.key.mac(withLength(s.prior), s.unsigned, body, variables)
}

func (s *session) link(mac []byte) {
	if s.request == nil {
		s.request = mac
	} else {
		s.started = true
	}
	s.prior, s.unsigned, s.skipped = mac, nil, 0
}

// verifyRequest checks the signature of a request, the MAC first and then the time (RFC 8945
// section 5.2). Reference clients send an Original ID of 0 and sign the ID as sent; so a 0 that
// does not fit is tried the other way.
func (s *session) verifyRequest(body []byte, t *tsig, now time.Time) error {
	full := s.key.Algorithm.hash()().Size()
	if len(t.mac) > full || len(t.mac) < max(10, full/2) {
		return TSIGError(RcodeFormatError)
	}
	sent := binary.BigEndian.Uint16(body)
	ids := []uint16{t.origID}
	if t.origID == 0 && sent != 0 {
		ids = append(ids, sent)
	}
	ok := false
	for _, id := range ids {
		ok = ok || hmac.Equal(s.key.mac(withID(body, id), t.variables())[:len(t.mac)], t.mac)
	}
	switch {
	case !ok:
		return TSIGError(RcodeBadSig)
	case len(t.mac) < full:
		s.link(t.mac)
		return TSIGError(RcodeBadTrunc)
	}
	s.link(t.mac)
	return t.checkTime(now)
}

// verify checks one response. Those in a stream may be unsigned between two that are signed;
// done then tells whether the last one was.
func (s *session) verify(wire []byte, now time.Time) (done bool, err error) {
	body, t, err := cutTSIG(wire)
	if err != nil {
		return false, err
	}
	if t == nil {
		if !s.started {
			return false, errUnsigned
		}
		if s.skipped++; s.skipped > maxUnsigned || len(s.unsigned)+len(body) > maxUnsigned*65535 {
			return false, errUnsigned
		}
		s.unsigned = append(s.unsigned, body...)
		return false, nil
	}
	if t.name != s.key.Name || t.algorithm != s.key.Algorithm {
		return false, TSIGError(RcodeBadKey)
	}
	if t.err != 0 && len(t.mac) == 0 {
		return false, TSIGError(t.err)
	}
	// A server may echo the Original ID 0 of a reference client. Some servers sign each
	// message of a stream as if it were the first.
	ok := false
	for _, id := range []uint16{t.origID, binary.BigEndian.Uint16(body)} {
		b := withID(body, id)
		ok = ok || hmac.Equal(s.mac(b, t), t.mac) ||
			s.started && hmac.Equal(s.key.mac(withLength(s.request), b, t.variables()), t.mac)
	}
	if !ok {
		return false, TSIGError(RcodeBadSig)
	}
	s.link(t.mac)
	if t.err != 0 {
		return true, TSIGError(t.err)
	}
	return true, t.checkTime(now)
}

func (t *tsig) checkTime(now time.Time) error {
	apart := now.Sub(time.Unix(int64(t.time), 0)).Abs()
	if apart > min(time.Duration(t.fudge)*time.Second, Fudge)+time.Second-1 {
		return TSIGError(RcodeBadTime)
	}
	return nil
}

func withLength(mac []byte) []byte {
	if mac == nil {
		return nil
	}
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(mac))), mac...)
}

func withID(body []byte, id uint16) []byte {
	if binary.BigEndian.Uint16(body) == id {
		return body
	}
	b := append([]byte(nil), body...)
	binary.BigEndian.PutUint16(b, id)
	return b
}

func append48(b []byte, n uint64) []byte {
	return append(b, byte(n>>40), byte(n>>32), byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}
