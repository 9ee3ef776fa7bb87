package spf

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// A domainSpec is a parsed domain-spec or macro-string (RFC 7208 section 7.1).
type domainSpec []piece

// A piece is literal text, or a macro when letter is not 0.
type piece struct {
	text    string
	letter  byte // lower case
	escape  bool // the letter was upper case: URL-escape
	keep    int  // how many parts to keep from the right, 0 for all
	reverse bool
	delims  string
}

var errDomainSpec = errors.New("a domain-spec is malformed")

// parseDomainSpec reads a domain-spec: a macro-string that ends in a macro or a top label.
func parseDomainSpec(s string) (domainSpec, error) {
	ds, err := parseMacroString(s, "slodiphv")
	if err != nil {
		return nil, err
	}
	if len(ds) == 0 {
		return nil, errDomainSpec
	}
	if last := ds[len(ds)-1]; last.letter == 0 && !endsInTopLabel(s, last.text) {
		return nil, errDomainSpec
	}
	return ds, nil
}

// endsInTopLabel checks domain-end, where tail is what follows the last macro.
func endsInTopLabel(s, tail string) bool {
	if strings.HasSuffix(s, "%%") || strings.HasSuffix(s, "%_") || strings.HasSuffix(s, "%-") {
		return true // a macro-expand too
	}
	tail = strings.TrimSuffix(tail, ".")
	i := strings.LastIndexByte(tail, '.')
	if i < 0 {
		return false
	}
	label := tail[i+1:]
	alpha := false
	for j := 0; j < len(label); j++ {
		c := label[j]
		if !isAlpha(c) && !isDigit(c) && c != '-' {
			return false
		}
		alpha = alpha || !isDigit(c)
	}
	return alpha && label[0] != '-' && label[len(label)-1] != '-'
}

func isAlpha(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// parseMacroString reads a macro-string that uses the given macro letters.
func parseMacroString(s, letters string) (domainSpec, error) {
	var ds domainSpec
	var text strings.Builder
	flush := func() {
		if text.Len() > 0 {
			ds = append(ds, piece{text: text.String()})
			text.Reset()
		}
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c <= ' ' || c > '~' {
			return nil, errDomainSpec
		}
		if c != '%' {
			text.WriteByte(c)
			continue
		}
		if i++; i == len(s) {
			return nil, errDomainSpec
		}
		switch s[i] {
		case '%':
			text.WriteByte('%')
		case '_':
			text.WriteByte(' ')
		case '-':
			text.WriteString("%20")
		case '{':
			end := strings.IndexByte(s[i:], '}')
			if end < 0 {
				return nil, errDomainSpec
			}
			p, err := parseMacro(s[i+1:i+end], letters)
			if err != nil {
				return nil, err
			}
			flush()
			ds = append(ds, p)
			i += end
		default:
			return nil, errDomainSpec
		}
	}
	flush()
	return ds, nil
}

// parseMacro reads what stands between the braces.
func parseMacro(s, letters string) (piece, error) {
	if s == "" {
		return piece{}, errDomainSpec
	}
	p := piece{letter: s[0] | 0x20, escape: s[0] >= 'A' && s[0] <= 'Z'}
	if !isAlpha(s[0]) || strings.IndexByte(letters, p.letter) < 0 {
		return piece{}, errDomainSpec
	}
	s = s[1:]
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	if n > 0 {
		keep, err := strconv.Atoi(s[:n])
		if err != nil || keep == 0 {
			return piece{}, errDomainSpec
		}
		p.keep, s = keep, s[n:]
	}
	if s != "" && s[0]|0x20 == 'r' {
		p.reverse, s = true, s[1:]
	}
	if strings.Trim(s, ".-+,/_=") != "" {
		return piece{}, errDomainSpec
	}
	p.delims = s
	return p, nil
}

// expand returns the text of ds as a name to ask for: without a final dot, and short enough
// for a name, for which labels go on the left (RFC 7208 section 7.3).
func (e *evaluation) expand(ctx context.Context, ds domainSpec, domain string) string {
	var b strings.Builder
	for _, p := range ds {
		if p.letter == 0 {
			b.WriteString(p.text)
			continue
		}
		b.WriteString(p.transform(e.macro(ctx, p.letter, domain)))
	}
	s := strings.TrimSuffix(b.String(), ".")
	for len(s) > 253 {
		_, rest, ok := strings.Cut(s, ".")
		if !ok {
			return ""
		}
		s = rest
	}
	return s
}

func (e *evaluation) macro(ctx context.Context, letter byte, domain string) string {
	switch letter {
	case 's':
		return e.local + "@" + e.domain
	case 'l':
		return e.local
	case 'o':
		return e.domain
	case 'd':
		return domain
	case 'i':
		return dotted(e.ip)
	case 'p':
		return e.validatedName(ctx, domain)
	case 'v':
		if e.ip.Is4() {
			return "in-addr"
		}
		return "ip6"
	case 'h':
		return e.helo
	}
	return ""
}

// dotted is the address as the i macro has it: nibbles for IPv6.
func dotted(ip netip.Addr) string {
	if ip.Is4() {
		return ip.String()
	}
	const hex = "0123456789abcdef"
	out := make([]byte, 0, 64)
	for _, b := range ip.As16() {
		out = append(out, hex[b>>4], '.', hex[b&15], '.')
	}
	return string(out[:len(out)-1])
}

func (p piece) transform(s string) string {
	if p.keep > 0 || p.reverse || p.delims != "" {
		delims := p.delims
		if delims == "" {
			delims = "."
		}
		parts := splitAny(s, delims)
		if p.reverse {
			slices.Reverse(parts)
		}
		if p.keep > 0 && p.keep < len(parts) {
			parts = parts[len(parts)-p.keep:]
		}
		s = strings.Join(parts, ".")
	}
	if p.escape {
		return escapeURL(s)
	}
	return s
}

func splitAny(s, delims string) []string {
	var parts []string
	for {
		i := strings.IndexAny(s, delims)
		if i < 0 {
			return append(parts, s)
		}
		parts = append(parts, s[:i])
		s = s[i+1:]
	}
}

// escapeURL escapes all that RFC 3986 section 2.3 does not call unreserved.
func escapeURL(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if isAlpha(c) || isDigit(c) || strings.IndexByte("-._~", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		const hex = "0123456789ABCDEF"
		b.Write([]byte{'%', hex[c>>4], hex[c&15]})
	}
	return b.String()
}
