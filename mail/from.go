package mail

import (
	"errors"
	"fmt"
	"mime"
	"strings"
	"unicode/utf8"
)

// Author returns the address of the author: of the one From field with one mailbox in it.
//
// It is strict where the grammar of RFC 5322 lets two readers see two authors, because
// whom a message is from decides what DMARC vouches for (RFC 9989 section 11.5): more than
// one From field, a line that some reader could take for one, and all that ParseFrom
// refuses is an error.
func (h *Header) Author() (Address, error) {
	var from Field
	n := 0
	for f := range h.All() {
		if f.Is("From") {
			from = f
			n++
		}
		if looksLikeFrom(f) {
			return Address{}, errors.New("a line of the header passes for a From field")
		}
	}
	switch n {
	case 0:
		return Address{}, errors.New("there is no From field")
	case 1:
		return ParseFrom(from.Value())
	}
	return Address{}, fmt.Errorf("there are %d From fields", n)
}

// looksLikeFrom reports whether f is no proper From field, but is one for a reader who
// skips control characters, blanks or 8-bit octets round the name.
func looksLikeFrom(f Field) bool {
	name, _, ok := strings.Cut(f.raw, ":")
	if !ok || len(name) == len("From") || len(name) > 64 {
		return false
	}
	return strings.EqualFold(strings.Map(func(r rune) rune {
		if r <= ' ' || r >= 0x7f {
			return -1
		}
		return r
	}, name), "from")
}

// ParseFrom reads the unfolded body of a From field, and returns its address. It takes one
// mailbox of RFC 5322 section 3.4 with the comments and phrases of section 3.2, and raw
// UTF-8 (RFC 6532). It refuses lists, groups (RFC 6854), source routes, comments and blanks
// inside the address, encoded words in place of one, and a second address anywhere but in a
// quoted display name.
func ParseFrom(s string) (Address, error) {
	if len(s) > maxFrom {
		return Address{}, errors.New("the From field is too long")
	}
	if strings.ContainsAny(s, "\x00\r\n") {
		return Address{}, errors.New("the From field has a control character")
	}
	a, err := parseMailbox(s)
	if err != nil {
		return Address{}, fmt.Errorf("the From field %q: %w", shorten(s), err)
	}
	return a, nil
}

const (
	maxFrom     = 8 << 10 // octets of a From field
	maxComments = 16      // comments in each other
)

type fromScanner struct {
	s string
	i int
}

func parseMailbox(s string) (Address, error) {
	p := &fromScanner{s: s}
	phrase, err := p.phrase()
	if err != nil {
		return Address{}, err
	}
	if p.i == len(s) { // no angle bracket: the phrase is the address
		if phrase.parts != 1 || phrase.quoted > 1 {
			return Address{}, errors.New("no single address")
		}
		return addrSpec(phrase.text)
	}
	end := strings.IndexByte(s[p.i:], '>')
	if end < 0 {
		return Address{}, errors.New("the angle bracket does not end")
	}
	inner := s[p.i+1 : p.i+end]
	if q := strings.IndexByte(inner, '"'); q >= 0 { // the '>' may be quoted
		if end = angleEnd(s[p.i:]); end < 0 {
			return Address{}, errors.New("the angle bracket does not end")
		}
		inner = s[p.i+1 : p.i+end]
	}
	p.i += end + 1
	a, err := addrSpec(strings.Trim(inner, " \t"))
	if err != nil {
		return Address{}, err
	}
	if err := p.skipComments(); err != nil {
		return Address{}, err
	}
	if p.i != len(s) {
		return Address{}, errors.New("something follows the address")
	}
	return a, phrase.check(a)
}

// angleEnd returns the index of the ">" that is not in a quoted string.
func angleEnd(s string) int {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case c == '>' && !quoted:
			return i
		}
	}
	return -1
}

// A fromPhrase is what stands before the angle bracket.
type fromPhrase struct {
	text   string // of the last words that touch each other, raw
	bare   string // all text that is not in quotes, without blanks
	parts  int    // runs of words apart
	quoted int    // quoted strings
}

