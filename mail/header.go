package mail

import (
	"bytes"
	"io"
	"iter"
	"strings"
)

// A Field is one raw header field, folding and line end included. A line that is no field
// (without a colon, say) is a Field without a name: it is kept and passed on as it is.
type Field struct {
	raw  string
	name int // length of the name; 0 when the line is no field
}

// NewField makes a field of a name and a value. CR, LF and NUL in the value become
// blanks, except where a CRLF is followed by a blank or tab (folding).
func NewField(name, value string) Field {
	var b strings.Builder
	b.Grow(len(name) + len(value) + 4)
	b.WriteString(name)
	b.WriteString(": ")
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '\r' && i+2 < len(value) && value[i+1] == '\n' && (value[i+2] == ' ' || value[i+2] == '\t'):
			b.WriteString("\r\n")
			i++
		case c == '\r' || c == '\n' || c == 0:
			b.WriteByte(' ')
		default:
			b.WriteByte(c)
		}
	}
	b.WriteString("\r\n")
	return Field{b.String(), len(name)}
}

// Raw returns the bytes of the field, the final CRLF included.
func (f Field) Raw() string { return f.raw }

// Name returns the field name as written, "" when the line is no field.
func (f Field) Name() string { return f.raw[:f.name] }

// Is reports whether the field has this name (RFC 5322 names have no case).
func (f Field) Is(name string) bool {
	return f.name > 0 && f.name == len(name) && strings.EqualFold(f.raw[:f.name], name)
}

// Body returns what stands after the colon, raw: with its folding, without the last CRLF.
func (f Field) Body() string {
	if f.name == 0 {
		return ""
	}
	i := strings.IndexByte(f.raw, ':')
	return strings.TrimSuffix(strings.TrimSuffix(f.raw[i+1:], "\n"), "\r")
}

// Value returns the body unfolded (RFC 5322 section 2.2.3) and without white space at its ends.
func (f Field) Value() string {
	s := f.Body()
	if strings.IndexByte(s, '\n') >= 0 {
		s = strings.ReplaceAll(s, "\r\n", "")
	}
	return strings.Trim(s, " \t\r\n")
}

// A Header is the fields of a message in their order. What was parsed is kept byte for
// byte; a stage may only prepend fields or strike out whole ones.
type Header struct {
	fields []Field
	end    string // the blank line, or "" when the message has none
}

// ParseHeader splits raw, everything up to and including the first empty line (or all of
// the message when it has none), into fields. It never fails: a line that is no field is
// kept as one without a name.
func ParseHeader(raw string) Header {
	var h Header
	h.fields = make([]Field, 0, 16)
	for len(raw) > 0 {
		if strings.HasPrefix(raw, "\r\n") {
			h.end = raw // exactly the blank line, by the contract of the caller
			break
		}
		n := fieldLength(raw)
		h.fields = append(h.fields, Field{raw[:n], nameLength(raw[:n])})
		raw = raw[n:]
	}
	return h
}

// fieldLength returns the length of the first field with its continuation lines.
func fieldLength(s string) int {
	n := 0
	for {
		i := strings.Index(s[n:], "\r\n")
		if i < 0 {
			return len(s)
		}
		n += i + 2
		if n == len(s) || s[n] != ' ' && s[n] != '\t' {
			return n
		}
	}
}

// nameLength returns the length of a field's name: printable ASCII without blanks before a
// colon (RFC 5322 section 2.2), where the obsolete form may have blanks before the colon
// (section 4.5). It is 0 when the line is no field.
func nameLength(line string) int {
	n := 0
	for n < len(line) && line[n] > ' ' && line[n] < 0x7f && line[n] != ':' {
		n++
	}
	i := n
	for i < len(line) && (line[i] == ' ' || line[i] == '\t') {
		i++
	}
	if i == len(line) || line[i] != ':' {
		return 0
	}
	return n
}

// All yields the fields from the top.
func (h *Header) All() iter.Seq[Field] {
	return func(yield func(Field) bool) {
		for _, f := range h.fields {
			if !yield(f) {
				return
			}
		}
	}
}

// Fields yields the fields of this name from the top.
func (h *Header) Fields(name string) iter.Seq[Field] {
	return func(yield func(Field) bool) {
		for _, f := range h.fields {
			if f.Is(name) && !yield(f) {
				return
			}
		}
	}
}

// Count returns how many fields have this name.
func (h *Header) Count(name string) int {
	n := 0
	for range h.Fields(name) {
		n++
	}
	return n
}

// Value returns the value of the topmost field of this name, "" when there is none.
func (h *Header) Value(name string) string {
	for f := range h.Fields(name) {
		return f.Value()
	}
	return ""
}

// Len returns the number of fields.
func (h *Header) Len() int { return len(h.fields) }

// Prepend puts fields on top; the first argument becomes the topmost.
func (h *Header) Prepend(f ...Field) {
	h.fields = append(append(make([]Field, 0, len(f)+len(h.fields)+4), f...), h.fields...)
}

// Strike removes whole fields, and returns how many.
func (h *Header) Strike(gone func(Field) bool) int {
	kept := make([]Field, 0, len(h.fields))
	for _, f := range h.fields {
		if !gone(f) {
			kept = append(kept, f)
		}
	}
	n := len(h.fields) - len(kept)
	h.fields = kept
	return n
}

// Size returns the length of the header on the wire, its blank line included.
func (h *Header) Size() int64 {
	n := int64(len(h.end))
	for _, f := range h.fields {
		n += int64(len(f.raw))
	}
	return n
}

// WriteTo writes the header and its blank line.
func (h *Header) WriteTo(w io.Writer) (int64, error) {
	var b bytes.Buffer
	b.Grow(int(h.Size()))
	for _, f := range h.fields {
		b.WriteString(f.raw)
	}
	b.WriteString(h.end)
	return b.WriteTo(w)
}

func (h *Header) clone() Header {
	return Header{append([]Field(nil), h.fields...), h.end}
}
