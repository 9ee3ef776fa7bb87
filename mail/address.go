package mail

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// An Address is a mailbox in one canonical form, so that == compares: the local part
// without its quoting, the domain in lower-case A-labels or an address literal. It is built
// once, where text enters, by ParseAddress or NewAddress. The zero Address is the null
// path <>.
//
// ParseAddress(a.String()) gives a again for every Address.
type Address struct {
	local  string
	domain string
}

// The limits of RFC 5321 section 4.5.3.1.
const (
	MaxLocal  = 64
	MaxDomain = 255
)

// ParseAddress reads a Mailbox as RFC 5321 section 4.1.2 and RFC 6531 section 3.3 have it:
// local-part "@" domain or address literal, without angle brackets, source route, comment
// or white space. A local part that needs no quotes loses them.
func ParseAddress(s string) (Address, error) {
	local, rest, err := cutLocal(s)
	if err != nil {
		return Address{}, fmt.Errorf("address %q: %w", shorten(s), err)
	}
	if !strings.HasPrefix(rest, "@") {
		return Address{}, fmt.Errorf("address %q: no @ after the local part", shorten(s))
	}
	a, err := NewAddress(local, rest[1:])
	if err != nil {
		return Address{}, fmt.Errorf("address %q: %w", shorten(s), err)
	}
	return a, nil
}

// MustParseAddress is ParseAddress for constants and tests: it panics on an error.
func MustParseAddress(s string) Address {
	a, err := ParseAddress(s)
	if err != nil {
		panic(err)
	}
	return a
}

// NewAddress makes an Address of an unquoted local part and a domain as written.
func NewAddress(local, domain string) (Address, error) {
	if err := checkLocal(local); err != nil {
		return Address{}, err
	}
	d, err := CanonicalDomain(domain)
	if err != nil {
		return Address{}, err
	}
	return Address{local, d}, nil
}

// Local returns the local part without quoting. Its case is as the sender wrote it.
func (a Address) Local() string { return a.local }

// Domain returns the domain in lower-case A-labels, or a literal as "[192.0.2.1]" or
// "[IPv6:2001:db8::1]".
func (a Address) Domain() string { return a.domain }

// IsZero reports whether a is the null path.
func (a Address) IsZero() bool { return a == Address{} }

// IsASCII reports whether a can be sent without SMTPUTF8.
func (a Address) IsASCII() bool {
	for i := 0; i < len(a.local); i++ {
		if a.local[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// Literal returns the IP address of an address literal.
func (a Address) Literal() (netip.Addr, bool) {
	d := a.domain
	if !strings.HasPrefix(d, "[") {
		return netip.Addr{}, false
	}
	d = strings.TrimPrefix(d[1:len(d)-1], "IPv6:")
	ip, err := netip.ParseAddr(d)
	return ip, err == nil
}

// String returns the mailbox as it stands between angle brackets on the wire, quoted where
// the grammar asks for it, "" for the null path.
func (a Address) String() string {
	if a.IsZero() {
		return ""
	}
	return quoteLocal(a.local) + "@" + a.domain
}

// Unicode returns the mailbox with its domain in U-labels, for people to read.
func (a Address) Unicode() string {
	if a.IsZero() {
		return ""
	}
	d, err := idna.Lookup.ToUnicode(a.domain)
	if err != nil || strings.HasPrefix(a.domain, "[") {
		d = a.domain
	}
	return quoteLocal(a.local) + "@" + d
}

// MarshalText returns String, so that addresses stand in JSON and TOML as text.
func (a Address) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (a *Address) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*a = Address{}
		return nil
	}
	p, err := ParseAddress(string(b))
	if err == nil {
		*a = p
	}
	return err
}

func cutLocal(s string) (local, rest string, err error) {
	if !strings.HasPrefix(s, `"`) {
		i := strings.IndexByte(s, '@')
		if i < 0 {
			return "", "", errors.New("no @")
		}
		if !isDotString(s[:i]) {
			return "", "", errors.New("the local part has a character that needs quotes, or a dot out of place")
		}
		return s[:i], s[i:], nil
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return b.String(), s[i+1:], nil
		case c == '\\':
			i++
			if i == len(s) || s[i] < ' ' || s[i] > '~' {
				return "", "", errors.New(`nothing to quote after "\"`)
			}
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", "", errors.New("the quoted local part does not end")
}

func checkLocal(local string) error {
	switch {
	case local == "":
		// RFC 5321 allows "", but no one can use it, and it is the mark of our null path.
		return errors.New("the local part is empty")
	case len(local) > MaxLocal:
		return fmt.Errorf("the local part is longer than %d octets", MaxLocal)
	case !utf8.ValidString(local):
		return errors.New("the local part is not UTF-8")
	}
	for _, r := range local {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) || r == 0x2028 || r == 0x2029 || r == utf8.RuneError {
			return errors.New("the local part has a control character")
		}
	}
	return nil
}

func isDotString(s string) bool {
	if s == "" || s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, "..") {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; c != '.' && c < utf8.RuneSelf && !isAtext(c) {
			return false
		}
	}
	return true
}

func isAtext(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

func quoteLocal(s string) string {
	if isDotString(s) {
		return s
	}
	var b strings.Builder
	b.WriteByte('"')
	for i := 0; i < len(s); i++ {
		if s[i] == '"' || s[i] == '\\' {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	b.WriteByte('"')
	return b.String()
}

// shorten keeps error texts and log lines short when the input is hostile.
func shorten(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}
