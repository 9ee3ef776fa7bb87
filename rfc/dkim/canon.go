package dkim

import (
	"strings"

	"stagecoach/mail"
)

// AppendField appends the canonical form of a field to b, its CRLF included (RFC 6376
// sections 3.4.1 and 3.4.2).
func (c Canon) AppendField(b []byte, f mail.Field) []byte {
	if c == Simple {
		return appendLineEnd(append(b, f.Raw()...))
	}
	b = append(append(b, lowerName(f.Name())...), ':')
	raw := f.Raw()
	return append(appendRelaxed(b, raw[strings.IndexByte(raw, ':')+1:]), '\r', '\n')
}

// appendRelaxed unfolds s, which may end in its CRLF, makes every run of white space one blank,
// and drops it at the ends.
func appendRelaxed(b []byte, s string) []byte {
	blank, begun := false, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == ' ' || c == '\t':
			blank = true
		case c == '\r' && i+1 < len(s) && s[i+1] == '\n':
			i++
		default:
			if blank && begun {
				b = append(b, ' ')
			}
			b = append(b, c)
			blank, begun = false, true
		}
	}
	return b
}

// appendLineEnd makes sure that a field ends with a CRLF: the last one of a message without a
// blank line may not.
func appendLineEnd(b []byte) []byte {
	if n := len(b); n < 2 || b[n-2] != '\r' || b[n-1] != '\n' {
		b = append(b, '\r', '\n')
	}
	return b
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// A fieldSet finds the fields of a header by name, from the bottom up, as h= wants them, and
// keeps their canonical forms, so that many signatures cost one canonicalisation.
type fieldSet struct {
	fields []mail.Field
	byName map[string][]int // by lower-case name, from the top
	forms  [2][][]byte      // by Canon and index, as far as asked for
}

func newFieldSet(h *mail.Header) *fieldSet {
	s := &fieldSet{
		fields: make([]mail.Field, 0, h.Len()),
		byName: make(map[string][]int, h.Len()),
	}
	for f := range h.All() {
		if name := lowerName(f.Name()); name != "" {
			s.byName[name] = append(s.byName[name], len(s.fields))
			s.fields = append(s.fields, f)
		}
	}
	return s
}

func (s *fieldSet) count(name string) int { return len(s.byName[name]) }

// form returns the canonical form of the field with index i.
func (s *fieldSet) form(c Canon, i int) []byte {
	if s.forms[c] == nil {
		s.forms[c] = make([][]byte, len(s.fields))
	}
	if s.forms[c][i] == nil {
		s.forms[c][i] = c.AppendField(make([]byte, 0, len(s.fields[i].Raw())), s.fields[i])
	}
	return s.forms[c][i]
}

// choose returns the indices of the fields that names stand for, in their order (RFC 6376
// section 5.4.2): each mention takes the next one up, and nothing once there is none left.
// The field with index without, the signature itself, is not taken.
func (s *fieldSet) choose(names []string, without int) []int {
	chosen := make([]int, 0, min(len(names), len(s.fields)))
	taken := map[string]int{}
	for _, name := range names {
		at := s.byName[name]
		n := len(at) - 1 - taken[name]
		if n >= 0 && at[n] == without {
			taken[name]++
			n--
		}
		if n >= 0 {
			taken[name]++
			chosen = append(chosen, at[n])
		}
	}
	return chosen
}

// lowerName returns the name in lower case, without an allocation when it is already.
func lowerName(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] >= 'A' && s[i] <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				b[i] = lower(b[i])
			}
			return string(b)
		}
	}
	return s
}
