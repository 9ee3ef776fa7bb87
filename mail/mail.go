// Package mail is the core of the house: a mail on its way, the address it goes to,
// and the one interface by which it moves.
//
// It implements the message and envelope model of RFC 5321 and RFC 5322, with the
// envelope extensions SMTPUTF8 (RFC 6531), 8BITMIME (RFC 6152), BINARYMIME (RFC 3030),
// DSN (RFC 3461), AUTH (RFC 4954) and REQUIRETLS (RFC 8689).
package mail

import "context"

// A Handler takes mails over. A nil error means that the mail is now the handler's:
// the caller may forget it. Any error means that it is still the caller's. A Handler
// takes a mail for all of its recipients or for none.
//
// An error that is (or wraps) a *Refusal says what the SMTP client is told; any other
// error reads "451 4.3.0" outside and its text in the log.
//
// A Handler may change m's envelope and header; the caller does not use them again.
// The message, its body above all, is valid only until Handle returns: who wants it
// longer copies it.
type Handler interface {
	Handle(ctx context.Context, m *Mail) error
}

// HandlerFunc lets a function be a Handler.
type HandlerFunc func(ctx context.Context, m *Mail) error

// Handle calls f.
func (f HandlerFunc) Handle(ctx context.Context, m *Mail) error { return f(ctx, m) }

var _ Handler = HandlerFunc(nil)

// A Mail is one message on its way.
type Mail struct {
	Peer     Peer // who handed it to us; only the stage at the edge reads it, and clears it
	Envelope Envelope
	Message  *Message
}

// Clone returns a mail whose envelope and header may be changed without changing m.
// The body is shared.
func (m *Mail) Clone() *Mail {
	c := *m
	c.Envelope = m.Envelope.Clone()
	if m.Message != nil {
		c.Message = m.Message.Clone()
	}
	return &c
}

type traceKey struct{}

// WithTrace returns a context that carries the id by which the log lines of one mail are
// found. It is for logs alone: no stage decides by it.
func WithTrace(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, traceKey{}, id)
}

// Trace returns the id that WithTrace put into ctx, or "".
func Trace(ctx context.Context) string {
	id, _ := ctx.Value(traceKey{}).(string)
	return id
}
