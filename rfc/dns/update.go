package dns

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/miekg/dns"
)

// An RcodeError is the response code by which a server refused.
type RcodeError int

// Error names the code.
func (e RcodeError) Error() string { return "the server said " + RcodeName(int(e)) }

// NewUpdate returns an empty UPDATE of a zone (RFC 2136), to which the methods of Msg add: the
// prerequisites by Used, NameUsed, NameNotUsed, RRsetUsed and RRsetNotUsed, the changes by
// Insert, Remove, RemoveRRset and RemoveName.
func NewUpdate(zone string) *Msg {
	m := new(Msg)
	m.SetUpdate(Canonical(zone))
	return m
}

// NewNotify returns a NOTIFY for a zone (RFC 1996); soa may be nil.
func NewNotify(zone string, soa *SOARecord) *Msg {
	m := new(Msg)
	m.SetNotify(Canonical(zone))
	if soa != nil {
		m.Answer = []RR{soa}
	}
	return m
}

// Do sends an UPDATE or a NOTIFY and returns an RcodeError if it was refused.
func Do(ctx context.Context, x Exchanger, m *Msg) error {
	r, err := x.Exchange(ctx, m)
	if err != nil {
		return err
	}
	if r.Opcode != m.Opcode || !r.Response {
		return errors.New("the response is of another kind")
	}
	if r.Rcode != RcodeSuccess {
		return RcodeError(r.Rcode)
	}
	return nil
}

// decodeWire reads a packed message.
func decodeWire(wire []byte) (*Msg, error) {
	m := new(Msg)
	if err := m.Unpack(wire); err != nil {
		return nil, fmt.Errorf("the message is damaged: %w", err)
	}
	return m, nil
}

// Size returns the length of a record on the wire without compression.
func Size(rr RR) int { return dns.Len(rr) }

// Sign packs a message and signs it. The response is for the caller to check; a Client does
// both.
func Sign(m *Msg, key Key, now time.Time) ([]byte, error) {
	wire, err := m.Pack()
	if err != nil {
		return nil, err
	}
	return (&session{key: key}).sign(wire, now), nil
}
