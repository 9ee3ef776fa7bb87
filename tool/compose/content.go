package compose

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"stagecoach/mail"
	"stagecoach/tool/mime"
)

// maxLine is the longest line that a mail may have, without its CRLF (RFC 5322 section 2.1.1).
const maxLine = 998

// A content is a body as it goes into the mail, and what its header says of it.
type content struct {
	typ      string
	params   mime.Params
	encoding string
	body     []byte
}

func newContent(typ string, params mime.Params, encoding string, body []byte, canonise bool) (*content, error) {
	c := &content{typ: strings.ToLower(typ), params: params, encoding: strings.ToLower(encoding), body: body}
	if c.typ == "" {
		c.typ = "text/plain"
	}
	main, sub, ok := strings.Cut(c.typ, "/")
	if !ok || !isName(main) || !isName(sub) || strings.ContainsAny(c.typ, ";\"(),") {
		return nil, fmt.Errorf("%q is no type: write text/plain or the like", typ)
	}
	if main == "multipart" {
		return nil, fmt.Errorf("%s is made by wrapping a mail", c.typ)
	}
	text := main == "text" || main == "message"
	if text && canonise {
		c.body = CRLF(body)
	}
	if main == "text" && params.Get("charset") == "" && (utf8.Valid(body) || sub == "plain") {
		c.params = append(mime.Params{{Name: "charset", Value: "utf-8"}}, params...)
	}
	if c.encoding == "" {
		c.encoding = chooseEncoding(main, c.body)
	}
	return c, c.encode(text)
}

// chooseEncoding takes the one that changes least.
func chooseEncoding(main string, body []byte) string {
	plain, eight := lines(body)
	switch {
	case main == "message" && plain && !eight:
		return "7bit"
	case main == "message": // RFC 2046 section 5.2.1 allows no other
		return "8bit"
	case main != "text" || bytes.IndexByte(body, 0) >= 0:
		return "base64"
	case plain && !eight:
		return "7bit"
	}
	if n := 3 * countEight(body); n > len(body) {
		return "base64"
	}
	return "quoted-printable"
}

func countEight(body []byte) int {
	n := 0
	for _, c := range body {
		if c >= 0x80 {
			n++
		}
	}
	return n
}

// lines reports whether body is made of lines that a mail may have (RFC 2045 sections 2.7
// and 2.8), and whether it has octets above 127.
func lines(body []byte) (ok, eight bool) {
	eight = countEight(body) > 0
	for len(body) > 0 {
		line, rest, found := bytes.Cut(body, []byte("\r\n"))
		if len(line) > maxLine || bytes.ContainsAny(line, "\r\n\x00") {
			return false, eight
		}
		if !found {
			break
		}
		body = rest
	}
	return true, eight
}

func (c *content) encode(text bool) error {
	switch ok, eight := lines(c.body); c.encoding {
	case "7bit", "8bit":
		if !ok || eight && c.encoding == "7bit" {
			return fmt.Errorf("the body cannot be sent as %s: it has long lines, lone line ends, NUL or 8-bit octets; choose quoted-printable or base64", c.encoding)
		}
	case "quoted-printable":
		c.body = mime.EncodeQuotedPrintable(c.body, text)
	case "base64":
		c.body = mime.EncodeBase64(c.body)
	default:
		return fmt.Errorf("unknown encoding %q: write 7bit, 8bit, quoted-printable or base64", c.encoding)
	}
	if strings.HasPrefix(c.typ, "message/") && c.encoding != "7bit" && c.encoding != "8bit" && c.typ != "message/global" {
		return errors.New("a message cannot be encoded (RFC 2046 section 5.2.1)")
	}
	return nil
}

func (c *content) fields() []mail.Field {
	const name = "Content-Type"
	return []mail.Field{
		mail.NewField("Content-Transfer-Encoding", c.encoding),
		mail.NewField(name, mime.FormatParams(len(name)+2, c.typ, c.params)),
	}
}

// CRLF turns text whose lines end in LF into one whose lines end in CRLF, and leaves text
// that has a CRLF as it is.
func CRLF(text []byte) []byte {
	if bytes.Contains(text, []byte("\r\n")) {
		return text
	}
	return bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n"))
}
