package smtp

import (
	"errors"
	"io"
	"time"

	"stagecoach/mail"
)

// data does DATA (RFC 5321 section 4.1.1.4).
func (s *session) data(args string) error {
	t := &s.now
	switch {
	case args != "":
		return errArgs
	case s.Inner && !s.AcceptData:
		return mail.Reject(502, "5.5.1", "BDAT only")
	case !t.open || t.draft != nil:
		return errSequence
	case len(t.mail.Envelope.To) == 0:
		return mail.Reject(554, "5.5.1", "no valid recipients")
	case t.mail.Envelope.Body == mail.BodyBinary:
		return mail.Reject(503, "5.5.1", "BINARYMIME needs BDAT") // RFC 3030 section 3
	}
	s.reply(354, "", "end the message with CRLF.CRLF")
	s.begin(true)
	for !t.text.done() {
		p, err := s.in.chunk(bufferSize)
		if err != nil {
			return cut(err)
		}
		n, err := t.text.scan(p, s.keep)
		if err != nil {
			return textTrouble(err)
		}
		s.in.unread(len(p) - n)
		if err := s.took(n); err != nil {
			return err
		}
	}
	t.receiving = false
	return s.finish()
}

// begin makes ready for message octets.
func (s *session) begin(dots bool) {
	t := &s.now
	if t.draft == nil {
		limits := s.limits.Message
		if s.state.gauge.pressed() {
			limits.InMemory = bufferSize // the rest can wait on disk
		}
		t.draft = mail.NewDraft(s.Spool, limits)
		t.text = textScanner{max: s.limits.TextLine, dots: dots}
		s.setBusy(true)
	}
	t.receiving, t.began, t.received = true, time.Now(), 0
	s.in.grow()
}

// keep adds to the draft, which remembers its first error.
func (s *session) keep(p []byte) {
	if len(p) > 0 {
		s.now.draft.Write(p) //nolint:errcheck // asked for by took and finish
	}
}

// took counts octets. After an error of the draft the rest of the message is read and
// dropped, so that a client which reads no reply before it has sent all hears why; but no
// more of it than a message may have.
func (s *session) took(n int) error {
	t := &s.now
	t.received += int64(n)
	if err := t.draft.Err(); err != nil && t.received > 2*s.limits.Message.Size {
		return fatal{mail.RefusalOf(err), false}
	}
	return nil
}

// cut is the end of a message that did not come whole.
func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return errClose
	}
	return err
}

// textTrouble is the reply to message text that breaks the rules. No octet after it is
// read, as nobody can tell any more which belong to the message.
func textTrouble(err error) error {
	switch err {
	case errLineTooLong:
		return badTalk(500, "5.6.0", "a line of the message is too long")
	case errNUL:
		return badTalk(554, "5.6.0", "the message has a NUL")
	}
	return badTalk(554, "5.6.0", "the message has a bare CR or LF")
}
