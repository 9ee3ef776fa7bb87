package generate

import (
	"fmt"
	"strings"
)

// mailboxes makes an address list of n mailboxes, some of them in groups.
func (g *source) mailboxes(n int, groups bool) ([]Mailbox, string) {
	var list []Mailbox
	var entries []string
	for len(list) < n {
		if groups && g.one(6) {
			name := g.letters(lower, g.between(1, 10))
			members, text := g.mailboxes(g.between(1, 3), false)
			for _, m := range members {
				m.Group = name
				list = append(list, m)
			}
			entries = append(entries, name+":"+g.comments()+text+";")
			continue
		}
		m, text := g.mailbox()
		list = append(list, m)
		entries = append(entries, text)
	}
	out := entries[0]
	for _, e := range entries[1:] {
		out += "," + g.fold() + e
	}
	return list, out
}

func (g *source) mailbox() (Mailbox, string) {
	m := Mailbox{Addr: g.local() + "@" + g.domain()}
	if g.one(20) {
		m.Addr = g.letters(alphanum, 5) + "@" + g.pick("[192.0.2.1]", "[IPv6:2001:db8::1]", "[IPv6:::1]")
	}
	switch g.IntN(6) {
	case 0:
		return m, m.Addr
	case 1:
		return m, "<" + m.Addr + ">"
	case 2: // a comment for a name, as it once was
		m.Name = g.letters(lower, g.between(1, 12))
		return m, m.Addr + " (" + m.Name + ")"
	case 3:
		text, name, _ := g.foreign(g.between(1, 4))
		m.Name = text
		return m, g.encodedWords(text, name) + g.fold() + "<" + m.Addr + ">"
	case 4:
		m.Name = g.letters(alphanum+` .,;:<>()[]@"\'`, g.between(1, 30))
		if g.utf8 {
			m.Name += "ö"
		}
		m.Name = strings.TrimSpace(m.Name) + "x"
		return m, `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(m.Name) + `"` + g.fold() + "<" + m.Addr + ">"
	}
	words := make([]string, g.between(1, 4))
	for i := range words {
		words[i] = strings.ReplaceAll(g.letters(atext, g.between(1, 10)), "=?", "==")
	}
	m.Name = strings.ReplaceAll(strings.Join(words, " "), "=?", "==")
	return m, strings.ReplaceAll(m.Name, " ", g.fold()) + g.comments() + "<" + m.Addr + ">"
}

// local makes a local part as it is written.
func (g *source) local() string {
	switch g.IntN(10) {
	case 0:
		return `"` + g.letters(lower+" ", g.between(1, 10)) + g.pick(" ", "@", ",", ".", `\"`, `\\`, ">", ";") + g.letters(lower, 3) + `"`
	case 1:
		return g.letters(atext, g.between(1, 64))
	case 2:
		return g.letters(alphanum, g.between(1, 10)) + "." + g.letters(atext, g.between(1, 10)) + "+" + g.letters(digits, 3)
	case 3:
		if g.utf8 {
			return g.pick("δοκιμή", "用户", "zoë")
		}
	}
	return g.letters(lower, g.between(1, 12))
}

func (g *source) domain() string {
	switch g.IntN(8) {
	case 0:
		return "xn--bcher-kva.example"
	case 1:
		return fmt.Sprintf("%s.%s.%s.example", g.letters(lower+digits, g.between(1, 20)), g.letters(lower, g.between(1, 20)), g.letters(lower, 5))
	}
	return g.letters(lower, g.between(1, 15)) + g.pick(".example", ".test", ".example.org")
}
