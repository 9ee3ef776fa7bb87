package smtp

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"stagecoach/mail"
)

// gateTimeout bounds what the Gate and the Authenticator may think about one question:
// clients wait five minutes (RFC 5321 section 4.5.3.2.3).
const gateTimeout = 2 * time.Minute

// An incoming is one mail while it is being received.
type incoming struct {
	open  bool // MAIL was accepted
	id    string
	mail  mail.Mail
	until time.Time // the end of the time for all of it

	draft     *mail.Draft // once the message began
	text      textScanner
	receiving bool      // message octets are being read, not commands
	began     time.Time // to receive them
	received  int64
}

// bound returns the earlier of d and the end of the transaction.
func (t *incoming) bound(d time.Time) time.Time {
	if t.open && !t.until.IsZero() && t.until.Before(d) {
		return t.until
	}
	return d
}

// reset forgets the transaction.
func (s *session) reset() {
	if s.now.draft != nil {
		s.now.draft.Discard()
		s.setBusy(false)
	}
	s.now = incoming{}
}

// mailFrom does MAIL (RFC 5321 section 4.1.1.2).
func (s *session) mailFrom(args string) error {
	switch {
	case s.peer.Hello == "":
		return errHello
	case s.now.open:
		return errSequence
	case s.RequireAuth && s.peer.User == "":
		return mail.Reject(530, "5.7.0", "authentication required")
	case s.limits.Mails >= 0 && s.mails >= s.limits.Mails:
		return hangUp(421, "4.7.0", "too many mails on one connection")
	}
	e, size, err := parseMail(args)
	if err != nil {
		return err
	}
	switch {
	case !s.peer.ESMTP && hasParams(args, "FROM:"):
		return errParam
	case size > s.limits.Message.Size:
		return mail.ErrTooLarge
	case e.RequireTLS && !s.mayRequireTLS():
		return mail.Reject(555, "5.5.4", "REQUIRETLS is not offered without TLS")
	}
	if s.Gate != nil && e.Submitter != "" {
		e.Submitter = "<>" // RFC 4954 section 5: who is not trusted vouches for nobody
	}
	s.now = incoming{open: true, id: rand.Text()[:20], mail: mail.Mail{Peer: s.peer, Envelope: e}}
	if s.limits.Transaction > 0 {
		s.now.until = time.Now().Add(s.limits.Transaction)
	}
	s.reply(250, "2.1.0", "ok")
	return nil
}

// rcptTo does RCPT (RFC 5321 section 4.1.1.3).
func (s *session) rcptTo(args string) error {
	t := &s.now
	if !t.open || t.draft != nil {
		return errSequence
	}
	e := &t.mail.Envelope
	if over(len(e.To)+1, s.limits.Recipients) {
		return mail.Defer(452, "4.5.3", "too many recipients")
	}
	domain := s.Domain
	if domain == "" {
		domain = s.Name
	}
	to, err := parseRcpt(args, domain, e.UTF8)
	if err != nil {
		return err
	}
	if !s.peer.ESMTP && hasParams(args, "TO:") {
		return errParam
	}
	for _, r := range e.To {
		if r.Address == to.Address { // once is enough
			s.reply(250, "2.1.5", "ok")
			return s.idles()
		}
	}
	if err := s.ask(to.Address); err != nil {
		return err
	}
	e.To = append(e.To, to)
	s.reply(250, "2.1.5", "ok")
	return nil
}

// ask lets the Gate decide about one more recipient.
func (s *session) ask(to mail.Address) error {
	if s.Gate == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(mail.WithTrace(s.ctx, s.now.id), gateTimeout)
	defer cancel()
	err := s.Gate.Admit(ctx, &s.now.mail, to)
	if err == nil {
		return nil
	}
	r := mail.RefusalOf(err)
	if r.Permanent() && s.peer.User == "" && !s.state.gauge.unknown(s.peer.Addr) {
		s.tell(r)
		return fatal{errTooManyUnknown, false}
	}
	if r.Code == 421 {
		return fatal{r, false}
	}
	return r
}

// finish hands the mail over and answers with the verdict.
func (s *session) finish() error {
	t := &s.now
	defer s.reset()
	message, err := t.draft.Message()
	if err != nil {
		return fatal{mail.RefusalOf(err), false}
	}
	defer message.Close()
	if over(message.Header.Count("Received"), s.limits.Hops) {
		return mail.Reject(554, "5.4.6", "too many hops, this mail is in a loop")
	}
	message.Header.Prepend(s.received())
	t.mail.Message = message
	if err := s.deliver(); err != nil {
		r := mail.RefusalOf(err)
		if r.Code == 421 {
			return fatal{r, false}
		}
		return r
	}
	s.mails++
	s.idle, s.errors = 0, 0
	s.count(Accepted, 0)
	s.reply(250, "2.0.0", "accepted as "+t.id)
	return nil
}

// deliver calls Next.
func (s *session) deliver() error {
	if s.Next == nil {
		return errors.New("smtp: the server has no Next")
	}
	timeout := s.Timeout
	if timeout == 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(mail.WithTrace(s.ctx, s.now.id), timeout)
	defer cancel()
	return s.Next.Handle(ctx, &s.now.mail)
}
