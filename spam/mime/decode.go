package mime

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/net/html/charset"
)

// Decode appends the decoded octets of a part to dst, at most limit of them, and returns what
// was odd. Rubbish inside base64 is skipped, a broken quoted-printable escape stands for
// itself.
func (p *Part) Decode(dst []byte, limit int) ([]byte, Trouble) {
	limit = min(limit, MaxDecoded)
	switch p.Encoding {
	case "base64":
		return decodeBase64(dst, p.Raw, limit)
	case "quoted-printable":
		return decodeQuoted(dst, p.Raw, limit, false)
	case "", "7bit", "8bit", "binary":
		return append(dst, p.Raw[:min(len(p.Raw), limit)]...), 0
	}
	return append(dst, p.Raw[:min(len(p.Raw), limit)]...), BadEncoding
}

const (
	b64Skip = 64 + iota
	b64Bad
	b64End
)

var base64Table = makeBase64()

func makeBase64() (t [256]byte) {
	for i := range t {
		t[i] = b64Bad
	}
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		t[c] = byte(i)
	}
	for _, c := range []byte("\r\n \t") {
		t[c] = b64Skip
	}
	t['='] = b64End
	return t
}

func decodeBase64(dst, src []byte, limit int) ([]byte, Trouble) {
	var trouble Trouble
	var bits uint32
	n, end := 0, len(dst)+limit
	for _, c := range src {
		v := base64Table[c]
		switch {
		case v < 64:
			bits = bits<<6 | uint32(v)
			if n++; n == 4 {
				dst = append(dst, byte(bits>>16), byte(bits>>8), byte(bits))
				bits, n = 0, 0
				if len(dst) >= end {
					return dst[:end], trouble
				}
			}
		case v == b64Bad:
			trouble = BadEncoding
		case v == b64End && n > 1: // some senders go on after it
			dst = append(dst, byte(bits>>(6*uint(n)-8)))
			if n == 3 {
				dst = append(dst, byte(bits>>2))
			}
			bits, n = 0, 0
		}
	}
	if n > 1 {
		dst = append(dst, byte(bits>>(6*uint(n)-8)))
		if n == 3 {
			dst = append(dst, byte(bits>>2))
		}
	}
	return dst[:min(len(dst), end)], trouble
}

// decodeQuoted decodes quoted-printable, or with word the Q encoding of RFC 2047 section 4.2.
func decodeQuoted(dst, src []byte, limit int, word bool) ([]byte, Trouble) {
	var trouble Trouble
	end := len(dst) + limit
	for i := 0; i < len(src) && len(dst) < end; i++ {
		c := src[i]
		switch {
		case c == '_' && word:
			dst = append(dst, ' ')
		case c != '=':
			dst = append(dst, c)
		case i+2 < len(src) && unhex(src[i+1]) >= 0 && unhex(src[i+2]) >= 0:
			dst = append(dst, byte(unhex(src[i+1])<<4|unhex(src[i+2])))
			i += 2
		case i+1 < len(src) && src[i+1] == '\n':
			i++
		case i+2 < len(src) && src[i+1] == '\r' && src[i+2] == '\n':
			i += 2
		default:
			dst = append(dst, c)
			trouble = BadEncoding
		}
	}
	return dst, trouble
}

// ToUTF8 converts text in a charset to UTF-8. Octets that make no sense are read as
// Windows-1252, as mail programs do. text is returned itself when nothing is to be done.
func ToUTF8(text []byte, name string) ([]byte, Trouble) {
	if isASCII(text) && !strings.HasPrefix(name, "iso-2022") && !strings.HasPrefix(name, "utf-7") && !strings.HasPrefix(name, "utf-16") && name != "hz-gb-2312" {
		return text, 0
	}
	if utf8.Valid(text) && (name == "" || name == "utf-8" || name == "us-ascii" || name == "utf8") {
		return text, 0
	}
	var trouble Trouble
	switch name {
	case "iso-8859-1", "windows-1252", "latin1", "iso-8859-15":
	case "", "us-ascii", "utf-8", "utf8", "unknown-8bit", "x-unknown":
		trouble = BadCharset
	default:
		e, canonical := charset.Lookup(name)
		if e == nil || canonical == "replacement" {
			trouble = BadCharset
			break
		}
		if out, err := e.NewDecoder().Bytes(text); err == nil {
			return out, 0
		}
		trouble = BadCharset
	}
	out := make([]byte, 0, len(text)+len(text)/4)
	for _, c := range text {
		switch {
		case c < 0x80:
			out = append(out, c)
		case c < 0xa0:
			out = utf8.AppendRune(out, windows1252[c-0x80])
		default:
			out = append(out, 0xc0|c>>6, 0x80|c&0x3f)
		}
	}
	return out, trouble
}

var windows1252 = []rune("€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008dŽ\u008f\u0090‘’“”•–—˜™š›œ\u009džŸ")

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

const maxWord = 4 << 10 // octets of encoded words in one field that are decoded

// DecodeWords replaces the encoded words of RFC 2047, also where the standard does not allow
// them (in quotes, without blanks round them). What does not decode stays as it is.
func DecodeWords(s string) string {
	start := strings.Index(s, "=?")
	if start < 0 {
		return string(utf8Text(s))
	}
	var b strings.Builder
	decoded := 0
	for {
		start = strings.Index(s, "=?")
		if start < 0 || decoded > maxWord {
			b.Write(utf8Text(s))
			return b.String()
		}
		text, n := decodeWord(s[start:])
		if n == 0 {
			b.Write(utf8Text(s[:start+2]))
			s = s[start+2:]
			continue
		}
		if decoded == 0 || strings.Trim(s[:start], " \t\r\n") != "" { // blanks between words go
			b.Write(utf8Text(s[:start]))
		}
		b.Write(text)
		decoded += len(text) + 1
		s = s[start+n:]
	}
}

// decodeWord decodes the encoded word that s begins with, and returns its length, 0 for none.
func decodeWord(s string) ([]byte, int) {
	s = s[:min(len(s), maxWord)]
	q := strings.IndexByte(s[2:], '?') + 2
	if q < 3 || q > 42 || q+3 > len(s) || s[q+2] != '?' {
		return nil, 0
	}
	end := strings.Index(s[q+3:], "?=")
	if end < 0 {
		return nil, 0
	}
	var out []byte
	switch text := []byte(s[q+3 : q+3+end]); s[q+1] {
	case 'B', 'b':
		out, _ = decodeBase64(nil, text, maxWord)
	case 'Q', 'q':
		out, _ = decodeQuoted(nil, text, maxWord, true)
	default:
		return nil, 0
	}
	name, _, _ := strings.Cut(strings.ToLower(s[2:q]), "*") // RFC 2231 section 5: a language
	out, _ = ToUTF8(out, name)
	return out, q + 3 + end + 2
}

// utf8Text makes a raw header value UTF-8.
func utf8Text(s string) []byte {
	if utf8.ValidString(s) {
		return []byte(s)
	}
	out, _ := ToUTF8([]byte(s), "")
	return out
}
