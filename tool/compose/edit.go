package compose

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"stagecoach/mail"
	"stagecoach/tool/mime"
)

// A Wrapping says into what a body is put.
type Wrapping struct {
	Subtype  string // of multipart; "" is "mixed"
	Boundary string // "" makes one that does not occur
	Params   mime.Params
	Fields   []string // more fields for the top, each "Name: body"
}

// Wrap puts the body of a mail, with the fields that describe it, into a multipart of which
// it is the only part. The other fields stay as they are.
func Wrap(raw []byte, w Wrapping) ([]byte, error) {
	m := mail.NewMessage(raw)
	body := raw[m.Header.Size():]
	if w.Subtype == "" {
		w.Subtype = "mixed"
	}
	if w.Boundary == "" {
		w.Boundary = newBoundary(raw)
	}
	if err := checkBoundary(w.Boundary, raw); err != nil {
		return nil, err
	}
	var top, inner []mail.Field
	version := false
	for f := range m.Header.All() {
		version = version || f.Is("MIME-Version")
		if len(f.Name()) > 8 && strings.EqualFold(f.Name()[:8], "Content-") {
			inner = append(inner, f)
		} else {
			top = append(top, f)
		}
	}
	if !version {
		top = append(top, mail.NewField("MIME-Version", "1.0"))
	}
	params := append(mime.Params{{Name: "boundary", Value: w.Boundary}}, w.Params...)
	top = append(top, mail.NewField("Content-Type", mime.FormatParams(14, "multipart/"+w.Subtype, params)))
	for _, text := range w.Fields {
		f, err := ParseField(text)
		if err != nil {
			return nil, err
		}
		top = append(top, f)
	}
	if eightBit(inner) { // the multipart says so too (RFC 2045 section 6.4)
		top = append(top, mail.NewField("Content-Transfer-Encoding", "8bit"))
	}
	return join(top, multipart(w.Boundary, join(inner, body))), nil
}

func eightBit(fields []mail.Field) bool {
	return slices.ContainsFunc(fields, func(f mail.Field) bool {
		return f.Is("Content-Transfer-Encoding") && strings.EqualFold(f.Value(), "8bit")
	})
}

// multipart writes parts between their delimiters (RFC 2046 section 5.1.1).
func multipart(boundary string, parts ...[]byte) []byte {
	var b bytes.Buffer
	for _, p := range parts {
		b.WriteString("--" + boundary + "\r\n")
		b.Write(p)
		b.WriteString("\r\n")
	}
	b.WriteString("--" + boundary + "--\r\n")
	return b.Bytes()
}

// newBoundary makes a boundary of the text itself, so that the same text gives the same one.
func newBoundary(raw []byte) string {
	for salt := byte(0); ; salt++ {
		sum := sha256.Sum256(append([]byte{salt}, raw...))
		b := "=_" + hex.EncodeToString(sum[:12]) // "=_" occurs in no encoded text (RFC 2045 section 6.7)
		if !bytes.Contains(raw, []byte(b)) {
			return b
		}
	}
}

func checkBoundary(b string, raw []byte) error {
	const allowed = "'()+_,-./:=? "
	for i := 0; i < len(b); i++ {
		c := b[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && strings.IndexByte(allowed, c) < 0 {
			return fmt.Errorf("boundary %q: %q may not stand in one (RFC 2046 section 5.1.1)", b, c)
		}
	}
	if b == "" || len(b) > 70 || strings.HasSuffix(b, " ") {
		return fmt.Errorf("boundary %q: it has 1 to 70 characters, the last one no blank (RFC 2046 section 5.1.1)", b)
	}
	if bytes.Contains(raw, []byte("--"+b)) {
		return fmt.Errorf("boundary %q: it occurs in the mail", b)
	}
	return nil
}

// An Attachment is what Put adds.
type Attachment struct {
	Name     string // of the file, "" for none
	Inline   bool
	Type     string // "" is application/octet-stream
	Params   mime.Params
	Encoding string   // "" chooses
	Fields   []string // more fields, each "Name: body"
	Content  []byte
}

// Put adds a part to the end of a mail's multipart. A mail that is none is wrapped into
// multipart/mixed before.
func Put(raw []byte, a Attachment) ([]byte, error) {
	part, err := a.part()
	if err != nil {
		return nil, err
	}
	top := mime.Parse(raw)
	if !strings.HasPrefix(top.Type, "multipart/") {
		if raw, err = Wrap(raw, Wrapping{}); err != nil {
			return nil, err
		}
		top = mime.Parse(raw)
	}
	if top.Type == "multipart/signed" || top.Type == "multipart/encrypted" {
		return nil, fmt.Errorf("the mail is %s: what is added would break it; wrap it first", top.Type)
	}
	boundary := top.Params.Get("boundary")
	if bytes.Contains(part, []byte("--"+boundary)) {
		return nil, errors.New("the boundary of the mail occurs in the attachment; choose base64, or another boundary")
	}
	body := top.Raw()
	at, ok := top.Closing()
	if !ok {
		return nil, errors.New("the multipart of the mail has no end, or is broken")
	}
	var b bytes.Buffer
	b.Write(raw[:len(raw)-len(body)])
	b.Write(body[:at])
	b.WriteString("\r\n--" + boundary + "\r\n")
	b.Write(part)
	if body[at] == '-' {
		b.WriteString("\r\n")
	}
	b.Write(body[at:])
	return b.Bytes(), nil
}

func (a Attachment) part() ([]byte, error) {
	typ := a.Type
	if typ == "" {
		typ = "application/octet-stream"
	}
	c, err := newContent(typ, a.Params, a.Encoding, a.Content, true)
	if err != nil {
		return nil, err
	}
	fields := c.fields()
	disposition, params := "attachment", mime.Params(nil)
	if a.Inline {
		disposition = "inline"
	}
	if a.Name != "" {
		params = mime.Params{{Name: "filename", Value: a.Name}}
	}
	fields = append(fields, mail.NewField("Content-Disposition", mime.FormatParams(21, disposition, params)))
	for _, text := range a.Fields {
		f, err := ParseField(text)
		if err != nil {
			return nil, err
		}
		fields = append(fields, f)
	}
	if err := checkOnce(fields); err != nil {
		return nil, err
	}
	return join(fields, c.body), nil
}
