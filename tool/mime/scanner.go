package mime

import "strings"

// A scanner reads structured field bodies, unfolded or not.
type scanner struct {
	text string
	i    int
}

func (s *scanner) end() bool { return s.i >= len(s.text) }

func (s *scanner) peek() byte {
	if s.end() {
		return 0
	}
	return s.text[s.i]
}

func (s *scanner) take(c byte) bool {
	if s.end() || s.text[s.i] != c {
		return false
	}
	s.i++
	return true
}

// blanks skips white space and comments (RFC 5322 section 3.2.2), and returns the text of
// the last comment.
func (s *scanner) blanks() (comment string) {
	for !s.end() {
		switch s.text[s.i] {
		case ' ', '\t', '\r', '\n':
			s.i++
		case '(':
			comment = s.comment()
		default:
			return comment
		}
	}
	return comment
}

func (s *scanner) comment() string {
	start := s.i + 1
	depth := 0
	for ; !s.end(); s.i++ {
		switch s.text[s.i] {
		case '\\':
			s.i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				s.i++
				return s.text[start : s.i-1]
			}
		}
	}
	s.i = len(s.text)
	return s.text[min(start, s.i):]
}

// until returns what stands before the first of these characters, or before the end.
func (s *scanner) until(stop string) string {
	n := strings.IndexAny(s.text[s.i:], stop)
	if n < 0 {
		n = len(s.text) - s.i
	}
	out := s.text[s.i : s.i+n]
	s.i += n
	return out
}

// value reads a token or a quoted string.
func (s *scanner) value() string {
	if s.peek() == '"' {
		return s.quoted()
	}
	return s.until("; \t\r\n(")
}

// quoted reads a quoted string (RFC 5322 section 3.2.4) without its quotes; folding goes.
func (s *scanner) quoted() string {
	var b strings.Builder
	for s.i++; !s.end(); s.i++ {
		switch c := s.text[s.i]; c {
		case '"':
			s.i++
			return b.String()
		case '\r', '\n':
		case '\\':
			if s.i+1 < len(s.text) {
				s.i++
			}
			if c = s.text[s.i]; c != '\r' && c != '\n' {
				b.WriteByte(c)
			}
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}
