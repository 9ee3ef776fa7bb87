// Package submit is the edge where our users hand in mail (RFC 6409): they log in, they
// write as themselves alone, and what they send is made whole.
//
// A Submitter is an Authenticator and a Gate of rfc/smtp, and the Handler that its server
// hands mails to.
package submit

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"time"

	"stagecoach/account"
	"stagecoach/mail"
)

// A Submitter lets users hand in mail. Its fields are set before use and not changed after.
// It is safe for concurrent use.
//
// What it remembers of logins and of rates lives in memory and is gone after a restart: then
// every count begins anew, and every network is an unknown one once more.
type Submitter struct {
	Accounts *account.Directory
	Next     mail.Handler

	// Certificate returns the certificate that was shown on a connection, for clients that bind
	// by tls-server-end-point. Nil: they are offered tls-exporter alone.
	Certificate func(*tls.ConnectionState) *x509.Certificate

	// Scram offers SCRAM although not everybody has SCRAM keys. A client then tries SCRAM for
	// those who have none, and most clients try nothing else when that fails.
	Scram bool

	Rates   Rates
	Guesses Guesses

	// Service reports whether an address of ours, at which nobody lives, is taken by a stage
	// behind this one. Nil: none is.
	Service func(mail.Address) bool

	Log *slog.Logger     // of failed logins and reached limits; nil is silent
	Now func() time.Time // nil: time.Now

	guard  guard
	budget budget
}

// Rates bound what one user sends. Zero values mean the defaults.
type Rates struct {
	MessagesPerMinute int // default 60
	RecipientsPerDay  int // default 500
}

func (r Rates) withDefaults() Rates {
	if r.MessagesPerMinute == 0 {
		r.MessagesPerMinute = 60
	}
	if r.RecipientsPerDay == 0 {
		r.RecipientsPerDay = 500
	}
	return r
}

func (s *Submitter) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

func (s *Submitter) log() *slog.Logger {
	if s.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Log
}

var _ mail.Handler = (*Submitter)(nil)
