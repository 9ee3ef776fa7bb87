package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// What a look-up finds when there is nothing to find. Both stand only for a proper negative
// answer; whatever else goes wrong is an *Error for which neither is true, and may be
// different a minute later.
var (
	ErrNotExist = errors.New("the name does not exist")      // NXDOMAIN
	ErrNoData   = errors.New("the name has no such records") // NODATA (RFC 2308 section 2.2)
)

// An Error is a look-up that found nothing. errors.Is(err, ErrNotExist) and ErrNoData say
// that there is nothing; otherwise the error is temporary: no answer, SERVFAIL (which is also
// how a validating resolver reports bogus data), REFUSED, or an answer that makes no sense.
type Error struct {
	Name   string // that was asked for, without a final dot
	Type   uint16
	Rcode  int           // of the response; RcodeSuccess when none came or the answer was senseless
	Secure bool          // a validating resolver vouches for a negative answer
	TTL    time.Duration // how long a negative answer may be remembered (RFC 2308 section 5); 0 if unknown
	Cause  error         // ErrNotExist, ErrNoData, or what went wrong
}

// Error names the question and what came of it.
func (e *Error) Error() string {
	return fmt.Sprintf("look-up of %s %s: %v", e.Name, TypeName(e.Type), e.Cause)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Temporary reports whether another try may find something.
func (e *Error) Temporary() bool { return !IsNegative(e) }

// Timeout reports whether no answer came in time.
func (e *Error) Timeout() bool {
	var n net.Error
	return errors.Is(e.Cause, context.DeadlineExceeded) || errors.As(e.Cause, &n) && n.Timeout()
}

// IsNegative reports whether err is a proper negative answer, one way or the other.
func IsNegative(err error) bool {
	return errors.Is(err, ErrNotExist) || errors.Is(err, ErrNoData)
}

// refusal returns the error for a response code that is neither NOERROR nor NXDOMAIN, with
// the extended errors that came along (RFC 8914).
func refusal(m *Msg) error {
	text := "the server said " + RcodeName(m.Rcode)
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if ede, ok := o.(*dns.EDNS0_EDE); ok {
				text += " (" + extended(ede) + ")"
			}
		}
	}
	return errors.New(text)
}

func extended(ede *dns.EDNS0_EDE) string {
	s, ok := dns.ExtendedErrorCodeToString[ede.InfoCode]
	if !ok {
		s = fmt.Sprintf("extended error %d", ede.InfoCode)
	}
	if ede.ExtraText != "" {
		s += ": " + printable(ede.ExtraText)
	}
	return s
}

// printable keeps text of strangers to one short line.
func printable(s string) string {
	if len(s) > 120 {
		s = s[:120]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}
