package dns

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// The patience of a Client whose fields are zero.
const (
	defaultTimeout  = 2 * time.Second
	defaultAttempts = 3
)

// A Client asks name servers over the wire. The zero Client asks nobody. It keeps no state:
// each question goes from a fresh socket, whose port the system picks, with a fresh ID from
// crypto/rand (RFC 5452).
type Client struct {
	Servers  []Nameserver  // asked in this order; the next one when one fails
	Timeout  time.Duration // for one try with one server; 0 is 2 s, doubled each round
	Attempts int           // rounds over the servers; 0 is 3

	// Trust says that the servers validate DNSSEC and that nobody can change what they say
	// on its way here: a resolver of our own on the same machine, or one reached by TLS.
	// Otherwise the AD bit is cleared in all responses.
	Trust bool

	// Key signs each message, and responses must be signed with it (RFC 8945). The zero Key
	// signs none.
	Key Key

	Dialer net.Dialer       // for tests, and for LocalAddr
	Now    func() time.Time // for certificates and signatures; nil is time.Now
}

var _ Exchanger = (*Client)(nil)

// Exchange asks the servers in turn until one gives an answer that is no SERVFAIL, REFUSED,
// NOTIMP or FORMERR; if none does, the last such response is returned. An error tells what
// happened with each server. UPDATEs and NOTIFYs are sent once to each server, as they are
// not known to be safe to repeat.
func (c *Client) Exchange(ctx context.Context, q *Msg) (*Msg, error) {
	if len(c.Servers) == 0 {
		return nil, errors.New("no name server is known")
	}
	rounds := c.Attempts
	if rounds <= 0 {
		rounds = defaultAttempts
	}
	if q.Opcode != OpcodeQuery {
		rounds = 1
	}
	timeout := c.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	var last *Msg
	var failures []error
	for round := range rounds {
		failures = failures[:0]
		for _, n := range c.Servers {
			r, err := c.try(ctx, n, q, timeout<<min(round, 4))
			switch {
			case err == nil && !isRefusal(r.Rcode):
				return r, nil
			case err == nil:
				last = r
			default:
				failures = append(failures, fmt.Errorf("%s: %w", n, err))
			}
			if ctx.Err() != nil {
				return nil, errors.Join(append(failures, ctx.Err())...)
			}
		}
		if len(failures) == 0 {
			break // each server has spoken, to ask again is of little use
		}
	}
	if last != nil {
		return last, nil
	}
	return nil, errors.Join(failures...)
}

// isRefusal reports whether another server may know better.
func isRefusal(rcode int) bool {
	switch rcode {
	case RcodeServerFailure, RcodeRefused, RcodeNotImplemented, RcodeFormatError:
		return true
	}
	return false
}

func (c *Client) try(ctx context.Context, n Nameserver, q *Msg, timeout time.Duration) (*Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	asked := *q
	asked.Id = randomID()
	var r *Msg
	var err error
	if n.Transport == UDP {
		r, err = c.askUDP(ctx, n, &asked)
	} else {
		r, err = c.askStream(ctx, n, &asked)
	}
	if err != nil {
		return nil, err
	}
	r.Id = q.Id
	r.AuthenticatedData = r.AuthenticatedData && c.Trust
	return r, nil
}

// pack returns q as it goes out, and the session that its responses belong to; that is nil
// without a key.
func (c *Client) pack(q *Msg) ([]byte, *session, error) {
	wire, err := q.Pack()
	if err != nil {
		return nil, nil, fmt.Errorf("packing the query: %w", err)
	}
	if c.Key.IsZero() {
		return wire, nil, nil
	}
	s := &session{key: c.Key}
	return s.sign(wire, c.now()), s, nil
}

