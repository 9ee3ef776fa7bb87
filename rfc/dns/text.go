package dns

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// DefaultTTL is what a record in zone text gets that neither has a TTL nor stands below a
// $TTL or a SOA.
const DefaultTTL = 3600

// ParseRR reads one record in zone text, with names relative to the root. The TTL may be
// missing.
func ParseRR(s string) (RR, error) {
	rrs, err := ParseZone(strings.NewReader(s), ".")
	if err != nil {
		return nil, err
	}
	if len(rrs) != 1 {
		return nil, fmt.Errorf("%d records where one was expected", len(rrs))
	}
	return rrs[0], nil
}

// MustParseRR is ParseRR for constants and tests: it panics on an error.
func MustParseRR(s string) RR {
	rr, err := ParseRR(s)
	if err != nil {
		panic(err)
	}
	return rr
}

// ParseZone reads zone text (RFC 1035 section 5.1, RFC 2308 section 4 for $TTL), with names
// relative to origin until an $ORIGIN. $INCLUDE and $GENERATE are refused: the first would
// read files, the second makes much out of little. The first error ends it and names its line.
func ParseZone(r io.Reader, origin string) ([]RR, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	if line, ok := findDirective(string(text), "$GENERATE"); ok {
		return nil, fmt.Errorf("line %d: $GENERATE is not supported", line)
	}
	p := dns.NewZoneParser(strings.NewReader(string(text)), dns.Fqdn(origin), "")
	p.SetDefaultTTL(DefaultTTL)
	var rrs []RR
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		same, err := normal(rr)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", rr.Header().Name, TypeName(rr.Header().Rrtype), err)
		}
		rrs = append(rrs, same)
	}
	if err := p.Err(); err != nil {
		return nil, fmt.Errorf("zone text: %s", strings.TrimPrefix(err.Error(), "dns: "))
	}
	return rrs, nil
}

// ParseEntry reads one entry of zone text, which may go over several lines within parentheses,
// with names relative to origin and a TTL for an entry that has none. The error does not name
// a line.
func ParseEntry(s, origin string, ttl uint32) (RR, error) {
	p := dns.NewZoneParser(strings.NewReader(s), dns.Fqdn(origin), "")
	p.SetDefaultTTL(ttl)
	rr, ok := p.Next()
	if err := p.Err(); err != nil {
		text, _, _ := strings.Cut(strings.TrimPrefix(err.Error(), "dns: "), " at line:")
		return nil, errors.New(text)
	}
	if !ok {
		return nil, errors.New("no record")
	}
	return normal(rr)
}

// normal returns a record as if it had come over the wire, so that Equal compares: text has
// many ways to write one thing. It also catches what the grammar lets through and the wire
// cannot hold.
func normal(rr RR) (RR, error) {
	buf := make([]byte, dns.Len(rr)+64)
	n, err := dns.PackRR(rr, buf, 0, nil, false)
	if err != nil {
		return nil, errors.New("does not fit the wire format")
	}
	back, _, err := dns.UnpackRR(buf[:n], 0)
	if err != nil {
		return nil, errors.New("does not fit the wire format")
	}
	if _, empty := back.(*Header); empty {
		return rr, nil
	}
	return back, nil
}

func findDirective(text, directive string) (int, bool) {
	n := 0
	for line := range strings.Lines(text) {
		n++
		if len(line) >= len(directive) && strings.EqualFold(line[:len(directive)], directive) {
			return n, true
		}
	}
	return 0, false
}

func parseTypeNumber(s string) (uint16, bool) {
	digits, ok := strings.CutPrefix(s, "TYPE")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	return uint16(n), err == nil
}

// Copy returns a record that shares nothing with rr.
func Copy(rr RR) RR { return dns.Copy(rr) }

// Equal reports whether two records have the same name, class, type and data; the TTL does
// not count, nor the case of names (RFC 2181 section 5, RFC 4343).
func Equal(a, b RR) bool { return dns.IsDuplicate(a, b) }

// Data returns the data of a record in zone text, without name, TTL, class and type.
func Data(rr RR) string {
	if u, ok := rr.(*UnknownRecord); ok {
		return fmt.Sprintf(`\# %d %s`, len(u.Rdata)/2, u.Rdata)
	}
	return strings.TrimPrefix(rr.String(), rr.Header().String())
}
