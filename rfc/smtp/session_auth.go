package smtp

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"stagecoach/mail"
	"stagecoach/rfc/sasl"
)

// The replies of RFC 4954 section 6.
var (
	errEncryption = mail.Reject(538, "5.7.11", "encryption required for authentication")
	errMechanism  = mail.Reject(504, "5.5.4", "authentication mechanism not offered")
	errBase64     = mail.Reject(501, "5.5.2", "cannot decode the response")
	errCancelled  = mail.Reject(501, "5.7.0", "authentication cancelled")
	errCredential = mail.Reject(535, "5.7.8", "authentication credentials invalid")
)

// mechanisms returns what AUTH offers: nothing in clear.
func (s *session) mechanisms() []string {
	if s.Auth == nil || s.peer.TLS == nil {
		return nil
	}
	return s.Auth.Mechanisms(s.peer)
}

// auth does AUTH (RFC 4954). In clear nothing is looked at.
func (s *session) auth(args string) error {
	switch {
	case s.Auth == nil:
		return errNoCommand
	case s.peer.TLS == nil:
		return errEncryption
	case !s.peer.ESMTP:
		return errHello
	case s.peer.User != "" || s.now.open:
		return errSequence
	}
	name, initial, has := strings.Cut(args, " ")
	name = strings.ToUpper(name)
	if !slices.Contains(s.mechanisms(), name) {
		return errMechanism
	}
	var response []byte
	if has {
		var err error
		if response, err = decodeResponse(initial); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(s.ctx, gateTimeout)
	defer cancel()
	exchange, err := s.Auth.Start(ctx, s.peer, name)
	if err != nil {
		return s.loginFailed(err)
	}
	if err := s.exchange(ctx, exchange, response); err != nil {
		return s.loginFailed(err)
	}
	s.peer.User = exchange.User()
	s.count(LoggedIn, 0)
	s.reply(235, "2.7.0", "authenticated")
	return nil
}

// exchange sends challenges and reads responses until the mechanism is done.
func (s *session) exchange(ctx context.Context, e sasl.Exchange, response []byte) error {
	for {
		challenge, done, err := e.Next(ctx, response)
		if err != nil || done && challenge == nil {
			return err
		}
		if response, err = s.challenge(challenge); err != nil {
			return err
		}
		if done {
			if len(response) > 0 { // RFC 4422 section 3.6: the last word needs no answer
				return errCredential
			}
			return nil
		}
	}
}

// challenge sends one and reads the response to it, which is never nil.
func (s *session) challenge(c []byte) ([]byte, error) {
	s.out = append(s.out, "334 "...)
	s.out = base64.StdEncoding.AppendEncode(s.out, c)
	s.out = append(s.out, "\r\n"...)
	s.lastTalk = time.Time{}
	line, err := s.in.line(maxAuth)
	if err != nil {
		return nil, err
	}
	if s.in.buffered() > 0 {
		return nil, badTalk(554, "5.5.1", "you did not wait for a reply")
	}
	if string(line) == "*" {
		return nil, errCancelled
	}
	response, err := base64.StdEncoding.Strict().DecodeString(string(line))
	if err != nil {
		return nil, errBase64
	}
	return response, nil
}

// decodeResponse reads an initial response, where "=" is an empty one.
func decodeResponse(s string) ([]byte, error) {
	if s == "=" {
		return []byte{}, nil
	}
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(b) == 0 {
		return nil, errBase64
	}
	return b, nil
}

// loginFailed waits before it returns what to answer, longer with each failure. A failure
// of ours is temporary, and does not count as a guess.
func (s *session) loginFailed(err error) error {
	var f fatal
	var r *mail.Refusal
	switch {
	case errors.As(err, &f), !errors.As(err, &r) && isWire(err):
		return err
	case r == nil:
		return mail.Defer(454, "4.7.0", "temporary authentication failure").Because(err)
	case r == errBase64 || r == errCancelled || !r.Permanent():
		return r
	}
	s.count(LoginError, r.Code)
	delay := s.limits.LoginDelay << min(s.logins, 6)
	s.logins++
	s.sleep(delay)
	if s.limits.Logins >= 0 && s.logins >= s.limits.Logins {
		s.tell(r)
		return hangUp(421, "4.7.0", "too many failed logins")
	}
	return r
}

// isWire reports whether an error came from reading the client's lines.
func isWire(err error) bool {
	return lineTrouble(err) != nil || isTimeout(err) || errors.Is(err, io.EOF)
}

// sleep waits, but not longer than the server lives.
func (s *session) sleep(d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-time.After(d):
	case <-s.stopping:
	}
}
