package smtp

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

var errXtext = errors.New("bad xtext")

// encodeXtext writes s as xtext (RFC 3461 section 4): printable ASCII, with "+", "=" and
// all else as "+" and two hexadecimal digits.
func encodeXtext(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if c := s[i]; c > ' ' && c < 0x7f && c != '+' && c != '=' {
			b.WriteByte(c)
		} else {
			b.WriteByte('+')
			b.WriteByte("0123456789ABCDEF"[c>>4])
			b.WriteByte("0123456789ABCDEF"[c&15])
		}
	}
	return b.String()
}

// decodeXtext reads xtext. Lower-case hexadecimal digits are taken too. What it decodes to
// is printable ASCII or UTF-8 and holds no control character.
func decodeXtext(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '+':
			if i+2 >= len(s) {
				return "", errXtext
			}
			n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil {
				return "", errXtext
			}
			b.WriteByte(byte(n))
			i += 2
		case c <= ' ' || c >= 0x7f || c == '=':
			return "", errXtext
		default:
			b.WriteByte(c)
		}
	}
	if !isPrintable(b.String()) {
		return "", errXtext
	}
	return b.String(), nil
}

// encodeOriginal writes an original recipient, "type;address" as mail.Recipient has it, in
// the form of the ORCPT= parameter (RFC 3461 section 4.2). An address of type utf-8 goes out
// as it is when smtputf8 says that the server takes it, else in the ASCII form of RFC 6533
// section 3.
func encodeOriginal(s string, smtputf8 bool) string {
	kind, address, _ := strings.Cut(s, ";")
	if !strings.EqualFold(kind, "utf-8") {
		return kind + ";" + encodeXtext(address)
	}
	var b strings.Builder
	b.WriteString(kind + ";")
	for _, r := range address {
		switch {
		case r > ' ' && r < 0x7f && r != '+' && r != '=' && r != '\\', r >= 0x80 && smtputf8:
			b.WriteRune(r)
		default:
			b.WriteString(`\x{`)
			hex := strings.ToUpper(strconv.FormatInt(int64(r), 16))
			if len(hex) < 2 {
				b.WriteByte('0')
			}
			b.WriteString(hex + "}")
		}
	}
	return b.String()
}

// decodeOriginal reads the value of ORCPT= into "type;address".
func decodeOriginal(s string) (string, error) {
	kind, address, ok := strings.Cut(s, ";")
	if !ok || kind == "" || address == "" || len(s) > 500 || !isAtom(kind) {
		return "", errors.New("bad ORCPT")
	}
	var err error
	if strings.EqualFold(kind, "utf-8") {
		address, err = decodeUnicode(address)
	} else {
		address, err = decodeXtext(address)
	}
	if err != nil || address == "" {
		return "", errors.New("bad ORCPT")
	}
	return kind + ";" + address, nil
}

// decodeUnicode reads utf-8-addr-xtext and utf-8-addr-unitext (RFC 6533 section 3).
func decodeUnicode(s string) (string, error) {
	var b strings.Builder
	for s != "" {
		if !strings.HasPrefix(s, `\`) {
			b.WriteByte(s[0])
			s = s[1:]
			continue
		}
		end := strings.IndexByte(s, '}')
		if !strings.HasPrefix(s, `\x{`) || end < 0 {
			return "", errXtext
		}
		n, err := strconv.ParseUint(s[3:end], 16, 32)
		if err != nil || n > utf8.MaxRune || !utf8.ValidRune(rune(n)) {
			return "", errXtext
		}
		b.WriteRune(rune(n))
		s = s[end+1:]
	}
	if !isPrintable(b.String()) {
		return "", errXtext
	}
	return b.String(), nil
}

// isPrintable reports whether s is UTF-8 without control characters and line separators.
func isPrintable(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 {
			return false
		}
	}
	return true
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func isAtom(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; !isLetterDigit(c) && strings.IndexByte("!#$%&'*-/?^_`{|}~.", c) < 0 {
			return false
		}
	}
	return s != ""
}

func isLetterDigit(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}
