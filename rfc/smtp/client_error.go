package smtp

import (
	"context"
	"errors"
	"fmt"

	"stagecoach/mail"
)

// ErrReplyLost says that the whole message was sent and the reply to its end never came:
// the server may have the mail or not (RFC 1047). Trying again is right, but may deliver
// the mail twice.
var ErrReplyLost = errors.New("the reply to the end of the message was lost")

// A HopError is the cause of every Refusal that a NextHop returns. It says where it arose.
type HopError struct {
	Host string // NextHop.Host
	Step string // the command, or "connect", "greeting", "TLS", "offer" (of EHLO)

	// Elsewhere says that nothing speaks against trying another host of the same domain at
	// once: this one did not judge the mail, or cannot transport it.
	Elsewhere bool

	Err error // what went wrong on our side of the wire; nil when the server said so itself
}

func (e *HopError) Error() string {
	s := e.Host + ": " + e.Step
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns Err.
func (e *HopError) Unwrap() error { return e.Err }

// RemoteMTA returns the name of the server whose reply the refusal quotes (RFC 3464
// section 2.3.5), "" when the refusal is our own.
func (e *HopError) RemoteMTA() string {
	if e.Err != nil {
		return ""
	}
	return e.Host
}

// Unreported is a result of Carry that means success: the server has the mail, but does not
// know delivery reports, so that one of success, which was asked for, is due from whoever
// holds the mail here (RFC 3461 section 5.2.2).
type Unreported struct{ Host string }

// Relayed returns true.
func (Unreported) Relayed() bool { return true }

func (u Unreported) Error() string { return u.Host + " has the mail and will not report it" }

// said makes an error of a refusal that the server spoke.
func (h *NextHop) said(step string, r *mail.Refusal, elsewhere bool) error {
	return r.Because(&HopError{Host: h.Host, Step: step, Elsewhere: elsewhere})
}

// trouble makes a temporary refusal of an error on the way to or from the server.
func (h *NextHop) trouble(ctx context.Context, step string, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		err = fmt.Errorf("%w: %w", cause, err)
	}
	out := mail.Defer(451, "4.4.2", "the connection to the receiving server broke")
	lost := errors.Is(err, ErrReplyLost)
	switch {
	case step == "connect":
		out = mail.Defer(451, "4.4.1", "the receiving server cannot be reached")
	case step == "TLS":
		out = mail.Defer(451, "4.7.5", "the receiving server cannot be reached over TLS")
	case lost:
		out = mail.Defer(451, "4.4.2", "the receiving server did not say whether it took the message")
	}
	return out.Because(&HopError{Host: h.Host, Step: step, Elsewhere: !lost, Err: err})
}

// cannot is a refusal of ours: this server, as it presents itself, cannot be used.
func (h *NextHop) cannot(step string, r *mail.Refusal, why string) error {
	return r.Because(&HopError{Host: h.Host, Step: step, Elsewhere: true, Err: errors.New(why)})
}

// ours is trouble in our own house, which no other host cures.
func (h *NextHop) ours(err error) error {
	out := mail.Defer(451, "4.3.0", "temporary trouble, please try again later")
	return out.Because(&HopError{Host: h.Host, Step: "reading the message", Err: err})
}
