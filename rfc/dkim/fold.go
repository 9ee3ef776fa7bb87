package dkim

import "strings"

// maxColumn is where lines are folded (RFC 5322 section 2.1.1 recommends 78).
const maxColumn = 76

// A folder writes the tags of a field into lines.
type folder struct {
	text   strings.Builder
	column int
}

// tag writes a tag with a blank before it, or on a new line where it does not fit.
func (f *folder) tag(s string) {
	switch {
	case f.text.Len() == 0:
	case f.column+1+len(s) > maxColumn:
		f.newLine()
	default:
		f.word(" ")
	}
	f.word(s)
}

// list writes a tag whose value is a list, which may be folded before a colon.
func (f *folder) list(name string, words []string) {
	f.tag(name + words[0])
	for i, w := range words[1:] {
		w = ":" + w
		last := 0
		if i == len(words)-2 {
			last = len(";")
		}
		if f.column+len(w)+last > maxColumn {
			f.newLine()
		}
		f.word(w)
	}
	f.word(";")
}

func (f *folder) word(s string) {
	f.text.WriteString(s)
	f.column += len(s)
}

func (f *folder) newLine() {
	f.text.WriteString("\r\n ")
	f.column = 1
}

// foldBase64 breaks a value into lines; the first one begins at the given column.
func foldBase64(s string, column int) string {
	var b strings.Builder
	for len(s) > maxColumn-column {
		n := maxColumn - column
		b.WriteString(s[:n] + "\r\n ")
		s, column = s[n:], 1
	}
	b.WriteString(s)
	return b.String()
}
