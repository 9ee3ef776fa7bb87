package smtp

import (
	"errors"
	"strings"

	"stagecoach/mail"
)

// What commands out of place are told.
var (
	errSequence  = mail.Reject(503, "5.5.1", "bad sequence of commands")
	errHello     = mail.Reject(503, "5.5.1", "EHLO first")
	errUnknown   = mail.Reject(500, "5.5.1", "command not recognised")
	errNoCommand = mail.Reject(502, "5.5.1", "command not implemented")
	errArgs      = mail.Reject(501, "5.5.4", "syntax error in parameters or arguments")

	errTooManyUnknown = mail.Defer(421, "4.7.0", "too many unknown recipients")
)

// foreign are the first words of other protocols, whose clients were led here to make them
// and us misunderstand each other (ALPACA). They hear nothing after the first line.
const foreign = " GET POST HEAD PUT DELETE CONNECT OPTIONS TRACE PATCH PRI USER PASS LIST RETR SITE PORT PASV SSH RTSP INVITE "

// command does one command. A *mail.Refusal as error is the reply, after which the session goes
// on; any other error ends it.
func (s *session) command(line string) error {
	word, args, _ := strings.Cut(strings.TrimRight(line, " \t"), " ")
	verb := strings.ToUpper(word)
	if !isVerb(verb) || strings.Contains(foreign, " "+verb+" ") {
		return badTalk(500, "5.5.2", "this is SMTP")
	}
	if s.in.buffered() > 0 && !s.mayPipeline(verb) {
		return s.outOfTurn(verb)
	}
	switch verb {
	case "MAIL":
		return s.mailFrom(args)
	case "RCPT":
		return s.rcptTo(args)
	case "DATA":
		return s.data(args)
	case "BDAT":
		return s.bdat(args)
	case "HELO", "EHLO":
		return s.hello(args, verb == "EHLO")
	case "STARTTLS":
		return s.startTLS(args)
	case "AUTH":
		return s.auth(args)
	case "QUIT":
		return s.quit(args)
	}
	if err := s.idles(); err != nil {
		return err
	}
	return s.minor(verb, args)
}

// idles counts a command that leads nowhere, and ends the session after too many.
func (s *session) idles() error {
	if s.idle++; over(s.idle, s.limits.Commands) {
		return hangUp(421, "4.7.0", "too many commands without a mail")
	}
	return nil
}

// minor does the commands that lead nowhere.
func (s *session) minor(verb, args string) error {
	switch verb {
	case "RSET":
		if args != "" {
			return errArgs
		}
		s.reset()
		s.reply(250, "2.0.0", "reset")
	case "NOOP":
		s.reply(250, "2.0.0", "ok")
	case "VRFY": // the same for whoever lives here and who does not (RFC 5321 section 7.3)
		if args == "" {
			return errArgs
		}
		s.reply(252, "2.0.0", "cannot verify users, but will take mail and try to deliver it")
	case "HELP":
		s.reply(214, "2.0.0", "see RFC 5321")
	case "EXPN", "TURN", "SEND", "SOML", "SAML", "ETRN":
		return errNoCommand
	default:
		return errUnknown
	}
	return nil
}

// mayPipeline reports whether a command may be followed by more octets before its reply:
// those that RFC 2920 section 3.1 lets stand in the midst of a group, and NOOP and VRFY,
// whose replies decide nothing. Before EHLO was answered there is no pipelining.
func (s *session) mayPipeline(verb string) bool {
	switch verb {
	case "EHLO", "HELO", "DATA", "STARTTLS", "AUTH":
		return false
	}
	return s.peer.ESMTP || verb == "QUIT"
}

// outOfTurn ends the connection of a client that did not wait for a reply. Whoever talks
// behind STARTTLS gets no word, lest it be taken for one from inside of TLS (RFC 3207
// section 4.2).
func (s *session) outOfTurn(verb string) error {
	if verb == "STARTTLS" {
		s.count(BadTalk, 0)
		s.log().Info("bad talk", "client", s.peer.Addr, "text", "octets behind STARTTLS")
		return errClose
	}
	return badTalk(554, "5.5.1", "you did not wait for a reply")
}

func (s *session) quit(args string) error {
	if args != "" {
		return errArgs
	}
	s.reply(221, "2.0.0", s.Name+" goodbye")
	return errQuit
}

// errQuit ends the session in peace.
var errQuit = errors.New("smtp: QUIT")

// isVerb reports whether s may be the name of a command (RFC 5321 section 4.1.1).
func isVerb(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < 'A' || s[i] > 'Z' {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= 12
}
