package check

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// A Style says how a report is printed for people.
type Style struct {
	Colour  bool // with the escape sequences of terminals
	Symbols bool // in place of words
	Width   int  // of a line; 0 is 100
}

// mark is what stands before a line.
type mark struct{ word, symbol, colour string }

var marks = map[Status]mark{
	OK:      {"ok", "✓", "32"},
	Note:    {"note", "•", "33"},
	Wrong:   {"WRONG", "✗", "1;31"},
	Unknown: {"unknown", "?", "35"},
	Skipped: {"skipped", "–", "2"},
}

// WriteText writes the report for people: a line for each thing, and below what is not right
// why it matters and what to do.
func (r *Report) WriteText(w io.Writer, s Style) error {
	if s.Width <= 0 {
		s.Width = 100
	}
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "%s\n\n", r.Domain)
	for i, l := range r.Lines {
		again := i > 0 && same(r.Lines[i-1], l)
		last := i == len(r.Lines)-1 || !same(l, r.Lines[i+1])
		s.line(b, l, again, last)
	}
	fmt.Fprintf(b, "\n%s\n", r.Summary())
	return b.Flush()
}

// same reports whether two lines have the same reason and remedy, which is then written once.
func same(a, b Line) bool {
	return a.ID == b.ID && a.Status == b.Status && a.Why == b.Why && a.Fix == b.Fix
}

func (s Style) line(b *bufio.Writer, l Line, again, last bool) {
	m := marks[l.Status]
	head, wide := m.word, 8
	if s.Symbols {
		head, wide = m.symbol, 2
	}
	head += strings.Repeat(" ", wide-utf8.RuneCountInString(head))
	if s.Colour {
		head = "\x1b[" + m.colour + "m" + head + "\x1b[0m"
	}
	const name = 13
	id := l.ID
	if again {
		id = ""
	}
	text := l.Text
	if l.About != "" {
		text = l.About + ": " + text
	}
	indent := strings.Repeat(" ", wide+name)
	fmt.Fprintf(b, "%s%-*s%s\n", head, name, id, fold(text, indent, s.Width))
	if !last {
		return
	}
	for _, more := range []struct{ word, text string }{{"why: ", l.Why}, {"do:  ", l.Fix}} {
		if more.text != "" {
			fmt.Fprintf(b, "%s%s%s\n", indent, more.word, fold(more.text, indent+strings.Repeat(" ", len(more.word)), s.Width))
		}
	}
}

// fold breaks a text into lines that end before width; those after the first are indented.
func fold(text, indent string, width int) string {
	var b strings.Builder
	room := max(width-len(indent), 30)
	column := 0
	for word := range strings.FieldsSeq(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case column == 0:
		case column+1+n > room:
			b.WriteString("\n" + indent)
			column = 0
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += n
	}
	return b.String()
}

// Summary says in one sentence what came of it.
func (r *Report) Summary() string {
	var parts []string
	for _, p := range []struct {
		s         Status
		one, many string
	}{
		{Wrong, "1 thing is wrong", "%d things are wrong"},
		{Unknown, "1 could not be told", "%d could not be told"},
		{Note, "1 could be better", "%d could be better"},
	} {
		switch n := r.Count(p.s); n {
		case 0:
		case 1:
			parts = append(parts, p.one)
		default:
			parts = append(parts, fmt.Sprintf(p.many, n))
		}
	}
	if len(parts) == 0 {
		return "All is right."
	}
	text := strings.Join(parts, ", ") + "."
	if r.Result == OK {
		return "All is right; " + text
	}
	return text
}
