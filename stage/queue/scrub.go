package queue

import (
	"strings"
	"unicode"

	"stagecoach/mail"
)

// scrub takes a hidden address out of a reply: as a whole, its local part, its domain, and
// host names of the domain. If some of it still shines through, all text goes and only the
// codes stay.
func scrub(reply string, a mail.Address) string {
	out := reply
	for _, secret := range []string{a.String(), a.Unicode(), a.Domain(), a.Local()} {
		out = replaceWord(out, secret)
	}
	rest := letters(out)
	for _, secret := range []string{a.Local(), a.Domain(), owner(a.Domain())} {
		if s := letters(secret); len(s) >= 4 && strings.Contains(rest, s) {
			return codes(reply)
		}
	}
	return out
}

// replaceWord replaces what stands alone as a word, whatever its case. ToLower can change
// the length of a text; one that does so is not worth the trouble.
func replaceWord(s, word string) string {
	lower, word := strings.ToLower(s), strings.ToLower(word)
	if word == "" || len(lower) != len(s) {
		return s
	}
	var b strings.Builder
	for {
		i := strings.Index(lower, word)
		if i < 0 {
			b.WriteString(s)
			return b.String()
		}
		end := i + len(word)
		alone := (i == 0 || !isWord(lower[i-1])) && (end == len(lower) || !isWord(lower[end]))
		if alone {
			b.WriteString(s[:i] + "(hidden)")
		} else {
			b.WriteString(s[:end])
		}
		s, lower = s[end:], lower[end:]
	}
}

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c >= 0x80
}

// letters returns the letters and digits of a text, in lower case.
func letters(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, s)
}

// owner returns a domain without its last label, which says little.
func owner(domain string) string {
	if i := strings.LastIndexByte(domain, '.'); i > 0 {
		return domain[:i]
	}
	return domain
}

// codes returns the reply code and the enhanced status code of a reply.
func codes(reply string) string {
	words := strings.Fields(reply)
	return strings.Join(words[:min(2, len(words))], " ")
}

// reveals returns a filter for header fields that name the hidden address of a recipient.
func reveals(to []Target) func(mail.Field) bool {
	var secrets []string
	for _, t := range to {
		if _, hidden := shown(t); hidden {
			secrets = append(secrets, strings.ToLower(t.Address.String()), strings.ToLower(t.Address.Unicode()))
		}
	}
	return func(f mail.Field) bool {
		if len(secrets) == 0 {
			return false
		}
		raw := strings.ToLower(strings.ReplaceAll(f.Raw(), "\r\n", ""))
		for _, s := range secrets {
			if strings.Contains(raw, s) {
				return true
			}
		}
		return false
	}
}
