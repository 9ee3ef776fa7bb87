package mime

import (
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/html/charset"
)

// DecodeWords reads the encoded words (RFC 2047) in the unfolded body of a field. Words
// that cannot be read stay as they are, and what is not UTF-8 becomes U+FFFD.
func DecodeWords(s string) string {
	if !strings.Contains(s, "=?") {
		return strings.ToValidUTF8(s, "\ufffd")
	}
	d := mime.WordDecoder{CharsetReader: charsetReader}
	out, err := d.DecodeHeader(s)
	if err != nil {
		out = s
	}
	return strings.ToValidUTF8(out, "\ufffd")
}

// EncodeText writes free text, as of a Subject, with encoded words where it is not plain
// ASCII or could be taken for one.
func EncodeText(s string) string {
	if isPlain(s) && !strings.Contains(s, "=?") && strings.TrimSpace(s) == s && longestWord(s) < 900 {
		return s
	}
	return encodeWords(s)
}

// EncodePhrase writes a display name: as it is, as a quoted string, or in encoded words
// (RFC 2047 section 5, rule 3).
func EncodePhrase(s string) string {
	switch {
	case !isPlain(s) || strings.Contains(s, "=?") || len(s) > 900:
		return encodeWords(s)
	case isAtoms(s):
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// encodeWords uses base64, whose letters may stand anywhere. 75 octets of a word leave 45
// for the text.
func encodeWords(s string) string {
	s = strings.ToValidUTF8(s, "\ufffd")
	var words []string
	for len(s) > 0 {
		n := 0
		for n < len(s) {
			_, size := utf8.DecodeRuneInString(s[n:])
			if n+size > 45 {
				break
			}
			n += size
		}
		words = append(words, "=?utf-8?b?"+base64.StdEncoding.EncodeToString([]byte(s[:n]))+"?=")
		s = s[n:]
	}
	return strings.Join(words, " ")
}

func isPlain(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' && c != '\t' || c >= 0x7f {
			return false
		}
	}
	return true
}

func longestWord(s string) int {
	longest := 0
	for w := range strings.FieldsSeq(s) {
		longest = max(longest, len(w))
	}
	return longest
}

func isAtoms(s string) bool {
	if s == "" || s != strings.Join(strings.Fields(s), " ") {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c != ' ' && !isAtext(c) {
			return false
		}
	}
	return true
}

func isAtext(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c >= 0x80 ||
		strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

// decodeCharset converts to UTF-8. Without a charset, and with US-ASCII, octets above 127
// are taken as UTF-8.
func decodeCharset(name string, b []byte) (string, error) {
	switch strings.ToLower(name) {
	case "", "us-ascii", "ascii", "utf-8", "utf8":
		return string(b), nil
	}
	r, err := charsetReader(name, strings.NewReader(string(b)))
	if err != nil {
		return string(b), err
	}
	out, err := io.ReadAll(r)
	return string(out), err
}

func charsetReader(name string, in io.Reader) (io.Reader, error) {
	enc, _ := charset.Lookup(name)
	if enc == nil {
		return nil, fmt.Errorf("unknown charset %q", shorten(name))
	}
	return enc.NewDecoder().Reader(in), nil
}
