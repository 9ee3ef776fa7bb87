package smtp

import (
	"time"

	"stagecoach/mail"
)

// Limits bound what one client can cost. Zero is the default, a negative number is no limit.
type Limits struct {
	Connections int // at the same time; default 10,000
	PerAddress  int // of them from one IPv4 address or IPv6 /64; default 50, none for Inner
	PerNetwork  int // of them from one IPv4 /24 or IPv6 /48; default 200, none for Inner
	Rate        int // new connections a minute from one address; default 300, none for Inner
	Unknown     int // recipients that the Gate refuses for good, an hour and address; default 100, none for Inner

	Errors     int // refused commands between two mails; default 20, none for Inner
	Commands   int // commands between two mails that do not serve to send one (NOOP, RSET, ...); default 100
	Recipients int // of one mail; default 1000
	Mails      int // on one connection; default none
	Logins     int // failed ones on one connection; default 3
	Hops       int // Received fields; default 50

	Message  mail.Limits
	TextLine int // octets of a line of text without its CRLF; default 998 (RFC 5322 section 2.1.1)

	Command     time.Duration // wait for a command; default 5 min (RFC 5321 section 4.5.3.2.7), 30 s under pressure
	Data        time.Duration // wait for a block of data; default 3 min (RFC 5321 section 4.5.3.2.5)
	Transaction time.Duration // from MAIL to the end of the message; default 30 min
	Handshake   time.Duration // of TLS, and of the PROXY header; default 30 s
	LoginDelay  time.Duration // before the reply to the first failed login, doubled with each; default 1 s
	MinRate     int           // octets a second of message data, after the first minute; default 100
}

// withDefaults returns the limits with every zero replaced. "No limit" stays negative.
func (l Limits) withDefaults(inner bool) Limits {
	perAddress, perNetwork, rate, unknown, errors := 50, 200, 300, 100, 20
	if inner {
		perAddress, perNetwork, rate, unknown, errors = -1, -1, -1, -1, -1
	}
	for _, d := range []struct {
		n *int
		v int
	}{
		{&l.Connections, 10_000},
		{&l.PerAddress, perAddress},
		{&l.PerNetwork, perNetwork},
		{&l.Rate, rate},
		{&l.Unknown, unknown},
		{&l.Errors, errors},
		{&l.Commands, 100},
		{&l.Recipients, 1000},
		{&l.Mails, -1},
		{&l.Logins, 3},
		{&l.Hops, 50},
		{&l.TextLine, 998},
		{&l.MinRate, 100},
	} {
		if *d.n == 0 {
			*d.n = d.v
		}
	}
	for _, d := range []struct {
		t *time.Duration
		v time.Duration
	}{
		{&l.Command, 5 * time.Minute},
		{&l.Data, 3 * time.Minute},
		{&l.Transaction, 30 * time.Minute},
		{&l.Handshake, 30 * time.Second},
		{&l.LoginDelay, time.Second},
	} {
		if *d.t == 0 {
			*d.t = d.v
		}
	}
	if l.Message.Size == 0 {
		l.Message.Size = 50 << 20 // as mail.Limits has it; SIZE announces it
	}
	return l
}

// over reports whether n is above a limit, where a negative limit is none.
func over(n, limit int) bool { return limit >= 0 && n > limit }
