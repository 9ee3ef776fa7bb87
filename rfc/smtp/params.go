package smtp

import (
	"errors"
	"strconv"
	"strings"

	"stagecoach/mail"
)

// What a MAIL or RCPT command that does not parse is told.
var (
	errSyntax      = mail.Reject(501, "5.5.4", "syntax error in parameters or arguments")
	errParam       = mail.Reject(555, "5.5.4", "parameter not recognised or not implemented")
	errParamValue  = mail.Reject(501, "5.5.4", "bad value of a parameter")
	errParamTwice  = mail.Reject(501, "5.5.4", "the same parameter twice")
	errSourceRoute = mail.Reject(550, "5.1.3", "source routes are not accepted")
	errMailbox     = mail.Reject(553, "5.1.3", "this is no mailbox address")
	errSender      = mail.Reject(553, "5.1.7", "this is no mailbox address")
	errNeedUTF8    = mail.Reject(553, "5.6.7", "a non-ASCII address needs SMTPUTF8")
)

// parseMail reads what follows "MAIL " (RFC 5321 section 4.1.1.2). The envelope that it
// returns has no recipient; size is the value of SIZE=, or -1. The error is a *mail.Refusal.
func parseMail(args string) (e mail.Envelope, size int64, err error) {
	path, params, err := cutPath(args, "FROM:")
	if err != nil {
		return e, -1, err
	}
	if path != "" {
		if e.From, err = mail.ParseAddress(path); err != nil {
			return e, -1, errSender.Because(err)
		}
	}
	size = -1
	err = eachParam(params, func(key, value string, has bool) (*mail.Refusal, uint) {
		return mailParam(&e, &size, key, value, has)
	})
	if err == nil && !e.UTF8 && !isASCII(args) {
		err = errNeedUTF8
	}
	return e, size, err
}

// mailParam takes one parameter of MAIL. It returns nil or what is wrong with it, and which
// one it is.
func mailParam(e *mail.Envelope, size *int64, key, value string, has bool) (*mail.Refusal, uint) {
	ok := has
	switch key {
	case "SIZE":
		*size, ok = parseSize(value)
		return valueError(ok), 1
	case "BODY":
		e.Body = mail.BodyType(strings.ToUpper(value))
		ok = e.Body == mail.Body7Bit || e.Body == mail.Body8BitMIME || e.Body == mail.BodyBinary
		return valueError(ok), 2
	case "SMTPUTF8":
		e.UTF8 = true
		return valueError(!has), 4
	case "REQUIRETLS":
		e.RequireTLS = true
		return valueError(!has), 8
	case "RET":
		e.Return = mail.Return(strings.ToUpper(value))
		return valueError(e.Return == mail.ReturnFull || e.Return == mail.ReturnHeaders), 16
	case "ENVID":
		id, err := decodeXtext(value)
		e.ID = id
		return valueError(err == nil && id != "" && len(value) <= 100 && isASCII(id)), 32
	case "AUTH":
		e.Submitter, ok = parseSubmitter(value)
		return valueError(ok), 64
	}
	return errParam, 0
}

// parseSubmitter reads the value of AUTH= (RFC 4954 section 5).
func parseSubmitter(value string) (string, bool) {
	s, err := decodeXtext(value)
	if err != nil || s == "<>" {
		return s, err == nil
	}
	_, err = mail.ParseAddress(s)
	return s, err == nil
}

// parseRcpt reads what follows "RCPT " (RFC 5321 section 4.1.1.3). <Postmaster> without a
// domain is the postmaster of domain. utf8 says that MAIL had SMTPUTF8. The error is a
// *mail.Refusal.
func parseRcpt(args, domain string, utf8 bool) (r mail.Recipient, err error) {
	path, params, err := cutPath(args, "TO:")
	if err != nil {
		return r, err
	}
	if strings.EqualFold(path, "postmaster") {
		path += "@" + domain
	}
	if r.Address, err = mail.ParseAddress(path); err != nil {
		return r, errMailbox.Because(err)
	}
	err = eachParam(params, func(key, value string, _ bool) (*mail.Refusal, uint) {
		var ok bool
		switch key {
		case "NOTIFY":
			r.Notify, ok = parseNotify(value)
			return valueError(ok), 1
		case "ORCPT":
			var err error
			r.Original, err = decodeOriginal(value)
			return valueError(err == nil), 2
		}
		return errParam, 0
	})
	if err == nil && !utf8 && !isASCII(args) {
		err = errNeedUTF8
	}
	return r, err
}

