package smtp

import (
	"crypto/tls"
	"fmt"
	"strings"

	"stagecoach/mail"
)

// hello does EHLO and HELO (RFC 5321 section 4.1.1.1), which also reset.
func (s *session) hello(args string, extended bool) error {
	if !isHello(args) {
		return errArgs
	}
	if err := s.idles(); err != nil {
		return err
	}
	s.reset()
	s.peer.Hello, s.peer.ESMTP = args, extended
	if !extended {
		s.reply(250, "", s.Name)
		return nil
	}
	lines := s.extensions()
	s.out = fmt.Appendf(s.out, "250-%s\r\n", printable(s.Name, mail.MaxDomain))
	for i, line := range lines {
		sep := '-'
		if i == len(lines)-1 {
			sep = ' '
		}
		s.out = fmt.Appendf(s.out, "250%c%s\r\n", sep, line)
	}
	return nil
}

// isHello reports whether a word is fit for the argument of EHLO. Whether it is a domain is
// not asked: RFC 5321 section 4.1.4 forbids to refuse mail for that.
func isHello(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return s != "" && len(s) <= mail.MaxDomain
}

// extensions returns the lines of the reply to EHLO.
func (s *session) extensions() []string {
	lines := []string{
		"PIPELINING",
		fmt.Sprintf("SIZE %d", s.limits.Message.Size),
		"8BITMIME",
		"SMTPUTF8",
		"ENHANCEDSTATUSCODES",
		"DSN",
		"CHUNKING",
		"BINARYMIME",
	}
	if s.tls != nil && s.peer.TLS == nil {
		lines = append(lines, "STARTTLS")
	}
	if s.mayRequireTLS() {
		lines = append(lines, "REQUIRETLS")
	}
	if names := s.mechanisms(); len(names) > 0 {
		lines = append(lines, "AUTH "+strings.Join(names, " "))
	} else if s.Gate == nil && s.Auth == nil {
		lines = append(lines, "AUTH") // nobody can log in, but AUTH= of MAIL is believed
	}
	if limits := s.limitsLine(); limits != "" {
		lines = append(lines, "LIMITS"+limits)
	}
	return lines
}

// limitsLine returns the limits to announce by RFC 9422.
func (s *session) limitsLine() (line string) {
	if s.limits.Mails > 0 {
		line += fmt.Sprintf(" MAILMAX=%d", s.limits.Mails)
	}
	if s.limits.Recipients > 0 {
		line += fmt.Sprintf(" RCPTMAX=%d", s.limits.Recipients)
	}
	return line
}

// mayRequireTLS reports whether REQUIRETLS is offered: in TLS only (RFC 8689 section 2), or
// between our own stages on one machine, where no network sees the mail.
func (s *session) mayRequireTLS() bool { return s.peer.TLS != nil || s.Inner && s.local }

// startTLS does STARTTLS (RFC 3207), after which nothing is left of what was said before.
func (s *session) startTLS(args string) error {
	switch {
	case args != "":
		return errArgs
	case s.tls == nil:
		return errNoCommand
	case s.peer.TLS != nil:
		return errSequence
	}
	s.reply(220, "2.0.0", "go ahead")
	if err := s.flush(); err != nil {
		return err
	}
	s.reset()
	s.peer.Hello, s.peer.ESMTP = "", false
	return s.handshake(tls.Server(s.raw, s.tls))
}
