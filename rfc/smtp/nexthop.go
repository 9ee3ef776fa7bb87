package smtp

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"

	"stagecoach/mail"
)

// A NextHop hands mails to the SMTP server at the far end of a wire. It keeps connections
// open for the next mail, pipelines where the server can, and uses BDAT where it is offered.
//
// It is a mail.Handler, which takes a mail for all of its recipients or for none, and a
// Courier, which answers for each. Its refusals carry the server's code, status and text;
// their cause is a *HopError. It is safe for concurrent use; its fields are not to be
// changed once it was used.
type NextHop struct {
	Name string                                      // our name in EHLO; "" is the address literal of our end
	Host string                                      // the server's name: checked in its certificate, and named in errors
	Dial func(ctx context.Context) (net.Conn, error) // opens a connection; it honours ctx

	Security      Security
	ClearFallback bool        // TLSOpportunistic: when the handshake fails, try once more in clear
	TLS           *tls.Config // may be nil; see Security for what is used of it
	Login         Login       // nil: no AUTH

	// Inner says that the server is a stage of ours: CHUNKING is required and DATA is never
	// used, the envelope goes through as it is, and AUTH= is passed on.
	Inner      bool
	NoChunking bool // never use BDAT; Inner overrules it

	MaxConns      int           // at the same time; default 20
	MaxIdle       int           // kept open for later; default MaxConns, negative keeps none
	IdleTimeout   time.Duration // how long an idle one is kept; default 30 s
	MaxMessages   int           // over one connection; default 100, 1000 when Inner
	MaxRecipients int           // of one transaction of Carry; default 100 (RFC 5321 section 4.5.3.1.8)
	ChunkSize     int           // octets of one BDAT; default 1 MiB
	Timeouts      Timeouts

	pool pool
}

var _ mail.Handler = (*NextHop)(nil)

// Security says how the connection is protected.
type Security int

const (
	// TLSOpportunistic uses STARTTLS where it is offered, and does not ask who answers
	// (RFC 7435). A VerifyConnection in the TLS config is called, and may refuse.
	TLSOpportunistic Security = iota
	// TLSNone uses no TLS.
	TLSNone
	// TLSRequired sends nothing unless STARTTLS succeeds and the certificate is good for
	// Host, or for the ServerName of the TLS config. A policy that has other ways to know
	// the server (DANE) sets InsecureSkipVerify and VerifyConnection in the TLS config;
	// InsecureSkipVerify alone asks for encryption and nothing else.
	TLSRequired
	// TLSImplicit is TLSRequired on a port where TLS comes first (RFC 8314 section 3.3).
	TLSImplicit
)

// Timeouts of the steps of a session. Zero values mean the defaults, which are those of
// RFC 5321 section 4.5.3.2 where it names one.
type Timeouts struct {
	Connect  time.Duration // to dial; default 30 s
	TLS      time.Duration // for the handshake; default 1 min
	Greeting time.Duration // for the 220; default 5 min
	Command  time.Duration // for the reply to EHLO, MAIL, RCPT and the like; default 5 min
	Data     time.Duration // for the 354; default 2 min
	Block    time.Duration // to write one block of the message; default 3 min
	Final    time.Duration // for the reply to the end of the message; default 10 min
	Total    time.Duration // for one transaction up to the end of the message; default 1 h
}

func (t Timeouts) withDefaults() Timeouts {
	return Timeouts{
		Connect:  cmp.Or(t.Connect, 30*time.Second),
		TLS:      cmp.Or(t.TLS, time.Minute),
		Greeting: cmp.Or(t.Greeting, 5*time.Minute),
		Command:  cmp.Or(t.Command, 5*time.Minute),
		Data:     cmp.Or(t.Data, 2*time.Minute),
		Block:    cmp.Or(t.Block, 3*time.Minute),
		Final:    cmp.Or(t.Final, 10*time.Minute),
		Total:    cmp.Or(t.Total, time.Hour),
	}
}

func (h *NextHop) chunkSize() int     { return cmp.Or(h.ChunkSize, 1<<20) }
func (h *NextHop) maxConns() int      { return cmp.Or(h.MaxConns, 20) }
func (h *NextHop) maxRecipients() int { return cmp.Or(h.MaxRecipients, 100) }

func (h *NextHop) idleTimeout() time.Duration { return cmp.Or(h.IdleTimeout, 30*time.Second) }

func (h *NextHop) maxMessages() int {
	if h.Inner {
		return cmp.Or(h.MaxMessages, 1000)
	}
	return cmp.Or(h.MaxMessages, 100)
}

// Handle hands over a mail for all of its recipients or for none: when the server refuses
// one of them nothing is sent, and the error is the first permanent refusal, or else the
// first temporary one. After ErrReplyLost nobody knows whether the server has the mail.
func (h *NextHop) Handle(ctx context.Context, m *mail.Mail) error {
	j := newJob(ctx, h, m)
	j.all = true
	j.deliver(everyone(m))
	err := fittest(j.results)
	var r *mail.Refusal
	if errors.As(err, &r) && r.Code == 421 {
		passed := *r // it is that connection which ends, and not the one on which this is repeated
		passed.Code = 451
		return &passed
	}
	return err
}

// Carry hands over a mail for those recipients whom the server takes, and returns one
// result for each, in order: nil for those who have it, or an Unreported where NOTIFY= asks
// for a report of success that the server will not send.
func (h *NextHop) Carry(ctx context.Context, m *mail.Mail) []error {
	j := newJob(ctx, h, m)
	for rest := everyone(m); len(rest) > 0; {
		rest = rest[j.deliver(rest):]
	}
	return j.results
}

// Close ends the idle connections, and those in use when their mail is done.
func (h *NextHop) Close() error {
	h.pool.close()
	return nil
}

func everyone(m *mail.Mail) []int {
	to := make([]int, len(m.Envelope.To))
	for i := range to {
		to[i] = i
	}
	return to
}

// fittest chooses the error that stands for a mail as a whole: as long as one recipient is
// refused for good, the mail as it is will never be taken.
func fittest(results []error) error {
	var first error
	for _, err := range results {
		if mail.IsPermanent(err) {
			return err
		}
		if first == nil {
			first = err
		}
	}
	return first
}