// phrase reads up to "<" or the end.
func (p *fromScanner) phrase() (fromPhrase, error) {
	var ph fromPhrase
	var bare strings.Builder
	start := -1
	end := func() {
		if start >= 0 {
			ph.parts++
			ph.text = p.s[start:p.i]
			start = -1
		}
	}
	for p.i < len(p.s) {
		switch c := p.s[p.i]; {
		case c == '<':
			end()
			ph.bare = bare.String()
			return ph, nil
		case c == ' ' || c == '\t' || c == '(':
			end()
			if err := p.skipComments(); err != nil {
				return ph, err
			}
		case c == '"':
			if start < 0 {
				start = p.i
			}
			if err := p.skipQuoted(); err != nil {
				return ph, err
			}
			ph.quoted++
		case c == ',' || c == ';' || c == '>' || c == ')' || c == '\\' || c < ' ' || c == 0x7f:
			return ph, fmt.Errorf("%q out of place", c)
		case c == ':':
			return ph, errors.New("a group or a route, or a colon out of place")
		case c == ']' || c == '[' && (start < 0 || p.s[p.i-1] != '@'):
			return ph, fmt.Errorf("%q out of place", c)
		default:
			if start < 0 {
				start = p.i
			}
			if c == '[' { // an address literal has colons
				n := strings.IndexByte(p.s[p.i:], ']')
				if n < 0 {
					return ph, errors.New("the address literal does not end")
				}
				bare.WriteString(p.s[p.i : p.i+n+1])
				p.i += n + 1
				continue
			}
			bare.WriteByte(c)
			p.i++
		}
	}
	end()
	ph.bare = bare.String()
	return ph, nil
}

// check refuses a display name that another reader could take for the address.
func (ph *fromPhrase) check(a Address) error {
	if strings.ContainsRune(ph.bare, '@') && !strings.EqualFold(ph.bare, a.String()) {
		return errors.New("an address stands before the address")
	}
	if !strings.Contains(ph.bare, "=?") {
		return nil
	}
	text, err := new(mime.WordDecoder).DecodeHeader(strings.ReplaceAll(ph.bare, "?==?", "?= =?"))
	if err != nil {
		return nil // a charset that we do not know is for others to read
	}
	if _, rest, ok := strings.Cut(text, "<"); ok && strings.Contains(rest, "@") {
		if in, _, _ := strings.Cut(rest, ">"); !strings.EqualFold(strings.TrimSpace(in), a.String()) {
			return errors.New("an encoded word hides an address")
		}
	}
	return nil
}

// skipComments skips blanks and comments. A comment with an address in it is refused.
func (p *fromScanner) skipComments() error {
	depth := 0
	for ; p.i < len(p.s); p.i++ {
		switch c := p.s[p.i]; {
		case c == '(':
			if depth++; depth > maxComments {
				return errors.New("comments stand too deep in each other")
			}
		case depth == 0 && c != ' ' && c != '\t':
			return nil
		case depth == 0:
		case c == ')':
			depth--
		case c == '\\':
			p.i++
		case c == '@' || c == '<' || c == '>':
			return errors.New("a comment holds an address")
		case c < ' ' && c != '\t' || c == 0x7f:
			return errors.New("a comment holds a control character")
		}
	}
	if depth > 0 {
		return errors.New("a comment does not end")
	}
	p.i = len(p.s)
	return nil
}

// skipQuoted skips a quoted string (RFC 5322 section 3.2.4).
func (p *fromScanner) skipQuoted() error {
	for p.i++; p.i < len(p.s); p.i++ {
		switch c := p.s[p.i]; {
		case c == '"':
			p.i++
			return nil
		case c == '\\':
			p.i++
		case c < ' ' && c != '\t' || c == 0x7f:
			return errors.New("a quoted string holds a control character")
		}
	}
	return errors.New("a quoted string does not end")
}

// addrSpec reads the address proper, without blanks or comments in it.
func addrSpec(s string) (Address, error) {
	a, err := ParseAddress(s)
	if err != nil {
		return Address{}, err
	}
	if i := strings.Index(a.local, "=?"); i >= 0 && strings.Contains(a.local[i+2:], "?") {
		return Address{}, errors.New("an encoded word in the address") // RFC 2047 section 5
	}
	for _, r := range a.local {
		if strings.ContainsRune("@<>,;:()[]\"\\﹫＠＜＞", r) || r == utf8.RuneError {
			return Address{}, errors.New("the local part holds what could be read as another address")
		}
	}
	return a, nil
}
