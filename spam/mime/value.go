package mime

import (
	"strings"
)

// A Value is a structured header value: a token and its parameters (RFC 2045 section 5.1).
type Value struct {
	Value  string // lower case
	params []param
}

type param struct{ name, value string }

const maxParams = 32

// Param returns a parameter, "" when there is none. Continuations (RFC 2231 section 3) are put
// together, and their percent signs decoded.
func (v Value) Param(name string) string {
	for _, p := range v.params {
		if p.name == name {
			return p.value
		}
	}
	var b strings.Builder
	percent := false
	for _, p := range v.params { // name*, name*0, name*1*, …: in the order in which they stand
		rest, ok := strings.CutPrefix(p.name, name+"*")
		if !ok || b.Len() > MaxField {
			continue
		}
		part := p.value
		if rest == "" || strings.HasSuffix(rest, "*") {
			if b.Len() == 0 { // charset'language'text
				if _, after, ok := strings.Cut(part, "'"); ok {
					if _, text, ok := strings.Cut(after, "'"); ok {
						part = text
					}
				}
			}
			percent = true
		}
		b.WriteString(part)
	}
	if percent {
		return unpercent(b.String())
	}
	return b.String()
}

// ParseValue reads a structured value leniently: quotes may be missing or not end, blanks and
// semicolons may be too many.
func ParseValue(s string) Value {
	s = s[:min(len(s), MaxField)]
	var v Value
	i := strings.IndexByte(s, ';')
	if i < 0 {
		v.Value = lowerToken(s)
		return v
	}
	v.Value = lowerToken(s[:i])
	for s = s[i:]; s != "" && len(v.params) < maxParams; {
		s = strings.TrimLeft(s, "; \t\r\n")
		eq := strings.IndexAny(s, "=;")
		if eq < 0 {
			break
		}
		if s[eq] == ';' {
			s = s[eq:]
			continue
		}
		p := param{name: lowerToken(s[:eq])}
		p.value, s = paramValue(strings.TrimLeft(s[eq+1:], " \t\r\n"))
		v.params = append(v.params, p)
	}
	return v
}

// paramValue reads a token or quoted string, and returns what follows.
func paramValue(s string) (value, rest string) {
	if !strings.HasPrefix(s, `"`) {
		if i := strings.IndexAny(s, "; \t\r\n"); i >= 0 {
			return s[:i], s[i:]
		}
		return s, ""
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return b.String(), s[i+1:]
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), ""
}

// lowerToken trims blanks and a comment, and lowers the case.
func lowerToken(s string) string {
	if i := strings.IndexByte(s, '('); i > 0 {
		s = s[:i]
	}
	return strings.ToLower(strings.Trim(s, " \t\r\n\""))
}

func unpercent(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if h, l := unhex(s[i+1]), unhex(s[i+2]); h >= 0 && l >= 0 {
				b = append(b, byte(h<<4|l))
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
