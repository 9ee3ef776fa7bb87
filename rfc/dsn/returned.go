package dsn

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	"mime/multipart"
	"strings"

	"stagecoach/mail"
)

// maxReturned is how much of a returned message is read.
const maxReturned = 2 * MaxHeader

// Returned reads the header of the message that a report is about from the part that returns
// it or all of the message (RFC 3464 section 2, RFC 6533 section 5): whole fields of its first
// 64 KiB. It returns false for a report without one. What it says is the reporter's word.
func Returned(m *mail.Message) (mail.Header, bool) {
	boundary, ok := reportBoundary(&m.Header)
	if !ok || boundary == "" {
		return mail.Header{}, false
	}
	parts := multipart.NewReader(m.NewReader(), boundary)
	for range maxParts {
		p, err := parts.NextPart()
		if err != nil {
			return mail.Header{}, false
		}
		kind, _, err := mime.ParseMediaType(p.Header.Get("Content-Type"))
		if err != nil {
			continue
		}
		switch kind {
		case "message/rfc822", "message/global", "text/rfc822-headers", "message/global-headers":
			return headerOf(content(p))
		}
	}
	return mail.Header{}, false
}

// content decodes base64; quoted-printable the multipart.Reader decodes itself.
func content(p *multipart.Part) io.Reader {
	if strings.EqualFold(strings.TrimSpace(p.Header.Get("Content-Transfer-Encoding")), "base64") {
		return base64.NewDecoder(base64.StdEncoding, p)
	}
	return p
}

// headerOf reads a header that ends at the first empty line, or in the middle of it all.
func headerOf(r io.Reader) (mail.Header, bool) {
	// What comes after an error is of no use, what came before it is.
	raw, _ := io.ReadAll(io.LimitReader(r, maxReturned))
	raw = bytes.ReplaceAll(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
	if i := bytes.Index(raw, []byte("\r\n\r\n")); i >= 0 {
		raw = raw[:i+2]
	} else if len(raw) >= maxReturned {
		raw = raw[:bytes.LastIndexByte(raw, '\n')+1]
	}
	if bytes.HasPrefix(raw, []byte("\r\n")) {
		return mail.Header{}, false
	}
	h := mail.ParseHeader(string(raw))
	return h, h.Len() > 0
}
