package dns

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
)

// envelope is how much of a zone goes into one message of a transfer, before compression.
const envelope = 48 << 10

// SendRecords answers an AXFR or IXFR with the given records, which begin and end as RFC 5936
// section 2.2 or RFC 1995 section 4 has it, in as many messages as they need. Each message
// has the question, which reference clients insist on.
func SendRecords(r *Request, rrs iter.Seq[RR], send func(*Msg) error) error {
	m, size := NewResponse(r.Msg, RcodeSuccess), 0
	m.Authoritative = true
	for rr := range rrs {
		n := Size(rr)
		if len(m.Answer) > 0 && size+n > envelope {
			if err := send(m); err != nil {
				return err
			}
			m, size = NewResponse(r.Msg, RcodeSuccess), 0
			m.Authoritative = true
		}
		m.Answer = append(m.Answer, rr)
		size += n
	}
	return send(m)
}

// A Transfer is what came of asking for a zone: all of it, the changes, or nothing new.
type Transfer struct {
	SOA     *SOARecord // of the zone as it is at the server
	Records []RR       // the whole zone, its SOA first and only there; nil for an increment
	Changes []Change   // an increment, oldest first
}

// Whole reports whether t is a whole zone.
func (t *Transfer) Whole() bool { return t.Records != nil }

// A Change leads from one serial to the next (RFC 1995). The SOAs are in neither list.
type Change struct {
	From, To   *SOARecord
	Gone, Come []RR
}

// MaxTransfer is the most that a transfer may bring, in octets on the wire.
const MaxTransfer = 512 << 20

// Transfer asks the servers in turn for a zone: for the changes since have, or for all of it if
// have is nil (RFC 5936, RFC 1995). A server that has nothing newer gives a Transfer with
// neither records nor changes. The fields Timeout and Attempts are not used; ctx bounds it.
func (c *Client) Transfer(ctx context.Context, zone string, have *SOARecord) (*Transfer, error) {
	var failures []error
	for _, n := range c.Servers {
		t, err := c.transferFrom(ctx, n, Canonical(zone), have)
		if err == nil {
			return t, nil
		}
		failures = append(failures, fmt.Errorf("%s: %w", n, err))
	}
	if failures == nil {
		return nil, errors.New("no name server is known")
	}
	return nil, errors.Join(failures...)
}

func (c *Client) transferFrom(ctx context.Context, n Nameserver, zone string, have *SOARecord) (*Transfer, error) {
	q := new(Msg)
	q.SetQuestion(zone, TypeAXFR)
	if have != nil {
		q.Question[0].Qtype = TypeIXFR
		q.Ns = []RR{have}
	}
	q.Id, q.RecursionDesired = randomID(), false
	wire, sess, err := c.pack(q)
	if err != nil {
		return nil, err
	}
	conn, err := c.dial(ctx, "tcp", n)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer closeOn(ctx, conn)()
	if err := writeMessage(conn, wire); err != nil {
		return nil, outOfTime(ctx, err)
	}
	in := &incoming{client: c, q: q, sess: sess, have: have}
	if err := in.readAll(conn); err != nil {
		return nil, outOfTime(ctx, err)
	}
	return in.transfer()
}

// incoming collects the messages of a transfer.
type incoming struct {
	client *Client
	q      *Msg
	sess   *session
	have   *SOARecord
	rrs    []RR
	size   int
	// what end() has learned
	soa         *SOARecord
	incremental bool
	adding      bool
}

