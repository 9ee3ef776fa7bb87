package mime

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"mime/quotedprintable"
)

// EncodeBase64 writes lines of 76 octets that end in CRLF (RFC 2045 section 6.8).
func EncodeBase64(content []byte) []byte {
	const take = 57 // octets of a line
	var b bytes.Buffer
	b.Grow(len(content)*4/3 + len(content)/take*2 + 8)
	for len(content) > 0 {
		n := min(take, len(content))
		b.WriteString(base64.StdEncoding.EncodeToString(content[:n]))
		b.WriteString("\r\n")
		content = content[n:]
	}
	return b.Bytes()
}

// DecodeBase64 skips what is not of the alphabet (RFC 2045 section 6.8) and takes padding
// that is missing as there. An error says what was wrong, the content is what could be read.
func DecodeBase64(text []byte) ([]byte, error) {
	clean := make([]byte, 0, len(text))
	strange, padding := 0, 0
	for _, c := range text {
		switch {
		case c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '+' || c == '/':
			if padding > 0 { // more behind the end: RFC 2045 does not say; nobody should read it
				return decodeClean(clean, errors.New("base64: something follows the padding"))
			}
			clean = append(clean, c)
		case c == '=':
			padding++
		case c != '\r' && c != '\n' && c != ' ' && c != '\t':
			strange++
		}
	}
	var err error
	switch {
	case strange > 0:
		err = fmt.Errorf("base64: %d octets are not of its alphabet", strange)
	case (len(clean)+padding)%4 != 0:
		err = errors.New("base64: it breaks off")
	}
	return decodeClean(clean, err)
}

func decodeClean(clean []byte, err error) ([]byte, error) {
	if len(clean)%4 == 1 {
		clean = clean[:len(clean)-1]
		err = errors.Join(err, errors.New("base64: one letter too many"))
	}
	out := make([]byte, base64.RawStdEncoding.DecodedLen(len(clean)))
	n, decodeErr := base64.RawStdEncoding.Decode(out, clean)
	return out[:n], errors.Join(err, decodeErr)
}

// EncodeQuotedPrintable writes lines of at most 76 octets (RFC 2045 section 6.7). CRLF in
// the content is a line end where text is set, else two octets.
func EncodeQuotedPrintable(content []byte, text bool) []byte {
	var b bytes.Buffer
	w := quotedprintable.NewWriter(&b)
	w.Binary = !text || loneLineEnds(content)
	w.Write(content) //nolint:errcheck // a Buffer does not fail
	w.Close()        //nolint:errcheck
	return b.Bytes()
}

// loneLineEnds reports whether there is a CR or LF that is not of a CRLF.
func loneLineEnds(b []byte) bool {
	crlf := bytes.Count(b, []byte("\r\n"))
	return bytes.Count(b, []byte("\n")) != crlf || bytes.Count(b, []byte("\r")) != crlf
}

// DecodeQuotedPrintable reads RFC 2045 section 6.7, and what is not of it as it stands. An
// error says what was wrong, the content is what could be read.
func DecodeQuotedPrintable(text []byte) ([]byte, error) {
	out := make([]byte, 0, len(text))
	wrong := 0
	for len(text) > 0 {
		line := text
		end := ""
		if i := bytes.IndexByte(text, '\n'); i >= 0 {
			line, end = text[:i], "\n"
			if i > 0 && text[i-1] == '\r' {
				line, end = text[:i-1], "\r\n"
			}
		}
		text = text[len(line)+len(end):]
		line = bytes.TrimRight(line, " \t") // added on the way (rule 3)
		if n := len(line); n > 0 && line[n-1] == '=' {
			line, end = line[:n-1], ""
		}
		var bad int
		out, bad = appendQuoted(out, line)
		wrong += bad
		out = append(out, end...)
	}
	if wrong > 0 {
		return out, fmt.Errorf("quoted-printable: %d octets are not as they should be", wrong)
	}
	return out, nil
}

func appendQuoted(out, line []byte) (_ []byte, wrong int) {
	for i := 0; i < len(line); i++ {
		c := line[i]
		if c == '=' {
			if i+2 < len(line) && isHex(line[i+1]) && isHex(line[i+2]) {
				out = append(out, unhex(line[i+1])<<4|unhex(line[i+2]))
				i += 2
				continue
			}
			wrong++
		} else if c >= 0x7f || c < ' ' && c != '\t' {
			wrong++
		}
		out = append(out, c)
	}
	return out, wrong
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'F' || c >= 'a' && c <= 'f'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}
