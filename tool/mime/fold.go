package mime

import (
	"strings"

	"stagecoach/mail"
)

// foldAt is how long lines should be (RFC 5322 section 2.1.1).
const foldAt = 78

// NewField makes a header field of a name and its unfolded body, folded at blanks where
// lines would be longer than 78 octets. Unfolding gives the body again. Line ends in the
// body, and other control characters, become blanks.
func NewField(name, body string) mail.Field {
	body = strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f {
			return ' '
		}
		return r
	}, body)
	var b strings.Builder
	column := len(name) + 2
	for len(body) > 0 {
		n := nextBlank(body)
		word := body[:n]
		if b.Len() > 0 && column+len(word) > foldAt && strings.TrimLeft(word, " \t") != "" {
			b.WriteString("\r\n")
			column = 0
		}
		b.WriteString(word)
		column += len(word)
		body = body[n:]
	}
	return mail.NewField(name, b.String())
}

// nextBlank returns the length of the blanks that begin s and of the word behind them.
func nextBlank(s string) int {
	i := 0
	for i < len(s) && (s[i] == ' ' || s[i] == '\t') {
		i++
	}
	if n := strings.IndexAny(s[i:], " \t"); n >= 0 {
		return i + n
	}
	return len(s)
}