func (in *incoming) readAll(r io.Reader) error {
	for {
		raw, err := readMessage(r, nil)
		if err != nil {
			return err
		}
		if in.size += len(raw); in.size > MaxTransfer {
			return errors.New("the zone is too large")
		}
		signed := true
		if in.sess != nil {
			if signed, err = in.sess.verify(raw, in.client.now()); err != nil {
				return err
			}
		}
		m, err := decodeWire(raw)
		if err != nil {
			return err
		}
		switch {
		case !m.Response || m.Id != in.q.Id || m.Truncated:
			return errors.New("the response is to another question")
		case m.Rcode != RcodeSuccess:
			return RcodeError(m.Rcode)
		case len(m.Question) == 1 && !sameQuestion(m.Question[0], in.q.Question[0]):
			return errors.New("the response is to another question")
		case len(m.Answer) == 0:
			return errors.New("the response has no records")
		}
		done, err := in.add(m.Answer)
		if err != nil || done && signed {
			return err
		}
		if done {
			return errUnsigned // the last one must be (RFC 8945 section 5.3.1)
		}
	}
}

// add takes the records of one message and reports whether they end the transfer.
func (in *incoming) add(rrs []RR) (done bool, err error) {
	for i, rr := range rrs {
		if !IsSubdomain(in.q.Question[0].Name, rr.Header().Name) || rr.Header().Class != ClassINET {
			return false, errors.New("a record is not of the zone")
		}
		in.rrs = append(in.rrs, rr)
		if in.end(rr) {
			if i != len(rrs)-1 {
				return false, errors.New("there are records behind the last one")
			}
			return true, nil
		}
	}
	return in.upToDate(), nil
}

// end follows the sequence of SOAs, by which alone the end of a transfer is known.
func (in *incoming) end(rr RR) bool {
	soa, ok := rr.(*SOARecord)
	n := len(in.rrs)
	switch {
	case n == 1:
		in.soa = soa // nil is found by transfer
		return !ok
	case !ok:
		return false
	case n == 2 && in.have != nil && soa.Serial != in.soa.Serial:
		in.incremental = true
		return false
	case !in.incremental:
		return true
	}
	in.adding = !in.adding
	return !in.adding && soa.Serial == in.soa.Serial
}

// upToDate is an answer to IXFR with one SOA that is not newer than ours.
func (in *incoming) upToDate() bool {
	return in.have != nil && len(in.rrs) == 1 && in.soa != nil && !SerialNewer(in.soa.Serial, in.have.Serial)
}

func (in *incoming) transfer() (*Transfer, error) {
	if in.soa == nil || Canonical(in.soa.Hdr.Name) != Canonical(in.q.Question[0].Name) {
		return nil, errors.New("the transfer does not begin with the SOA of the zone")
	}
	t := &Transfer{SOA: in.soa}
	switch {
	case len(in.rrs) == 1:
		return t, nil
	case !in.incremental:
		t.Records = in.rrs[:len(in.rrs)-1]
		return t, nil
	}
	var err error
	t.Changes, err = changes(in.rrs[1:len(in.rrs)-1], in.have.Serial, in.soa.Serial)
	return t, err
}

// changes splits an increment at its SOAs and sees that each change follows the one before.
func changes(rrs []RR, from, to uint32) ([]Change, error) {
	var out []Change
	at := from
	for len(rrs) > 0 {
		var c Change
		c.From, c.Gone, rrs = cutAtSOA(rrs)
		if len(rrs) == 0 || c.From.Serial != at {
			return nil, errors.New("the changes do not follow each other")
		}
		c.To, c.Come, rrs = cutAtSOA(rrs)
		at = c.To.Serial
		out = append(out, c)
	}
	if at != to {
		return nil, errors.New("the changes do not lead to the zone as it is")
	}
	return out, nil
}

func cutAtSOA(rrs []RR) (soa *SOARecord, records, rest []RR) {
	soa = rrs[0].(*SOARecord)
	n := 1
	for n < len(rrs) && rrs[n].Header().Rrtype != TypeSOA {
		n++
	}
	return soa, rrs[1:n:n], rrs[n:]
}

// SerialNewer reports whether serial a comes after b (RFC 1982 section 3.2).
func SerialNewer(a, b uint32) bool { return a != b && int32(a-b) > 0 }
