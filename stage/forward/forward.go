// Package forward decides whose mail it is, and where that person lives: recipients in our
// domains become their targets, and bounces that come to an SRS address of ours go back to
// whom they are for. Everybody else passes untouched.
package forward

import (
	"context"
	"time"

	"stagecoach/account"
	"stagecoach/mail"
)

// A Forwarder replaces recipients of ours by their targets. Its fields are set before use
// and not changed after. It is safe for concurrent use.
//
// The address that was written to stays as ORCPT (RFC 3461 section 4.2), so that every
// report speaks of it and not of the target. No reply names a target. Like every Handler it takes a mail
// for all of its recipients or for none: when one of them cannot be, the whole is refused,
// so that nothing is lost in silence. The edge refuses such a recipient alone, at RCPT.
type Forwarder struct {
	Accounts *account.Directory
	Next     mail.Handler

	// SRS undoes our own rewriting of senders; nil when there is none.
	SRS Reverser

	// Mark is the key of the marks by which a mail is known that comes to an address again,
	// at least 16 octets. Without a key only the hop limit ends a loop.
	Mark []byte

	ReturnsPerHour int // mails back to one sender through SRS addresses; default 60

	Now func() time.Time // nil: time.Now

	returns rate
}

// A Reverser undoes the rewriting of senders (rfc/srs).
type Reverser interface {
	// Is reports whether an address has the form of a rewritten sender of ours, whether its
	// tag is good or not.
	Is(a mail.Address) bool

	// Reverse returns the sender that was rewritten. It fails when the tag is not ours or
	// has expired.
	Reverse(a mail.Address) (mail.Address, error)
}

// MaxHops is how many Received fields a mail may have (RFC 5321 section 6.3).
const MaxHops = 50

// maxTargets bounds what one mail becomes.
const maxTargets = 5000

// The replies. None says where mail would have gone.
var (
	errUnknown  = mail.Reject(550, "5.1.1", "no such user here")
	errNowhere  = mail.Reject(550, "5.2.1", "this mailbox takes no mail")
	errTooMany  = mail.Reject(550, "5.2.4", "this address stands for too many others")
	errLoop     = mail.Reject(554, "5.4.6", "this mail goes in circles")
	errHops     = mail.Reject(554, "5.4.6", "this mail has been through too many servers")
	errSRS      = mail.Reject(550, "5.7.1", "this address takes only reports about mail that it sent")
	errSRSRate  = mail.Defer(450, "4.7.1", "too many reports to this address, please try again later")
	errNobodyTo = mail.Reject(554, "5.5.0", "no recipients")
)

func (f *Forwarder) now() time.Time {
	if f.Now != nil {
		return f.Now()
	}
	return time.Now()
}

var _ mail.Handler = (*Forwarder)(nil)

// Known reports whether mail to an address would be taken: it is a user's who receives mail,
// or an SRS address of ours that is fresh. It is for a gate at the edge; that only reports may go to
// an SRS address is seen later, in the message.
func (f *Forwarder) Known(a mail.Address) bool {
	if f.SRS != nil && f.SRS.Is(a) {
		_, err := f.SRS.Reverse(a)
		return err == nil
	}
	u, ok := f.Accounts.Book().Lookup(a)
	return ok && u.Receives()
}

// Handle replaces the recipients and passes the mail on.
func (f *Forwarder) Handle(ctx context.Context, m *mail.Mail) error {
	h := &m.Message.Header
	if h.Count("Received") > MaxHops {
		return errHops
	}
	e := newExpansion(f, m)
	for _, r := range m.Envelope.To {
		if err := e.recipient(r); err != nil {
			return err
		}
	}
	if len(e.to) == 0 {
		return errNobodyTo
	}
	if err := f.mark(h, e.through); err != nil {
		return err
	}
	if err := f.spend(e.returned); err != nil {
		return err
	}
	m.Envelope.To = e.to
	return f.Next.Handle(ctx, m)
}
