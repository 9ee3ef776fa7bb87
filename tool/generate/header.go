package generate

import (
	"fmt"
	"strings"
	"time"
)

// field writes a field whose name may be written in any case.
func (g *source) field(name, body string) string {
	switch g.IntN(10) {
	case 0:
		name = strings.ToUpper(name)
	case 1:
		name = strings.ToLower(name)
	}
	blank := " "
	if g.one(10) {
		blank = g.pick("", "\t", "  ", "\r\n ")
	}
	return limitLines(name+":"+blank+body) + "\r\n"
}

// limitLines folds lines that are too long at a blank.
func limitLines(s string) string {
	var b strings.Builder
	for line := range strings.SplitAfterSeq(s, "\r\n") {
		for len(line) > 990 {
			n := strings.LastIndexAny(line[:990], " \t")
			if n <= 0 || strings.Trim(line[:n], " \t") == "" {
				break
			}
			b.WriteString(line[:n] + "\r\n")
			line = line[n:]
		}
		b.WriteString(line)
	}
	return b.String()
}

// header makes the fields that say who writes to whom.
func (g *source) header(m *Mail) []string {
	var subject, from, to string
	m.Subject, subject = g.unstructured()
	m.From, from = g.mailboxes(1, false)
	m.To, to = g.mailboxes(g.between(1, 6), true)
	out := []string{
		g.field("Subject", subject), g.field("From", from), g.field("To", to),
		g.field("Date", g.date()), g.field("Message-ID", "<"+g.letters(atext, g.between(1, 60))+"@"+g.domain()+">"),
	}
	if g.one(3) {
		_, cc := g.mailboxes(g.between(1, 3), true)
		out = append(out, g.field("Cc", cc))
	}
	if g.one(3) {
		var ids []string
		for range g.between(1, 20) {
			ids = append(ids, "<"+g.letters(alphanum, 20)+"@"+g.letters(lower, 10)+">")
		}
		out = append(out, g.field("References", strings.Join(ids, g.fold())))
	}
	for range g.IntN(5) {
		_, text := g.unstructured()
		out = append(out, g.field("X-"+g.letters(alphanum+"-_!.", g.between(1, 30)), text))
	}
	return out
}

// unstructured makes the body of a field like Subject, and what it reads.
func (g *source) unstructured() (decoded, raw string) {
	encoded := false
	for i := range g.IntN(12) {
		gap := ""
		if i > 0 {
			gap = g.fold()
		}
		switch {
		case g.one(5) && !encoded: // white space between encoded words does not count
			text, name, _ := g.foreign(g.between(1, 8))
			raw += gap + g.encodedWords(text, name)
			decoded += gap + text
			encoded = true
			continue
		case g.utf8 && g.one(3):
			text := g.pick("grüße", "日本語", "🙂")
			raw, decoded = raw+gap+text, decoded+gap+text
		default:
			text := strings.NewReplacer("=?", "=", "?=", "=").Replace(g.word())
			raw, decoded = raw+gap+text, decoded+gap+text
		}
		encoded = false
	}
	return strings.Trim(strings.ReplaceAll(decoded, "\r\n", ""), " \t"), raw
}

// date writes one of the forms of RFC 5322 section 3.3.
func (g *source) date() string {
	t := time.Unix(g.Int64N(4_000_000_000), 0).In(time.FixedZone("", 60*g.between(-12*60, 14*60)))
	layout := g.pick("Mon, 02 Jan 2006 15:04:05 -0700", "Mon, 2 Jan 2006 15:04:05 -0700", "2 Jan 2006 15:04:05 -0700", "02 Jan 2006 15:04 -0700")
	s := t.Format(layout)
	if g.one(4) {
		s += g.pick(" (CEST)", " (a (nested) comment)", "\r\n (UTC)")
	}
	return s
}

// received makes the path of the mail, which stands on top.
func (g *source) received() []string {
	var out []string
	for range g.IntN(4) {
		ip := fmt.Sprintf("[192.0.2.%d]", g.IntN(256))
		if g.one(3) {
			ip = fmt.Sprintf("[IPv6:2001:db8::%x]", g.IntN(1<<16))
		}
		out = append(out, g.field("Received", fmt.Sprintf("from %s (%s %s)%sby %s%swith %s id %s;%s%s",
			g.domain(), g.domain(), ip, g.fold(), g.domain(), g.comments(), g.pick("ESMTP", "ESMTPS", "SMTP", "UTF8SMTPS"),
			g.letters(alphanum, 12), g.fold(), g.date())))
	}
	return out
}
