package mail

import (
	"context"
	"errors"
	"fmt"
)

// A Refusal is an error that tells an SMTP client why its mail is not taken. Text is for
// strangers and stays generic; Cause is for the log.
type Refusal struct {
	Code   int    // 4yz or 5yz (RFC 5321 section 4.2)
	Status string // enhanced status code (RFC 3463), as "5.7.1"
	Text   string // one line, no CR or LF
	Cause  error  // may be nil
}

// Reject returns a refusal for good, with a code of 5yz.
func Reject(code int, status, text string) *Refusal {
	return &Refusal{Code: code, Status: status, Text: text}
}

// Defer returns a refusal for now, with a code of 4yz.
func Defer(code int, status, text string) *Refusal {
	return &Refusal{Code: code, Status: status, Text: text}
}

// Because returns a copy of r with the cause for the log.
func (r *Refusal) Because(cause error) *Refusal {
	c := *r
	c.Cause = cause
	return &c
}

// Error returns the reply as it is sent, followed by the cause.
func (r *Refusal) Error() string {
	s := fmt.Sprintf("%d %s %s", r.Code, r.Status, r.Text)
	if r.Cause != nil {
		s += ": " + r.Cause.Error()
	}
	return s
}

// Unwrap returns the cause.
func (r *Refusal) Unwrap() error { return r.Cause }

// Permanent reports whether trying again is of no use.
func (r *Refusal) Permanent() bool { return r.Code >= 500 }

// RefusalOf returns what an SMTP client is told of err: the first Refusal in its tree, or
// for any other error a temporary one that hides it.
func RefusalOf(err error) *Refusal {
	var r *Refusal
	if errors.As(err, &r) {
		return r
	}
	text := "temporary trouble, please try again later"
	if errors.Is(err, context.DeadlineExceeded) {
		text = "timed out, please try again later"
	}
	return Defer(451, "4.3.0", text).Because(err)
}

// IsPermanent reports whether err is a refusal for good. An error that is no Refusal is
// our own trouble, and so temporary.
func IsPermanent(err error) bool {
	var r *Refusal
	return errors.As(err, &r) && r.Permanent()
}
