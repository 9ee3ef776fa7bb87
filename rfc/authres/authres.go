// Package authres writes, reads and strikes out Authentication-Results header fields.
//
// It implements RFC 8601, with internationalised values by RFC 8616. What a method's
// result means is not its business.
package authres

import (
	"strconv"
	"strings"

	"stagecoach/mail"
)

// FieldName is the name of the header field.
const FieldName = "Authentication-Results"

// Results is one header field: who says it, and what was found. A field without results
// says "none" (RFC 8601 section 2.2).
type Results struct {
	ID      string // authserv-id
	Version int    // 0 when not written, which means 1
	Results []Result
}

// A Result is what one method found.
type Result struct {
	Method  string // "spf", "dkim", ...; lower case
	Version int    // of the method; 0 when not written
	Value   string // "pass", "fail", ...; lower case
	Comment string // text of the comment behind the value, unescaped, "" for none
	Reason  string // free text, "" for none
	Props   []Prop // what was looked at
}

// A Prop is one propspec: "smtp.mailfrom=example.org" has the type smtp and the name
// mailfrom. Type and name are lower case.
type Prop struct {
	Type, Name, Value string
}

// Prop returns the value of the first property of this type and name, "" when there is none.
func (r Result) Prop(ptype, name string) string {
	for _, p := range r.Props {
		if p.Type == ptype && p.Name == name {
			return p.Value
		}
	}
	return ""
}

// maxColumn is where a line is folded if it can be (RFC 5322 section 2.1.1).
const maxColumn = 78

// Field returns the header field, folded, with one result a line. Control characters in
// free text and values become blanks, and method, value and property names are reduced to
// the characters that their grammar has, so that no input can end the field early or add a
// result to it.
func (r Results) Field() mail.Field {
	return mail.NewField(FieldName, r.String())
}

// String returns the body of the header field, folded.
func (r Results) String() string {
	w := writer{column: len(FieldName) + 2}
	w.word(quoteValue(r.ID))
	if r.Version != 0 {
		w.word(strconv.Itoa(r.Version))
	}
	if len(r.Results) == 0 {
		w.b.WriteByte(';')
		w.word("none")
		return w.b.String()
	}
	for _, res := range r.Results {
		w.b.WriteByte(';')
		w.newLine()
		w.result(res)
	}
	return w.b.String()
}

type writer struct {
	b      strings.Builder
	column int
	fresh  bool // nothing stands on this line yet
}

func (w *writer) newLine() {
	w.b.WriteString("\r\n\t")
	w.column = 8
	w.fresh = true
}

// word writes a token that is not broken, after a blank or a line break.
func (w *writer) word(s string) {
	switch {
	case w.b.Len() == 0 || w.fresh:
	case w.column+1+len(s) > maxColumn:
		w.newLine()
	default:
		w.b.WriteByte(' ')
		w.column++
	}
	w.b.WriteString(s)
	w.column += len(s)
	w.fresh = false
}

func (w *writer) result(r Result) {
	s := keyword(r.Method)
	if r.Version != 0 {
		s += "/" + strconv.Itoa(r.Version)
	}
	w.word(s + "=" + keyword(r.Value))
	if r.Comment != "" {
		w.word(comment(r.Comment))
	}
	if r.Reason != "" {
		w.word("reason=" + quoteValue(r.Reason))
	}
	for _, p := range r.Props {
		w.word(keyword(p.Type) + "." + keyword(p.Name) + "=" + quotePValue(p.Value))
	}
}

// keyword reduces s to a Keyword of RFC 5321 section 4.1.2 (with the underscore that real
// fields have); an empty one becomes "x", so that the field stays a field.
func keyword(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < 0x80 && isKeywordByte(byte(r)) {
			return r
		}
		return -1
	}, strings.ToLower(s))
	s = strings.Trim(s, "-")
	if s == "" {
		return "x"
	}
	return s
}

func isKeywordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}

// quoteValue writes a value (RFC 2045 section 5.1): a token where it is one, else quoted.
func quoteValue(s string) string {
	if isToken(s) {
		return s
	}
	return quote(s)
}

// quotePValue writes a pvalue (RFC 8601 section 2.2), where an address needs no quotes.
func quotePValue(s string) string {
	local, domain, ok := strings.Cut(s, "@")
	if ok && (local == "" || isToken(local)) && isToken(domain) {
		return s
	}
	return quoteValue(s)
}

func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c < ' ' || c == 0x7f:
			b.WriteByte(' ')
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// comment writes one comment (RFC 5322 section 3.2.2), without any inside it.
func comment(s string) string {
	var b strings.Builder
	b.WriteByte('(')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c < ' ' || c == 0x7f:
			b.WriteByte(' ')
		case c == '(' || c == ')' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte(')')
	return b.String()
}

// isToken reports whether s is a token of RFC 2045 section 5.1, or such a token in UTF-8
// (RFC 8616 section 4).
func isToken(s string) bool {
	for i := 0; i < len(s); i++ {
		if !isTokenByte(s[i]) {
			return false
		}
	}
	return s != ""
}

func isTokenByte(c byte) bool {
	return c > ' ' && c != 0x7f && strings.IndexByte(`()<>@,;:\"/[]?=`, c) < 0
}