func parseNotify(s string) (n mail.Notify, ok bool) {
	for word := range strings.SplitSeq(strings.ToUpper(s), ",") {
		var bit mail.Notify
		switch word {
		case "NEVER":
			bit = mail.NotifyNever
		case "SUCCESS":
			bit = mail.NotifySuccess
		case "FAILURE":
			bit = mail.NotifyFailure
		case "DELAY":
			bit = mail.NotifyDelay
		default:
			return 0, false
		}
		if n&bit != 0 {
			return 0, false
		}
		n |= bit
	}
	return n, n&mail.NotifyNever == 0 || n == mail.NotifyNever
}

// parseSize reads at most 20 digits (RFC 1870 section 3). What does not fit is the largest
// number there is, which no limit lets pass.
func parseSize(s string) (int64, bool) {
	if s == "" || len(s) > 20 {
		return 0, false
	}
	for i := 0; i < len(s); i++ {
		if !isDigit(s[i]) {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		n = 1<<63 - 1
	}
	return n, true
}

// cutPath splits "FROM:<path> params" behind the path, which it returns without brackets.
// Blanks after the colon, which many clients send, are let pass.
func cutPath(args, prefix string) (path, params string, err error) {
	if len(args) < len(prefix) || !strings.EqualFold(args[:len(prefix)], prefix) {
		return "", "", errSyntax
	}
	s := strings.TrimLeft(args[len(prefix):], " ")
	if !strings.HasPrefix(s, "<") {
		return "", "", errSyntax
	}
	end := pathEnd(s)
	if end < 0 || end+1 < len(s) && s[end+1] != ' ' {
		return "", "", errSyntax
	}
	path, params = s[1:end], s[end+1:]
	if strings.HasPrefix(path, "@") {
		return "", "", errSourceRoute
	}
	return path, params, nil
}

// hasParams reports whether a command that parses has parameters behind its path.
func hasParams(args, prefix string) bool {
	_, params, err := cutPath(args, prefix)
	return err == nil && params != ""
}

// pathEnd returns the index of the ">" that ends the path, which may stand in quotes too.
func pathEnd(s string) int {
	quoted := false
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case c == '>' && !quoted:
			return i
		}
	}
	return -1
}

// eachParam calls take for each esmtp-param (RFC 5321 section 4.1.2). take returns a bit
// that stands for the parameter, so that none comes twice.
func eachParam(s string, take func(key, value string, has bool) (*mail.Refusal, uint)) error {
	var seen uint
	for s != "" {
		var word string
		word, s, _ = strings.Cut(s, " ")
		if word == "" {
			continue
		}
		key, value, has := strings.Cut(word, "=")
		if !isKeyword(key) || has && !isParamValue(value) {
			return errSyntax
		}
		refusal, bit := take(strings.ToUpper(key), value, has)
		if refusal != nil {
			return refusal
		}
		if seen&bit != 0 {
			return errParamTwice
		}
		seen |= bit
	}
	return nil
}

func isKeyword(s string) bool {
	for i := 0; i < len(s); i++ {
		if !isLetterDigit(s[i]) && (s[i] != '-' || i == 0) {
			return false
		}
	}
	return s != ""
}

// isParamValue checks esmtp-value, with the UTF-8 of RFC 6531 section 3.3.
func isParamValue(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] == '=' || s[i] == 0x7f {
			return false
		}
	}
	return s != ""
}

func valueError(ok bool) *mail.Refusal {
	if ok {
		return nil
	}
	return errParamValue
}

// parseChunk reads what follows "BDAT " (RFC 3030 section 2). A size that no int64 holds is
// an error.
func parseChunk(args string) (size int64, last bool, err error) {
	word, rest, more := strings.Cut(args, " ")
	size, ok := parseSize(word)
	if !ok || size == 1<<63-1 {
		return 0, false, errors.New("bad chunk size")
	}
	if more && !strings.EqualFold(rest, "LAST") {
		return 0, false, errors.New("bad chunk")
	}
	return size, more, nil
}
