package smtp

import (
	"crypto/tls"
	"net/netip"
	"strings"
	"time"

	"stagecoach/mail"
)

// received makes our trace field (RFC 5321 section 4.4).
func (s *session) received() mail.Field {
	t := &s.now
	now := time.Now
	if s.Now != nil {
		now = s.Now
	}
	b := make([]byte, 0, 256)
	b = append(b, "from "...)
	b = s.appendClient(b)
	b = append(b, "\r\n\tby "...)
	b = append(b, s.Name...)
	b = append(b, " with "...)
	b = append(b, s.peer.Protocol(t.mail.Envelope.UTF8)...)
	if c := s.peer.TLS; c != nil {
		b = append(b, " ("...)
		b = append(b, strings.ReplaceAll(tls.VersionName(c.Version), " ", "")...)
		b = append(b, ' ')
		b = append(b, tls.CipherSuiteName(c.CipherSuite)...)
		b = append(b, ')')
	}
	b = append(b, "\r\n\tid "...)
	b = append(b, t.id...)
	if to := t.mail.Envelope.To; len(to) == 1 && !s.Inner {
		b = append(b, " for <"...)
		b = append(b, to[0].String()...)
		b = append(b, '>')
	}
	b = append(b, ";\r\n\t"...)
	b = now().UTC().AppendFormat(b, time.RFC1123Z)
	return mail.NewField("Received", string(b))
}

// appendClient appends who the client says it is, and where it is. A name that is none
// stands in a comment, with whatever could end a comment taken out.
func (s *session) appendClient(b []byte) []byte {
	if s.HideClient {
		return append(b, "unknown"...)
	}
	name, err := mail.CanonicalDomain(s.peer.Hello)
	if err != nil {
		name = "unknown"
	}
	b = append(b, name...)
	literal := addressLiteral(s.peer.Addr)
	if err == nil && literal == "" {
		return b
	}
	b = append(b, " ("...)
	if err != nil {
		b = append(b, "HELO "...)
		b = appendPlain(b, s.peer.Hello)
		if literal != "" {
			b = append(b, ' ')
		}
	}
	b = append(b, literal...)
	return append(b, ')')
}

func addressLiteral(a netip.Addr) string {
	switch {
	case !a.IsValid():
		return ""
	case a.Is4():
		return "[" + a.String() + "]"
	}
	return "[IPv6:" + a.String() + "]"
}

// appendPlain appends letters, digits and what is harmless in a comment; "?" for all else.
func appendPlain(b []byte, s string) []byte {
	for i := 0; i < len(s) && i < 64; i++ {
		c := s[i]
		if !isLetterDigit(c) && strings.IndexByte(".-_:[]", c) < 0 {
			c = '?'
		}
		b = append(b, c)
	}
	return b
}