// read unpacks what came in answer to q; ok is false for what is no answer to it at all, as
// forged and late ones are not.
func (c *Client) read(q *Msg, raw []byte, s *session) (r *Msg, ok bool, err error) {
	r = new(Msg)
	if err := r.Unpack(raw); err != nil && !r.Truncated {
		return nil, false, fmt.Errorf("the response is damaged: %w", err)
	}
	if !answers(q, r) {
		return nil, false, errors.New("the response is to another question")
	}
	if s == nil {
		return r, true, nil
	}
	if _, err := s.verify(raw, c.now()); err != nil {
		var said TSIGError
		return r, errors.As(err, &said) && r.Rcode == RcodeNotAuth, err
	}
	r.Extra = r.Extra[:max(len(r.Extra)-1, 0)]
	return r, true, nil
}

func (c *Client) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}

// askUDP sends one datagram and waits for the one that answers it, whatever else comes in. A
// truncated answer is asked for again over TCP.
func (c *Client) askUDP(ctx context.Context, n Nameserver, q *Msg) (*Msg, error) {
	wire, sess, err := c.pack(q)
	if err != nil {
		return nil, err
	}
	conn, err := c.dial(ctx, "udp", n)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer closeOn(ctx, conn)()
	if _, err := conn.Write(wire); err != nil {
		return nil, outOfTime(ctx, err)
	}
	buf := make([]byte, 4096)
	for {
		k, err := conn.Read(buf)
		if err != nil {
			return nil, outOfTime(ctx, err)
		}
		r, ok, err := c.read(q, buf[:k], sess)
		switch {
		case !ok:
			continue // the true one may still come
		case err != nil:
			return nil, err
		case r.Truncated:
			return c.askStream(ctx, n, q)
		}
		return r, nil
	}
}

func (c *Client) askStream(ctx context.Context, n Nameserver, q *Msg) (*Msg, error) {
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
	raw, err := readMessage(conn, nil)
	if err != nil {
		return nil, outOfTime(ctx, err)
	}
	r, _, err := c.read(q, raw, sess)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// dial connects to a server. What comes from UDP sockets so connected has passed the kernel's
// check of its source.
func (c *Client) dial(ctx context.Context, network string, n Nameserver) (net.Conn, error) {
	conn, err := c.Dialer.DialContext(ctx, network, n.Addr.String())
	if err != nil || n.Transport != TLS {
		return conn, err
	}
	t := tls.Client(conn, n.tlsConfig(c.now))
	if err := t.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("TLS: %w", err)
	}
	return t, nil
}

// answers reports whether r answers q: same ID, opcode and question. A server that could not
// read the query may leave the question out (RFC 1035 section 4.1.1 lets it for FORMERR).
func answers(q, r *Msg) bool {
	if !r.Response || r.Id != q.Id || r.Opcode != q.Opcode {
		return false
	}
	if len(r.Question) == 0 {
		return r.Rcode != RcodeSuccess && r.Rcode != RcodeNameError || q.Opcode != OpcodeQuery
	}
	return len(r.Question) == 1 && len(q.Question) == 1 && sameQuestion(q.Question[0], r.Question[0])
}

func randomID() uint16 {
	var b [2]byte
	rand.Read(b[:]) //nolint:errcheck // never fails since Go 1.24
	return binary.BigEndian.Uint16(b[:])
}

// closeOn interrupts reads and writes of conn when ctx ends, until the function it returns is
// called.
func closeOn(ctx context.Context, conn net.Conn) (stop func()) {
	f := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) }) //nolint:errcheck // on a closed conn
	return func() { f() }
}

// outOfTime names the end of ctx as the cause of an interrupted read or write.
func outOfTime(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("no answer: %w", ctx.Err())
	}
	return err
}

// writeMessage writes a message with its length before it (RFC 1035 section 4.2.2) in one
// write (RFC 7766 section 8).
func writeMessage(w io.Writer, wire []byte) error {
	if len(wire) > 65535 {
		return errors.New("the message is longer than 65535 octets")
	}
	b := make([]byte, 2, 2+len(wire))
	binary.BigEndian.PutUint16(b, uint16(len(wire)))
	_, err := w.Write(append(b, wire...))
	return err
}

// readMessage reads one message with its length before it, into buf where it fits.
func readMessage(r io.Reader, buf []byte) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(length[:]))
	if n > cap(buf) {
		buf = make([]byte, n)
	}
	_, err := io.ReadFull(r, buf[:n])
	return buf[:n], err
}
