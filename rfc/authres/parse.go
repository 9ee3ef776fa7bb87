package authres

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// What a field may hold at most. More than that nobody writes honestly.
const (
	maxResults  = 100
	maxProps    = 50
	maxComments = 16 // comments in each other
)

// Parse reads the body of an Authentication-Results field, folded or not. Comments are
// dropped, but for the one behind a result's value. Results of a version that is not 1 are an
// error (RFC 8601 section 2.2).
//
// Parse(r.String()) gives r again for every r that Parse returns.
func Parse(body string) (Results, error) {
	r, err := parse(body)
	if err != nil {
		return Results{}, fmt.Errorf("%s: %w", FieldName, err)
	}
	return r, nil
}

func parse(body string) (Results, error) {
	p := newParser(body)
	var r Results
	var err error
	if r.ID, r.Version, err = p.head(); err != nil {
		return r, err
	}
	if r.Version > 1 {
		return r, fmt.Errorf("version %d is unknown", r.Version)
	}
	for {
		switch c, err := p.next(); {
		case err != nil:
			return r, err
		case c == 0 && len(r.Results) == 0:
			return r, errors.New("no result and no \"none\"")
		case c == 0:
			return r, nil
		case c != ';':
			return r, fmt.Errorf("%q out of place", c)
		}
		p.i++
		c, err := p.next()
		if err != nil {
			return r, err
		}
		if c == 0 && len(r.Results) > 0 { // a final ";" that some write
			return r, nil
		}
		if len(r.Results) == maxResults {
			return r, errors.New("too many results")
		}
		res, none, err := p.result()
		if err != nil {
			return r, err
		}
		if none {
			if c, err := p.next(); err != nil || c != 0 || len(r.Results) > 0 {
				return r, errors.New("\"none\" does not stand alone")
			}
			return r, nil
		}
		r.Results = append(r.Results, res)
	}
}

type parser struct {
	s string // unfolded, with blanks for tabs
	i int
}

func newParser(body string) *parser {
	return &parser{s: strings.NewReplacer("\r\n", "", "\t", " ").Replace(body)}
}

// head reads the authserv-id and the version.
func (p *parser) head() (id string, version int, err error) {
	if _, err := p.next(); err != nil {
		return "", 0, err
	}
	if id, err = p.value(); err != nil {
		return "", 0, fmt.Errorf("authserv-id: %w", err)
	}
	if id == "" {
		return "", 0, errors.New("authserv-id: empty")
	}
	c, err := p.next()
	if err != nil {
		return "", 0, err
	}
	if c >= '0' && c <= '9' {
		if version, err = p.number(); err != nil {
			return "", 0, err
		}
	}
	return id, version, nil
}

// next skips CFWS and returns the octet behind it, 0 at the end.
func (p *parser) next() (byte, error) {
	_, c, err := p.cfws()
	return c, err
}

// cfws skips CFWS, and returns the text of the first comment in it and the octet behind.
func (p *parser) cfws() (comment string, next byte, err error) {
	for p.i < len(p.s) {
		switch c := p.s[p.i]; c {
		case ' ':
			p.i++
		case '(':
			text, err := p.comment()
			if err != nil {
				return "", 0, err
			}
			if comment == "" {
				comment = text
			}
		default:
			return comment, c, nil
		}
	}
	return comment, 0, nil
}

func (p *parser) comment() (string, error) {
	var b strings.Builder
	depth := 0
	for ; p.i < len(p.s); p.i++ {
		c := p.s[p.i]
		switch {
		case c == '\\' && p.i+1 < len(p.s) && !isControl(p.s[p.i+1]):
			p.i++
			b.WriteByte(p.s[p.i])
			continue
		case isControl(c) || c == '\\':
			return "", errors.New("control character in a comment")
		case c == '(':
			if depth++; depth > maxComments {
				return "", errors.New("comments stand too deep in each other")
			}
			if depth == 1 {
				continue
			}
		case c == ')':
			if depth--; depth == 0 {
				p.i++
				return b.String(), nil
			}
		}
		b.WriteByte(c)
	}
	return "", errors.New("a comment does not end")
}

func isControl(c byte) bool { return c < ' ' || c == 0x7f }

// value reads a token or a quoted string.
func (p *parser) value() (string, error) {
	if p.i < len(p.s) && p.s[p.i] == '"' {
		return p.quoted()
	}
	start := p.i
	for p.i < len(p.s) && isTokenByte(p.s[p.i]) {
		p.i++
	}
	if p.i == start {
		return "", errors.New("a value is missing")
	}
	return p.s[start:p.i], nil
}

