package mail

import (
	"crypto/tls"
	"net/netip"
)

// A Peer is the client that handed a mail to the edge of our house. Inner stages see a
// zero Peer: what they must know stands in the mail itself.
type Peer struct {
	Addr  netip.Addr           // zero for a unix socket or when unknown; never 4-in-6
	Port  uint16               // the client's port
	Local netip.AddrPort       // our end of the connection
	Hello string               // argument of HELO or EHLO, as sent
	ESMTP bool                 // EHLO, not HELO
	TLS   *tls.ConnectionState // nil in clear
	User  string               // who is logged in, "" for nobody (RFC 4954)
}

// Protocol returns the keyword for the "with" clause of a Received field (RFC 3848, and
// RFC 6531 section 4.3 when utf8 is set).
func (p Peer) Protocol(utf8 bool) string {
	s := "SMTP"
	if p.ESMTP || utf8 {
		s = "ESMTP"
	}
	if utf8 {
		s = "UTF8SMTP"
	}
	if s == "SMTP" {
		return s
	}
	if p.TLS != nil {
		s += "S"
	}
	if p.User != "" {
		s += "A"
	}
	return s
}
