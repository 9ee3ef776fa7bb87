package hold

import (
	"strings"
	"unicode"

	"stagecoach/spam/mime"
)

// maxShown bounds what is shown of a stranger's text, in letters.
const maxShown = 120

// Safe returns text of a stranger's header field as it may be shown: decoded, on one line, of bounded
// length, without what hides or turns letters round, and without anything that a mail program makes
// a link of.
func Safe(s string) string {
	s = mime.DecodeWords(s)
	var b strings.Builder
	n, blank := 0, false
	var last rune
	runes := []rune(strings.ToValidUTF8(s, "?"))
	for i, r := range runes {
		if n >= maxShown {
			b.WriteString("…")
			break
		}
		switch {
		case unicode.IsSpace(r) || unicode.IsControl(r):
			blank = true
			continue
		case unicode.In(r, unicode.Cf, unicode.Co, unicode.Cs) || r == unicode.ReplacementChar || unicode.Is(unicode.Mn, r) && unicode.Is(unicode.Mn, last):
			continue // marks in a heap spill over other lines
		}
		if blank && n > 0 {
			b.WriteByte(' ')
			n++
		}
		blank = false
		b.WriteString(unlinked(r, i+1 < len(runes) && !unicode.IsSpace(runes[i+1])))
		n++
		last = r
	}
	if n == 0 {
		return "(none)"
	}
	return b.String()
}

// unlinked breaks what makes links of a text: dots inside of names, colons of schemes, at signs.
func unlinked(r rune, within bool) string {
	switch r {
	case '@', '＠', '﹫':
		return "[@]"
	case '.', '。', '．', '｡', '․':
		if within {
			return "[.]"
		}
	case ':':
		if within {
			return "[:]"
		}
	case '<', '>':
		return string(r)
	}
	return string(r)
}
