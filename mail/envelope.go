package mail

import "slices"

// An Envelope is what SMTP says about a mail outside of the message. All of it is
// standard, so all of it survives any hop.
type Envelope struct {
	From       Address     // reverse-path; the zero Address is the null path <>
	To         []Recipient // forward-paths, at least one
	Submitter  string      // AUTH= (RFC 4954 section 5), decoded: a mailbox, "<>" for unknown, "" when not given
	Body       BodyType    // BODY= (RFC 6152, RFC 3030)
	UTF8       bool        // SMTPUTF8 (RFC 6531 section 3.4)
	RequireTLS bool        // REQUIRETLS (RFC 8689)
	Return     Return      // RET= (RFC 3461 section 4.3)
	ID         string      // ENVID= (RFC 3461 section 4.4), decoded
}

// A Recipient is one forward-path with its wishes about delivery reports.
type Recipient struct {
	Address
	Notify   Notify // NOTIFY= (RFC 3461 section 4.1); zero when not given
	Original string // ORCPT= (RFC 3461 section 4.2), decoded, as "type;address"; "" when not given
}

// BodyType is the value of BODY=.
type BodyType string

// The body types of RFC 6152 and RFC 3030; the empty one was not declared.
const (
	Body7Bit     BodyType = "7BIT"
	Body8BitMIME BodyType = "8BITMIME"
	BodyBinary   BodyType = "BINARYMIME"
)

// Return says how much of the message a failure report returns.
type Return string

// The values of RET=.
const (
	ReturnFull    Return = "FULL"
	ReturnHeaders Return = "HDRS"
)

// Notify is the set of events that a sender wants to hear of.
type Notify uint8

// The values of NOTIFY=. NotifyNever stands alone.
const (
	NotifyNever Notify = 1 << iota
	NotifySuccess
	NotifyFailure
	NotifyDelay
)

// String returns the value in the form of the NOTIFY= parameter, "" for none given.
func (n Notify) String() string {
	if n&NotifyNever != 0 {
		return "NEVER"
	}
	s := ""
	for _, e := range []struct {
		bit  Notify
		name string
	}{{NotifySuccess, "SUCCESS"}, {NotifyFailure, "FAILURE"}, {NotifyDelay, "DELAY"}} {
		if n&e.bit != 0 {
			if s != "" {
				s += ","
			}
			s += e.name
		}
	}
	return s
}

// Clone returns an envelope that shares no memory with e.
func (e Envelope) Clone() Envelope {
	e.To = slices.Clone(e.To)
	return e
}