func (p *parser) quoted() (string, error) {
	var b strings.Builder
	for p.i++; p.i < len(p.s); p.i++ {
		c := p.s[p.i]
		if c == '"' {
			p.i++
			return b.String(), nil
		}
		if c == '\\' && p.i+1 < len(p.s) {
			p.i++
			c = p.s[p.i]
		}
		if isControl(c) {
			return "", errors.New("control character in a quoted string")
		}
		b.WriteByte(c)
	}
	return "", errors.New("a quoted string does not end")
}

// pvalue reads a value, or an address or "@" domain whose parts are tokens or quoted.
func (p *parser) pvalue() (string, error) {
	if _, err := p.next(); err != nil {
		return "", err
	}
	// A bare value is read on over what a token cannot hold but real fields do not quote:
	// IPv6 addresses, base64, addresses.
	if p.i < len(p.s) && p.s[p.i] == '"' {
		v, err := p.quoted()
		if err != nil || p.i == len(p.s) || p.s[p.i] != '@' {
			return v, err
		}
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v) + `"` + p.bare(), nil
	}
	v := p.bare()
	if v == "" {
		return "", errors.New("a property has no value")
	}
	return v, nil
}

func (p *parser) bare() string {
	start := p.i
	for p.i < len(p.s) && (isTokenByte(p.s[p.i]) || strings.IndexByte("@:/=[]<>,?", p.s[p.i]) >= 0) {
		p.i++
	}
	return p.s[start:p.i]
}

func (p *parser) number() (int, error) {
	start := p.i
	for p.i < len(p.s) && p.s[p.i] >= '0' && p.s[p.i] <= '9' {
		p.i++
	}
	n, err := strconv.Atoi(p.s[start:p.i])
	if err != nil || p.i-start > 4 || n == 0 {
		return 0, errors.New("a version is out of range")
	}
	return n, nil
}

func (p *parser) keyword() (string, error) {
	start := p.i
	for p.i < len(p.s) && isKeywordByte(p.s[p.i]) {
		p.i++
	}
	s := p.s[start:p.i]
	if s == "" || s[0] == '-' || s[len(s)-1] == '-' {
		return "", errors.New("a name is missing")
	}
	return strings.ToLower(s), nil
}

// expect reads CFWS and the octet c.
func (p *parser) expect(c byte) error {
	got, err := p.next()
	if err != nil {
		return err
	}
	if got != c {
		return fmt.Errorf("%q is missing", c)
	}
	p.i++
	return nil
}

// result reads a resinfo without its semicolon, or "none".
func (p *parser) result() (r Result, none bool, err error) {
	if r.Method, err = p.keyword(); err != nil {
		return r, false, err
	}
	c, err := p.next()
	if err != nil {
		return r, false, err
	}
	if c == 0 && r.Method == "none" {
		return r, true, nil
	}
	if c == '/' {
		p.i++
		if _, err := p.next(); err != nil {
			return r, false, err
		}
		if r.Version, err = p.number(); err != nil {
			return r, false, err
		}
	}
	if err := p.expect('='); err != nil {
		return r, false, err
	}
	if _, err := p.next(); err != nil {
		return r, false, err
	}
	if r.Value, err = p.keyword(); err != nil {
		return r, false, err
	}
	if r.Comment, c, err = p.cfws(); err != nil {
		return r, false, err
	}
	for first := true; c != 0 && c != ';'; first = false {
		if err := p.spec(&r, first); err != nil {
			return r, false, err
		}
		if c, err = p.next(); err != nil {
			return r, false, err
		}
	}
	return r, false, nil
}

// spec reads a reasonspec, which only comes first, or a propspec.
func (p *parser) spec(r *Result, first bool) error {
	name, err := p.keyword()
	if err != nil {
		return err
	}
	c, err := p.next()
	if err != nil {
		return err
	}
	if c == '=' && name == "reason" && first {
		p.i++
		if _, err := p.next(); err != nil {
			return err
		}
		r.Reason, err = p.value()
		return err
	}
	if err := p.expect('.'); err != nil {
		return err
	}
	if _, err := p.next(); err != nil {
		return err
	}
	prop := Prop{Type: name}
	if prop.Name, err = p.keyword(); err != nil {
		return err
	}
	if err := p.expect('='); err != nil {
		return err
	}
	if prop.Value, err = p.pvalue(); err != nil {
		return err
	}
	if len(r.Props) == maxProps {
		return errors.New("too many properties")
	}
	r.Props = append(r.Props, prop)
	return nil
}
