package mime

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A Param is one parameter of Content-Type or Content-Disposition, decoded.
type Param struct{ Name, Value string }

// Params are parameters in their order. Names are lower case.
type Params []Param

// Get returns the value of the first parameter of this name, "" when there is none.
func (p Params) Get(name string) string {
	for _, x := range p {
		if x.Name == name {
			return x.Value
		}
	}
	return ""
}

const maxParams = 200

// ParseParams reads "value; name=value; ..." as Content-Type and Content-Disposition have it
// (RFC 2045 section 5.1, RFC 2183), with comments, RFC 2231 continuations and charsets, and
// the encoded words that some programs write although nobody allows them. The value comes
// back in lower case, and the problems in words.
func ParseParams(field string) (value string, params Params, problems []string) {
	s := scanner{text: field}
	s.blanks()
	value = strings.ToLower(strings.TrimSpace(s.until(";(")))
	s.blanks()
	var raw []rawParam
	for s.take(';') {
		s.blanks()
		name := strings.ToLower(strings.TrimSpace(s.until("=;(")))
		s.blanks()
		if !s.take('=') {
			if name != "" {
				problems = append(problems, "a parameter without a value")
			}
			continue
		}
		s.blanks()
		v := s.value()
		s.blanks()
		if name != "" && len(raw) < maxParams {
			raw = append(raw, rawParam{name: name, text: v})
		}
		if !s.end() && s.peek() != ';' {
			problems = append(problems, "a parameter value needs quotes")
			s.until(";")
		}
	}
	if !s.end() {
		problems = append(problems, "something follows that is no parameter")
	}
	return value, joinParams(raw), problems
}

// A rawParam is a parameter as written; with RFC 2231, a piece of one.
type rawParam struct {
	name, text string
	part       int
	extended   bool
}

// joinParams puts the pieces of RFC 2231 section 3 together. Where a parameter stands both
// whole and in pieces the pieces count, which have the charset.
func joinParams(raw []rawParam) Params {
	var out Params
	pieces := map[string][]rawParam{}
	whole := make([]bool, len(raw))
	for i := range raw {
		if base, ok := raw[i].split(); ok {
			raw[i].name = base
			pieces[base] = append(pieces[base], raw[i])
		} else {
			whole[i] = true
		}
	}
	done := map[string]bool{}
	for i, r := range raw {
		switch p := pieces[r.name]; {
		case p != nil && !done[r.name]:
			out = append(out, Param{r.name, joinPieces(p)})
			done[r.name] = true
		case p == nil && whole[i]:
			out = append(out, Param{r.name, decodeValue(r.text)})
		}
	}
	return out
}

func decodeValue(s string) string {
	if strings.Contains(s, "=?") {
		return DecodeWords(s)
	}
	return s
}

// split reads the stars of a name.
func (r *rawParam) split() (base string, ok bool) {
	base, rest, star := strings.Cut(r.name, "*")
	if !star {
		return "", false
	}
	r.part = -1
	if digits := strings.TrimSuffix(rest, "*"); digits != "" {
		n, err := strconv.Atoi(digits)
		if err != nil || n < 0 || n >= maxParams {
			return "", false
		}
		r.part = n
	}
	r.extended = rest == "" || strings.HasSuffix(rest, "*")
	return base, base != ""
}

func joinPieces(p []rawParam) string {
	p = slices.Clone(p)
	slices.SortStableFunc(p, func(a, b rawParam) int { return a.part - b.part })
	var b strings.Builder
	charset := ""
	for i, r := range p {
		text := r.text
		if r.extended {
			if i == 0 {
				if parts := strings.SplitN(text, "'", 3); len(parts) == 3 {
					charset, text = parts[0], parts[2]
				}
			}
			if t, err := url.PathUnescape(text); err == nil {
				text = t
			}
		}
		b.WriteString(text)
	}
	if s, err := decodeCharset(charset, []byte(b.String())); err == nil {
		return s
	}
	return b.String()
}

// FormatParams writes what ParseParams reads, folded after the value and after each
// parameter where lines would be longer than 76 octets. first is how long the line is on
// which it begins. Values that are not ASCII, or long, become RFC 2231 extended ones.
func FormatParams(first int, value string, params Params) string {
	var b strings.Builder
	b.WriteString(value)
	column := first + len(value)
	for _, p := range params {
		for _, text := range formatParam(p) {
			if column+2+len(text) > 76 {
				b.WriteString(";\r\n " + text)
				column = 1 + len(text)
				continue
			}
			b.WriteString("; " + text)
			column += 2 + len(text)
		}
	}
	return b.String()
}

func formatParam(p Param) []string {
	switch {
	case isPrintable(p.Value) && len(p.Name)+len(p.Value) < 70 && !strings.Contains(p.Value, "=?"):
		return []string{p.Name + "=" + quoteValue(p.Value)}
	case !utf8.ValidString(p.Value):
		return extended(p, "")
	}
	return extended(p, "utf-8")
}

// extended writes a value in pieces of at most 60 octets (RFC 2231 section 4.1).
func extended(p Param, charset string) []string {
	var pieces []string
	piece := charset + "''"
	for i := 0; i < len(p.Value); i++ {
		c := p.Value[i]
		text := string(c)
		if c >= 0x7f || !isToken(text) || strings.IndexByte("*'%", c) >= 0 {
			text = "%" + strings.ToUpper(strconv.FormatUint(0x100|uint64(c), 16)[1:])
		}
		if len(piece)+len(text) > 60 {
			pieces = append(pieces, piece)
			piece = ""
		}
		piece += text
	}
	pieces = append(pieces, piece)
	if len(pieces) == 1 {
		return []string{p.Name + "*=" + piece}
	}
	for i := range pieces {
		pieces[i] = p.Name + "*" + strconv.Itoa(i) + "*=" + pieces[i]
	}
	return pieces
}

func quoteValue(s string) string {
	if isToken(s) {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// isToken reports whether s is a token of RFC 2045 section 5.1.
func isToken(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`()<>@,;:\"/[]?=`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

func isPrintable(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}
