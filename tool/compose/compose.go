// Package compose makes mails of their pieces, and adds to mails that exist: fields,
// a multipart round the body, attachments. What it is not told to change it leaves alone,
// byte for byte.
//
// It implements the message format of RFC 5322 and MIME (RFC 2045, RFC 2046, RFC 2183).
// Mails have CRLF line ends.
package compose

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"stagecoach/mail"
	"stagecoach/tool/mime"
)

// A Letter is what Make is told. Zero values leave fields out.
type Letter struct {
	Date       time.Time
	To, Cc     []string // mailboxes, or lists of them, as people write them
	Bcc        []string
	Sender     string
	From       []string
	MessageID  string   // without angle brackets
	Fields     []string // more fields, each "Name: body"
	Encoding   string   // of the transfer; "" chooses
	Type       string   // "" is text/plain
	Params     mime.Params
	NoCanonise bool // take the body as it is; else line ends of text become CRLF
}

// Make writes a mail: Date, To, Cc, Bcc, Sender, From, Message-ID, MIME-Version,
// Content-Transfer-Encoding, Content-Type, the further fields, and the body.
func Make(l Letter, body []byte) ([]byte, error) {
	fields, err := l.fields()
	if err != nil {
		return nil, err
	}
	content, err := newContent(l.Type, l.Params, l.Encoding, body, !l.NoCanonise)
	if err != nil {
		return nil, err
	}
	fields = append(fields, mail.NewField("MIME-Version", "1.0"))
	fields = append(fields, content.fields()...)
	for _, text := range l.Fields {
		f, err := ParseField(text)
		if err != nil {
			return nil, err
		}
		fields = append(fields, f)
	}
	if err := checkOnce(fields); err != nil {
		return nil, err
	}
	return join(fields, content.body), nil
}

func (l Letter) fields() ([]mail.Field, error) {
	var out []mail.Field
	if !l.Date.IsZero() {
		out = append(out, mail.NewField("Date", l.Date.Format("Mon, 02 Jan 2006 15:04:05 -0700")))
	}
	var sender []string
	if l.Sender != "" {
		sender = []string{l.Sender}
	}
	for _, x := range []struct {
		name string
		list []string
	}{{"To", l.To}, {"Cc", l.Cc}, {"Bcc", l.Bcc}, {"Sender", sender}, {"From", l.From}} {
		f, n, err := addressField(x.name, x.list)
		if err != nil {
			return nil, err
		}
		if n > 1 && x.name == "Sender" {
			return nil, errors.New("there is one Sender (RFC 5322 section 3.6.2)")
		}
		if n > 1 && x.name == "From" && l.Sender == "" {
			return nil, errors.New("a mail of several authors needs a Sender (RFC 5322 section 3.6.2)")
		}
		if n > 0 {
			out = append(out, f)
		}
	}
	if l.MessageID != "" {
		out = append(out, mail.NewField("Message-ID", "<"+l.MessageID+">"))
	}
	return out, nil
}

// addressField writes mailboxes as people type them in the form of the standard, and says
// how many there are.
func addressField(name string, lists []string) (mail.Field, int, error) {
	var out []string
	for _, text := range lists {
		boxes, wrong := mime.ParseMailboxes(text)
		if wrong > 0 || len(boxes) == 0 {
			return mail.Field{}, 0, fmt.Errorf("%s: %q is no mailbox: write a@b.org, or Name <a@b.org>", name, text)
		}
		for _, b := range boxes {
			a, err := mail.ParseAddress(b.Addr)
			if err != nil {
				return mail.Field{}, 0, fmt.Errorf("%s: %w", name, err)
			}
			box := mime.Mailbox{Addr: a.String()}
			if b.Name != "" {
				box.Name = mime.EncodePhrase(mime.DecodeWords(b.Name))
			}
			out = append(out, box.String())
		}
	}
	return mime.NewField(name, strings.Join(out, ", ")), len(out), nil
}

// AddField puts a field on top of a mail.
func AddField(raw []byte, text string) ([]byte, error) {
	f, err := ParseField(text)
	if err != nil {
		return nil, err
	}
	m := mail.NewMessage(raw)
	if m.Header.Len() == 0 && !bytes.HasPrefix(raw, []byte("\r\n")) {
		return nil, errors.New("the mail is empty")
	}
	return append([]byte(f.Raw()), raw...), nil
}

// ParseField reads "Name: body", unfolded. A body that is not ASCII becomes encoded words,
// where the field is one of free text; it is folded.
func ParseField(text string) (mail.Field, error) {
	name, body, ok := strings.Cut(text, ":")
	if !ok || !isName(name) {
		return mail.Field{}, fmt.Errorf("field %q: write \"Name: text\"", text)
	}
	if strings.ContainsAny(body, "\r\n\x00") {
		return mail.Field{}, fmt.Errorf("field %s: a line end or NUL in its body", name)
	}
	body = strings.TrimSpace(body)
	if addressFields[strings.ToLower(name)] {
		f, _, err := addressField(name, []string{body})
		return f, err
	}
	if !structured[strings.ToLower(name)] {
		body = mime.EncodeText(body)
	}
	return mime.NewField(name, body), nil
}

// Fields that hold mailboxes, and others where encoded words have no place.
var (
	addressFields = map[string]bool{"from": true, "to": true, "cc": true, "bcc": true, "sender": true, "reply-to": true}
	structured    = map[string]bool{
		"date": true, "message-id": true, "in-reply-to": true, "references": true, "return-path": true, "received": true,
		"mime-version": true, "content-type": true, "content-transfer-encoding": true, "content-disposition": true, "content-id": true,
		"dkim-signature": true, "authentication-results": true, "received-spf": true,
	}
)

// isName reports whether s is a field name (RFC 5322 section 2.2).
func isName(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return s != ""
}

// checkOnce refuses a second field of those that stand once (RFC 5322 section 3.6).
func checkOnce(fields []mail.Field) error {
	seen := map[string]bool{}
	for _, f := range fields {
		name := strings.ToLower(f.Name())
		once := addressFields[name] || name == "subject" || structured[name] && name != "received"
		if once && seen[name] {
			return fmt.Errorf("there are two %s fields", f.Name())
		}
		seen[name] = true
	}
	return nil
}

func join(fields []mail.Field, body []byte) []byte {
	var b bytes.Buffer
	for _, f := range fields {
		b.WriteString(f.Raw())
	}
	b.WriteString("\r\n")
	b.Write(body)
	return b.Bytes()
}
