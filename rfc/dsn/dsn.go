// Package dsn writes delivery status notifications and recognises them: the multipart/report
// of RFC 6522 with the delivery-status of RFC 3464, asked for by RFC 3461, internationalised
// by RFC 6533. It has no policy: who is told what, and when, is the queue's business.
package dsn

import (
	"time"

	"stagecoach/mail"
)

// An Action is what became of one recipient (RFC 3464 section 2.3.3).
type Action string

// The actions of RFC 3464 section 2.3.3.
const (
	Failed    Action = "failed"
	Delayed   Action = "delayed"
	Delivered Action = "delivered"
	Relayed   Action = "relayed"
	Expanded  Action = "expanded"
)

// A Recipient is what a report says of one recipient.
type Recipient struct {
	Original   string       // what ORCPT= said, decoded, as "type;address"; "" leaves the field out
	Final      mail.Address // the address that the report shows; the zero Address shows none
	Unnamed    string       // what stands in place of a zero Final, as "an address at example.org"; "" says "undisclosed"
	Action     Action
	Status     string    // RFC 3463, as "5.1.1"; what is no status code is written as x.0.0 of the action's class
	RemoteMTA  string    // host name of the server that said Diagnostic, "" for none
	Diagnostic string    // an SMTP reply, as "550 5.1.1 no such user"; "" for none
	Attempted  time.Time // of the last attempt; zero leaves the field out
	RetryUntil time.Time // for Delayed; zero leaves the field out
}

// A Report is a notification about one message to its sender. Every recipient should have
// the same Action: the human-readable part speaks of all of them with one voice.
type Report struct {
	Reporter   string       // name of the host that reports
	From       mail.Address // author of the report, by custom postmaster
	To         mail.Address // the envelope sender of the message; never the null path
	Date       time.Time
	MessageID  string    // of the report, without angle brackets
	EnvelopeID string    // what ENVID= said, decoded; "" leaves the field out
	Arrived    time.Time // when the message came; zero leaves the field out
	UTF8       bool      // the message came by SMTPUTF8, so that its sender can read RFC 6533
	Recipients []Recipient
	Header     *mail.Header // of the message; nil returns none
}

// MaxHeader is how many octets of the message's header a report returns at the most.
const MaxHeader = 32 << 10

// Mail returns the report as a mail from the null path (RFC 3464 section 2). It has BODY=8BITMIME
// and SMTPUTF8 only where its text needs them (RFC 6533 section 3).
func (r *Report) Mail() *mail.Mail {
	w := &writer{Report: r, utf8: r.UTF8 && r.needsUTF8()}
	m := &mail.Mail{Message: mail.NewMessage(w.message())}
	m.Envelope.To = []mail.Recipient{{Address: r.To, Notify: mail.NotifyNever}}
	if w.utf8 {
		m.Envelope.UTF8, m.Envelope.Body = true, mail.Body8BitMIME
	}
	return m
}

func (r *Report) needsUTF8() bool {
	if !r.To.IsASCII() || r.Header != nil && !isASCII(returned(r.Header)) {
		return true
	}
	for _, to := range r.Recipients {
		if !to.Final.IsASCII() || !isASCII(to.Original) {
			return true
		}
	}
	return false
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
