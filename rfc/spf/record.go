package spf

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// A record is a parsed SPF record (RFC 7208 section 4.5).
type record struct {
	directives []directive
	redirect   domainSpec // nil when there is none
}

// A directive is a mechanism with what a match of it means.
type directive struct {
	text   string // as written
	result Result
	name   string // lower case
	target domainSpec
	bits4  int // of a dual-cidr-length
	bits6  int
	net    netip.Prefix // of ip4 and ip6
}

// isRecord reports whether text is an SPF record of the version that we know.
func isRecord(text string) bool {
	const version = "v=spf1"
	return len(text) >= len(version) && strings.EqualFold(text[:len(version)], version) &&
		(len(text) == len(version) || text[len(version)] == ' ')
}

// parseRecord reads a record for which isRecord is true. An error anywhere makes all of it
// void (RFC 7208 section 4.6).
func parseRecord(text string) (*record, error) {
	r := new(record)
	explained := false
	for i, term := range strings.Split(text, " ") {
		if i == 0 || term == "" {
			continue
		}
		for j := 0; j < len(term); j++ {
			if term[j] < ' ' || term[j] > '~' {
				return nil, errors.New("the record is not ASCII text")
			}
		}
		name, value, ok := modifier(term)
		if !ok {
			d, err := parseDirective(term)
			if err != nil {
				return nil, fmt.Errorf("%q: %w", short(term), err)
			}
			r.directives = append(r.directives, d)
			continue
		}
		if err := r.modify(name, value, &explained); err != nil {
			return nil, fmt.Errorf("%q: %w", short(term), err)
		}
	}
	return r, nil
}

// modifier splits name "=" macro-string, if term is that (RFC 7208 section 4.6.1).
func modifier(term string) (name, value string, ok bool) {
	if !isAlpha(term[0]) {
		return "", "", false
	}
	for i := 1; i < len(term); i++ {
		c := term[i]
		if c == '=' {
			return strings.ToLower(term[:i]), term[i+1:], true
		}
		if !isAlpha(c) && !isDigit(c) && c != '-' && c != '_' && c != '.' {
			break
		}
	}
	return "", "", false
}

func (r *record) modify(name, value string, explained *bool) error {
	switch name {
	case "redirect":
		if r.redirect != nil {
			return errors.New("stands twice")
		}
		ds, err := parseDomainSpec(value)
		r.redirect = ds
		return err
	case "exp":
		if *explained {
			return errors.New("stands twice")
		}
		*explained = true
		_, err := parseDomainSpec(value)
		return err
	}
	_, err := parseMacroString(value, "slodiphvcrt")
	return err
}

func parseDirective(term string) (directive, error) {
	d := directive{text: term, result: Pass, bits4: 32, bits6: 128}
	switch term[0] {
	case '-':
		d.result = Fail
	case '~':
		d.result = SoftFail
	case '?':
		d.result = Neutral
	}
	if strings.IndexByte("+-~?", term[0]) >= 0 {
		term = term[1:]
	}
	end := strings.IndexAny(term, ":/")
	if end < 0 {
		end = len(term)
	}
	d.name = strings.ToLower(term[:end])
	return d, d.parseArgs(term[end:])
}

// parseArgs reads what follows the name of the mechanism: ":" argument, "/" lengths, or both.
func (d *directive) parseArgs(args string) (err error) {
	switch d.name {
	case "all":
		if args != "" {
			return errors.New("\"all\" takes no argument")
		}
		return nil
	case "ip4", "ip6":
		return d.parseNet(args)
	case "a", "mx":
		if args, err = d.cutLengths(args); err != nil || args == "" {
			return err
		}
	case "ptr":
		if args == "" {
			return nil
		}
	case "include", "exists":
	default:
		return errors.New("unknown mechanism")
	}
	spec, ok := strings.CutPrefix(args, ":")
	if !ok {
		return errors.New("an argument is missing or out of place")
	}
	d.target, err = parseDomainSpec(spec)
	return err
}

// parseNet reads the network of ip4 and ip6 (RFC 7208 section 5.6).
func (d *directive) parseNet(args string) error {
	s, ok := strings.CutPrefix(args, ":")
	if !ok {
		return errors.New("the address is missing")
	}
	addr, length, hasLength := strings.Cut(s, "/")
	ip, err := netip.ParseAddr(addr)
	if err != nil || ip.Is4() != (d.name == "ip4") || ip.Zone() != "" {
		return errors.New("no such address")
	}
	bits := ip.BitLen()
	if hasLength {
		if bits, err = parseLength(length, ip.BitLen()); err != nil {
			return err
		}
	}
	d.net = netip.PrefixFrom(ip, bits)
	return nil
}

// cutLengths reads a dual-cidr-length off the end of args (RFC 7208 section 5.3).
func (d *directive) cutLengths(args string) (rest string, err error) {
	if i := strings.LastIndex(args, "//"); i >= 0 && isDigits(args[i+2:]) {
		if d.bits6, err = parseLength(args[i+2:], 128); err != nil {
			return "", err
		}
		args = args[:i]
	}
	if i := strings.LastIndexByte(args, '/'); i >= 0 && isDigits(args[i+1:]) {
		if d.bits4, err = parseLength(args[i+1:], 32); err != nil {
			return "", err
		}
		args = args[:i]
	}
	return args, nil
}

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

func parseLength(s string, limit int) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || !isDigits(s) || n > limit || len(s) > 1 && s[0] == '0' {
		return 0, errors.New("the prefix length is out of range")
	}
	return n, nil
}

// short keeps error texts short when the input is hostile.
func short(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}
