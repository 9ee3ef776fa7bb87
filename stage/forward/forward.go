// Package forward decides whose mail it is, and where that person lives: recipients in our
// domains become their targets, and bounces that come to an SRS address of ours go back to
// whom they are for, in words of ours that name no target. Everybody else passes untouched.
package forward

import (
	"context"
	"errors"
	"time"

	"stagecoach/account"
	"stagecoach/mail"
	"stagecoach/rfc/srs"
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

	// SRS undoes our own rewriting of senders, which the relay does; nil when it does not. A
	// delivery report that comes to such an address is not handed on: postmaster of its domain
	// writes another one, which says the same without naming a target.
	SRS *srs.Rewriter

	// Reports is where that report goes to be signed, when no stage behind this one signs; nil
	// means Next.
	Reports mail.Handler

	// Mark is the key of the marks by which a mail is known that comes to an address again,
	// at least 16 octets. Without a key only the hop limit ends a loop.
	Mark []byte

	ReturnsPerHour int // mails back to one sender through SRS addresses; default 60

	Now func() time.Time // nil: time.Now

	returns rate
}

// MaxHops is how many Received fields a mail may have (RFC 5321 section 6.3).
const MaxHops = 50

// maxTargets bounds what one mail becomes.
const maxTargets = 5000

// The replies. None says where mail would have gone.
var (
	errUnknown  = mail.Reject(550, "5.1.1", "no such user here")
	errNowhere  = mail.Reject(550, "5.2.1", "this mailbox takes no mail")
	errWaits    = mail.Defer(450, "4.2.1", "this mailbox takes no mail yet, please try again later")
	errTooMany  = mail.Reject(550, "5.2.4", "this address stands for too many others")
	errLoop     = mail.Reject(554, "5.4.6", "this mail goes in circles")
	errHops     = mail.Reject(554, "5.4.6", "this mail has been through too many servers")
	errSRS      = mail.Reject(550, "5.7.1", "this address takes only reports about mail that it sent")
	errSRSGone  = mail.Reject(550, "5.1.6", "whom this report is for cannot be reached from here")
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

// Returns reports whether an address is a sender that we rewrote, and fresh. It is for the
// gate at the edge; that only reports may go there is seen later, in the message. One whose
// original was too long to carry is fresh too: receivers ask for it while they look whether
// a sender exists, and mail that is forwarded must not fail by that.
func (f *Forwarder) Returns(a mail.Address) bool {
	if f.SRS == nil {
		return false
	}
	_, err := f.SRS.Reverse(a, f.now())
	return err == nil || errors.Is(err, srs.ErrTooLong)
}

// Handle replaces the recipients and passes the mail on, or our report in place of one that came
// to an SRS address: one mail, whose fate is the answer for both.
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
	if err := f.spend(e.returned); err != nil {
		return err
	}
	next := f.Next
	if len(e.returned) > 0 && isReport(m) {
		ours, err := e.replace()
		if err != nil {
			return err
		}
		m, h = ours, &ours.Message.Header
		if f.Reports != nil {
			next = f.Reports
		}
	}
	if err := f.mark(h, e.through); err != nil {
		return err
	}
	m.Envelope.To = e.to
	return next.Handle(ctx, m)
}
