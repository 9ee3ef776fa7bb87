package smtp

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"stagecoach/mail"
)

// open brings the connection to where commands are read: PROXY header, limits, TLS, early
// talk, greeting.
func (s *session) open() error {
	if s.Proxy {
		if err := s.readProxy(); err != nil {
			s.count(BadTalk, 0)
			s.log().Info("PROXY header", "client", s.peer.Addr, "error", err)
			return errClose
		}
	}
	if err := s.admit(); err != nil {
		return err
	}
	if c, ok := s.raw.(*tls.Conn); ok {
		if err := s.handshake(c); err != nil {
			return err
		}
	} else {
		s.in = newReader(s.conn, &s.state.buffers, s.beforeRead)
	}
	if err := s.listen(); err != nil {
		return err
	}
	s.reply(220, "", s.Name+" ESMTP")
	return nil
}

// readProxy takes the client's address from the PROXY header.
func (s *session) readProxy() error {
	here := s.local && (len(s.ProxyFrom) == 0 || !s.peer.Addr.IsValid())
	if !here && !contains(s.ProxyFrom, s.peer.Addr) {
		return fmt.Errorf("%v may not send one", s.peer.Addr)
	}
	conn := tcp(s.raw)
	s.limit(s.limits.Handshake)
	h, err := readProxyHeader(conn)
	if err != nil {
		return err
	}
	if h.known {
		s.peer.Addr, s.peer.Port, s.peer.Local = h.from.Addr(), h.from.Port(), h.to
		s.local = s.peer.Addr.IsLoopback()
	}
	return nil
}

// admit asks whether this client may be here.
func (s *session) admit() error {
	var r *mail.Refusal
	if s.Inner && !s.local && !contains(s.From, s.peer.Addr) {
		r = mail.Reject(554, "5.7.1", "not open to you")
	} else {
		r = s.state.gauge.come(s.peer.Addr)
		s.counted = r == nil
	}
	if r == nil {
		s.count(Connected, 0)
		return nil
	}
	s.count(TurnedAway, r.Code)
	s.log().Info("turned away", "client", s.peer.Addr, "text", r.Text)
	if _, secure := s.raw.(*tls.Conn); secure {
		return errClose
	}
	return fatal{r, false}
}

// limit sets one deadline for reading and writing, unless the server is about to end.
func (s *session) limit(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	until := time.Now().Add(d)
	if s.draining {
		until = past
	}
	s.conn.SetDeadline(until) //nolint:errcheck // then what follows fails
}

// handshake does the server's part of TLS.
func (s *session) handshake(c *tls.Conn) error {
	s.limit(s.limits.Handshake)
	ctx, cancel := context.WithTimeout(s.ctx, s.limits.Handshake)
	defer cancel()
	if err := c.HandshakeContext(ctx); err != nil {
		s.log().Info("TLS handshake", "client", s.peer.Addr, "error", err)
		return errClose
	}
	state := c.ConnectionState()
	s.peer.TLS = &state
	s.mu.Lock()
	s.conn = c
	s.mu.Unlock()
	s.in = newReader(c, &s.state.buffers, s.beforeRead)
	s.in.auth = s.Auth != nil
	s.count(Secured, 0)
	return nil
}

// listen waits for clients that talk before the greeting (RFC 5321 section 3.1), as
// programs do that only wish to get rid of their mail.
func (s *session) listen() error {
	if s.GreetDelay <= 0 {
		return nil
	}
	s.limit(s.GreetDelay)
	n, err := s.conn.Read(s.in.buf)
	switch {
	case n > 0:
		return badTalk(554, "5.5.1", "you talked before the greeting")
	case isTimeout(err):
		return nil
	}
	return errClose
}

func contains(in []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(in, func(p netip.Prefix) bool { return p.Contains(a) })
}
