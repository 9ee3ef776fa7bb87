package dkim

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"stagecoach/mail"
)

// A signature is the content of a DKIM-Signature field (RFC 6376 section 3.5).
type signature struct {
	algorithm string // lower case
	domain    string // canonical
	selector  string // lower case
	identity  string
	idDomain  string // the domain of identity, canonical
	header    Canon
	body      Canon
	fields    []string // h=, lower case
	digest    []byte   // bh=
	value     []byte   // b=
	prefix    string   // of b=, as text
	length    int64    // l=, -1 for none
	expires   int64    // x=, seconds since 1970, -1 for none
	dns       bool     // q= leaves dns/txt as a way
	bTag      tag      // where b= stands in the field's body
}

// parseSignature reads the body of a DKIM-Signature field. What it returns besides an error
// holds as much as could be told safely.
func parseSignature(body string) (*signature, error) {
	s := &signature{length: -1, expires: -1}
	tags, err := parseTags(body)
	if err != nil {
		return s, err
	}
	for _, t := range tags {
		if t.name == "b" {
			s.bTag = t
			s.prefix = dropFWS(t.value)
			s.prefix = s.prefix[:min(8, len(s.prefix))]
		}
	}
	for _, name := range []string{"v", "a", "b", "bh", "d", "h", "s"} {
		if v, _ := tags.find(name); v == "" {
			return s, fmt.Errorf("no %s= in it", name)
		}
	}
	if v, _ := tags.find("v"); v != "1" {
		return s, errors.New("unknown version")
	}
	if err := s.readNames(tags); err != nil {
		return s, err
	}
	if err := s.readHow(tags); err != nil {
		return s, err
	}
	return s, s.readNumbers(tags)
}

// readNames takes who signed: d=, s= and i=.
func (s *signature) readNames(tags tagList) error {
	var err error
	d, _ := tags.find("d")
	if s.domain, err = mail.CanonicalDomain(d); err != nil || strings.HasPrefix(d, "[") {
		s.domain = ""
		return errors.New("d= is no domain name")
	}
	sel, _ := tags.find("s")
	if s.selector, err = canonicalSelector(sel); err != nil {
		return err
	}
	if len(s.selector)+len("._domainkey.")+len(s.domain) > 253 {
		return errors.New("the name of the key is too long")
	}
	return s.readIdentity(tags.get("i", "@"+s.domain))
}

// readIdentity takes i=: [local part] "@" domain, where the domain is d= or below it.
func (s *signature) readIdentity(i string) error {
	text, err := decodeQP(dropFWS(i))
	if err != nil {
		return err
	}
	at := strings.LastIndexByte(text, '@')
	if at < 0 {
		return errors.New("i= has no @")
	}
	domain, err := mail.CanonicalDomain(text[at+1:])
	if err != nil {
		return errors.New("the domain of i= is no domain name")
	}
	if domain != s.domain && !strings.HasSuffix(domain, "."+s.domain) {
		return errors.New("the domain of i= is not within d=")
	}
	s.identity, s.idDomain = text[:at+1]+domain, domain
	return nil
}

// readHow takes how it was signed: a=, c=, h=, q=, bh= and b=.
func (s *signature) readHow(tags tagList) (err error) {
	s.algorithm = strings.ToLower(tags.get("a", ""))
	if s.header, s.body, err = parseCanon(tags.get("c", "simple/simple")); err != nil {
		return err
	}
	for _, name := range splitList(tags.get("h", "")) {
		if name == "" {
			return errors.New("h= has an empty name")
		}
		s.fields = append(s.fields, lowerName(name))
	}
	s.dns = contains(tags.get("q", "dns/txt"), "dns/txt")
	if s.digest, err = decodeBase64(tags.get("bh", "")); err != nil {
		return errors.New("bh= is no base64")
	}
	if s.value, err = decodeBase64(tags.get("b", "")); err != nil {
		return errors.New("b= is no base64")
	}
	return nil
}

func (s *signature) readNumbers(tags tagList) (err error) {
	if s.length, err = number(tags, "l", 76); err != nil {
		return err
	}
	if s.expires, err = number(tags, "x", 12); err != nil {
		return err
	}
	signed, err := number(tags, "t", 12)
	if err != nil {
		return err
	}
	if s.expires >= 0 && s.expires < signed {
		return errors.New("it expires before it was made")
	}
	return nil
}

// number reads a decimal number of at most so many digits, -1 when the tag is missing. One
// that is larger than int64 reads as the largest.
func number(tags tagList, name string, digits int) (int64, error) {
	v, ok := tags.find(name)
	if !ok {
		return -1, nil
	}
	if v == "" || len(v) > digits || strings.Trim(v, "0123456789") != "" {
		return 0, fmt.Errorf("%s= is no number", name)
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		return math.MaxInt64, nil
	}
	return n, nil
}

func parseCanon(s string) (header, body Canon, err error) {
	h, b, ok := strings.Cut(strings.ToLower(dropFWS(s)), "/")
	if !ok {
		b = "simple"
	}
	known := map[string]Canon{"simple": Simple, "relaxed": Relaxed}
	header, ok1 := known[h]
	body, ok2 := known[b]
	if !ok1 || !ok2 {
		return 0, 0, errors.New("unknown canonicalisation")
	}
	return header, body, nil
}

// canonicalSelector checks a selector (RFC 6376 section 3.1: sub-domains, of which many have
// an underscore in the wild) and returns it in lower-case A-labels.
func canonicalSelector(s string) (string, error) {
	bad := errors.New("s= is no selector")
	plain := strings.ReplaceAll(s, "_", "x") // in length and place like a letter
	canonical, err := mail.CanonicalDomain(plain)
	if err != nil || strings.HasPrefix(s, "[") {
		return "", bad
	}
	if plain == s {
		return canonical, nil
	}
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return "", bad
		}
	}
	return strings.ToLower(s), nil
}

// decodeQP decodes dkim-quoted-printable (RFC 6376 section 2.11). What decodes to a control
// character is an error.
func decodeQP(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '=' {
			if i+2 >= len(s) {
				return "", errors.New("i= is not well encoded")
			}
			n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil {
				return "", errors.New("i= is not well encoded")
			}
			c, i = byte(n), i+2
		}
		if c < ' ' || c == 0x7f {
			return "", errors.New("i= has a control character")
		}
		b.WriteByte(c)
	}
	return strings.ToValidUTF8(b.String(), "\uFFFD"), nil
}
