package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"
)

// Subscribe asks the first server that can be reached for the SOA of a zone, signed with Key,
// over a connection that it keeps: servers of this house and of the reference remember that,
// and send NOTIFYs (RFC 1996) over the same connection. changed is called with the SOA of the
// response, and again whenever the serial is, or is said to be, another; soa is nil for a NOTIFY
// that has none. The SOA is asked for again every so often, for servers that never notify.
// It returns when ctx ends, when the connection does, or when the server refuses.
func (c *Client) Subscribe(ctx context.Context, zone string, every time.Duration, changed func(soa *SOARecord)) error {
	if c.Key.IsZero() {
		return errors.New("a subscription wants a key")
	}
	var failures []error
	for _, n := range c.Servers {
		conn, err := c.dial(ctx, "tcp", n)
		if err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", n, err))
			continue
		}
		s := &subscriber{client: c, conn: conn, zone: Canonical(zone), changed: changed}
		err = s.run(ctx, every)
		conn.Close()
		return fmt.Errorf("%s: %w", n, err)
	}
	if failures == nil {
		return errors.New("no name server is known")
	}
	return errors.Join(failures...)
}

// A subscriber is one connection over which questions go both ways.
type subscriber struct {
	client  *Client
	conn    net.Conn
	zone    string
	changed func(*SOARecord)

	asked   *Msg // the question that is open, nil for none
	sess    *session
	known   bool
	serial  uint32
	patient *time.Timer
}

func (s *subscriber) run(ctx context.Context, every time.Duration) error {
	timeout := s.client.Timeout
	if timeout <= 0 {
		timeout = 5 * defaultTimeout
	}
	came, broken := make(chan []byte), make(chan error, 1)
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			wire, err := readMessage(s.conn, nil)
			if err != nil {
				broken <- err
				return
			}
			select {
			case came <- wire:
			case <-stop:
				return
			}
		}
	}()
	defer s.conn.Close()
	again := time.NewTicker(every)
	defer again.Stop()
	s.patient = time.NewTimer(timeout)
	defer s.patient.Stop()
	if err := s.ask(timeout); err != nil {
		return err
	}
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err = <-broken:
		case wire := <-came:
			err = s.take(wire)
		case <-again.C:
			err = s.ask(timeout)
		case <-s.patient.C:
			if s.asked != nil {
				err = errors.New("no answer in time")
			}
		}
		if err != nil {
			return err
		}
	}
}

func (s *subscriber) ask(timeout time.Duration) error {
	q := new(Msg)
	q.SetQuestion(s.zone, TypeSOA)
	q.Id, q.RecursionDesired = randomID(), false
	wire, sess, err := s.client.pack(q)
	if err != nil {
		return err
	}
	s.asked, s.sess = q, sess
	s.patient.Reset(timeout)
	return s.write(wire, timeout)
}

func (s *subscriber) write(wire []byte, timeout time.Duration) error {
	if err := s.conn.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	return writeMessage(s.conn, wire)
}

// take handles one message: the answer to our question, or a NOTIFY. What is neither, or not
// signed as it should be, is passed over: a connection that has no answer ends by itself.
func (s *subscriber) take(wire []byte) error {
	if len(wire) < 12 {
		return errShort
	}
	if wire[2]&0x80 != 0 {
		return s.answered(wire)
	}
	return s.notified(wire)
}

func (s *subscriber) answered(wire []byte) error {
	if s.asked == nil || binary.BigEndian.Uint16(wire) != s.asked.Id {
		return nil
	}
	r, ok, err := s.client.read(s.asked, wire, s.sess)
	switch {
	case err != nil:
		return err
	case !ok:
		return errors.New("the response is to another question")
	case r.Rcode != RcodeSuccess:
		return RcodeError(r.Rcode)
	}
	s.asked = nil
	s.patient.Stop()
	for _, rr := range r.Answer {
		if soa, ok := rr.(*SOARecord); ok && Canonical(soa.Hdr.Name) == s.zone {
			s.heard(soa)
			return nil
		}
	}
	return errors.New("the response has no SOA")
}

func (s *subscriber) heard(soa *SOARecord) {
	if s.known && soa.Serial == s.serial {
		return
	}
	s.known, s.serial = true, soa.Serial
	s.changed(soa)
}

func (s *subscriber) notified(wire []byte) error {
	body, t, err := cutTSIG(wire)
	if err != nil {
		return err
	}
	if t == nil || t.name != s.client.Key.Name || t.algorithm != s.client.Key.Algorithm {
		return nil
	}
	sess := &session{key: s.client.Key}
	if err := sess.verifyRequest(body, t, s.client.now()); err != nil {
		return nil //nolint:nilerr // not from whom it says
	}
	m, err := decodeWire(body)
	if err != nil || m.Opcode != OpcodeNotify || len(m.Question) != 1 || Canonical(m.Question[0].Name) != s.zone {
		return err
	}
	r := NewResponse(m, RcodeSuccess)
	r.Authoritative = true
	out, err := r.Pack()
	if err != nil {
		return err
	}
	if err := s.write(sess.sign(out, s.client.now()), 5*defaultTimeout); err != nil {
		return err
	}
	for _, rr := range m.Answer {
		if soa, ok := rr.(*SOARecord); ok && Canonical(soa.Hdr.Name) == s.zone {
			s.heard(soa)
			return nil
		}
	}
	s.changed(nil)
	return nil
}
