package spf

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"stagecoach/rfc/dns"
)

// An evaluation is one run of check_host() (RFC 7208 section 4) with what it counts.
type evaluation struct {
	x             dns.Exchanger
	ip            netip.Addr
	helo          string
	local, domain string // of the sender

	terms, voids, hosts int
	addrs               map[string]found // of MX and PTR names
	names               []string         // of the client, validated; see ptrNames
	namesDone           bool
	problem             error
}

type found struct {
	ips []netip.Addr
	err error
}

// checkHost evaluates the record of domain. It returns the directive that decided.
func (e *evaluation) checkHost(ctx context.Context, domain string) (Result, string) {
	name, ok := queryName(domain)
	if !ok || !strings.Contains(strings.Trim(domain, "."), ".") {
		return None, "" // section 4.3
	}
	texts, err := dns.TXT(ctx, e.x, name)
	if err != nil && !dns.IsNegative(err) {
		return e.fail(TempError, err)
	}
	var records []string
	for _, t := range texts {
		if isRecord(t) {
			records = append(records, t)
		}
	}
	if len(records) == 0 {
		return None, ""
	}
	if len(records) > 1 {
		return e.fail(PermError, fmt.Errorf("%s has %d records", short(domain), len(records)))
	}
	r, err := parseRecord(records[0])
	if err != nil {
		return e.fail(PermError, fmt.Errorf("record of %s: %w", short(domain), err))
	}
	return e.evaluate(ctx, r, domain)
}

func (e *evaluation) fail(r Result, err error) (Result, string) {
	e.problem = err
	return r, ""
}

func (e *evaluation) evaluate(ctx context.Context, r *record, domain string) (Result, string) {
	for _, d := range r.directives {
		match, err := e.match(ctx, d, domain)
		var broken *permanent
		switch {
		case errors.As(err, &broken):
			return e.fail(PermError, err)
		case err != nil:
			return e.fail(TempError, err)
		case match:
			return d.result, d.text
		}
	}
	if r.redirect == nil {
		return Neutral, "default" // section 4.7
	}
	if err := e.countTerm(); err != nil {
		return e.fail(PermError, err)
	}
	target := e.expand(ctx, r.redirect, domain)
	result, by := e.checkHost(ctx, target)
	if result == None { // section 6.1
		return e.fail(PermError, fmt.Errorf("redirect to %s, which has no record", short(target)))
	}
	return result, by
}

// permanent is an error that the domain must mend.
type permanent struct{ text string }

func (p *permanent) Error() string { return p.text }

func (e *evaluation) countTerm() error {
	if e.terms++; e.terms > maxTerms {
		return &permanent{fmt.Sprintf("more than %d terms look something up", maxTerms)}
	}
	return nil
}

func (e *evaluation) countVoid() error {
	if e.voids++; e.voids > maxVoid {
		return &permanent{fmt.Sprintf("more than %d look-ups find nothing", maxVoid)}
	}
	return nil
}

// match evaluates one mechanism (RFC 7208 section 5).
func (e *evaluation) match(ctx context.Context, d directive, domain string) (bool, error) {
	switch d.name {
	case "all":
		return true, nil
	case "ip4", "ip6":
		return d.net.Contains(e.ip), nil
	}
	if err := e.countTerm(); err != nil {
		return false, err
	}
	target := domain
	if d.target != nil {
		target = e.expand(ctx, d.target, domain)
	}
	switch d.name {
	case "include":
		return e.include(ctx, target)
	case "a":
		ips, err := e.lookup(ctx, target, e.family())
		return e.contained(ips, d), err
	case "mx":
		return e.matchMX(ctx, d, target)
	case "ptr":
		for _, name := range e.ptrNames(ctx) {
			if inDomain(name, target) {
				return true, nil
			}
		}
		return false, nil
	case "exists":
		ips, err := e.lookup(ctx, target, dns.TypeA)
		return len(ips) > 0, err
	}
	return false, &permanent{"unknown mechanism"}
}

// include maps the result of another domain's record (RFC 7208 section 5.2).
func (e *evaluation) include(ctx context.Context, target string) (bool, error) {
	switch r, _ := e.checkHost(ctx, target); r {
	case Pass:
		return true, nil
	case TempError:
		return false, e.problem
	case PermError:
		return false, &permanent{e.problem.Error()}
	case None:
		return false, &permanent{fmt.Sprintf("include of %s, which has no record", short(target))}
	default:
		return false, nil
	}
}

// family is the type of address record that a client like ours is compared with.
func (e *evaluation) family() uint16 {
	if e.ip.Is4() {
		return dns.TypeA
	}
	return dns.TypeAAAA
}

// lookup returns the addresses of name. Nothing found is no error, but counts as void. A host
// that has addresses of the other family only is usual, and is not counted.
func (e *evaluation) lookup(ctx context.Context, name string, t uint16) ([]netip.Addr, error) {
	q, ok := queryName(name)
	if !ok { // not a name that could exist
		return nil, e.countVoid()
	}
	a, err := dns.Lookup(ctx, e.x, q, t)
	switch {
	case errors.Is(err, dns.ErrNoData) && t == dns.TypeAAAA:
		return nil, nil
	case dns.IsNegative(err):
		return nil, e.countVoid()
	case err != nil:
		return nil, err
	}
	return dns.Addresses(a), nil
}

func (e *evaluation) contained(ips []netip.Addr, d directive) bool {
	for _, ip := range ips {
		bits := d.bits6
		if ip.Is4() {
			bits = d.bits4
		}
		if netip.PrefixFrom(ip, bits).Contains(e.ip) {
			return true
		}
	}
	return false
}

// matchMX compares with the addresses of the mail servers (RFC 7208 section 5.4).
func (e *evaluation) matchMX(ctx context.Context, d directive, target string) (bool, error) {
	q, ok := queryName(target)
	if !ok {
		return false, e.countVoid()
	}
	servers, err := dns.MX(ctx, e.x, q)
	if dns.IsNegative(err) {
		return false, e.countVoid()
	}
	if err != nil {
		return false, err
	}
	if len(servers) > maxHosts {
		return false, &permanent{fmt.Sprintf("%s has more than %d mail servers", short(target), maxHosts)}
	}
	for _, s := range servers {
		if s.Host == "" {
			continue
		}
		ips, err := e.hostAddrs(ctx, s.Host)
		if err != nil {
			return false, err
		}
		if e.contained(ips, d) {
			return true, nil
		}
	}
	return false, nil
}

var errHosts = &permanent{fmt.Sprintf("more than %d hosts to look up", maxHosts)}

// hostAddrs returns the addresses of an MX or PTR name, each of which is asked for once.
func (e *evaluation) hostAddrs(ctx context.Context, host string) ([]netip.Addr, error) {
	host = dns.Canonical(host)
	if f, ok := e.addrs[host]; ok {
		return f.ips, f.err
	}
	if e.hosts++; e.hosts > maxHosts {
		return nil, errHosts
	}
	var f found
	a, err := dns.Lookup(ctx, e.x, host, e.family())
	if err == nil {
		f.ips = dns.Addresses(a)
	} else if !dns.IsNegative(err) {
		f.err = err
	}
	if e.addrs == nil {
		e.addrs = map[string]found{}
	}
	e.addrs[host] = f
	return f.ips, f.err
}

// ptrNames returns the names of the client that map back to it, of the first ten (RFC 7208
// section 5.5). Failures of DNS leave names out.
func (e *evaluation) ptrNames(ctx context.Context) []string {
	if e.namesDone {
		return e.names
	}
	e.namesDone = true
	names, err := dns.PTR(ctx, e.x, e.ip)
	if err != nil {
		return nil
	}
	for _, name := range names[:min(len(names), maxHosts)] {
		ips, err := e.hostAddrs(ctx, name)
		if errors.Is(err, errHosts) {
			break
		}
		for _, ip := range ips {
			if ip == e.ip {
				e.names = append(e.names, name)
				break
			}
		}
	}
	return e.names
}

// validatedName is the p macro: the domain itself, else a name below it, else any (RFC 7208
// section 7.3).
func (e *evaluation) validatedName(ctx context.Context, domain string) string {
	names := e.ptrNames(ctx)
	for _, name := range names {
		if strings.EqualFold(name, domain) {
			return name
		}
	}
	for _, name := range names {
		if inDomain(name, domain) {
			return name
		}
	}
	if len(names) > 0 {
		return names[0]
	}
	return "unknown"
}

func inDomain(name, domain string) bool {
	q, ok := queryName(domain)
	return ok && dns.IsSubdomain(dns.Canonical(q), dns.Canonical(name))
}

// queryName returns name in the form of zone text, with what is unusual in it escaped, and
// false if no such name can exist.
func queryName(name string) (string, bool) {
	name = strings.TrimSuffix(name, ".")
	if name == "" || len(name) > 253 {
		return "", false
	}
	var b strings.Builder
	label := 0
	for i := 0; i < len(name); i++ {
		c := name[i]
		if c == '.' {
			if label == 0 {
				return "", false
			}
			label = 0
			b.WriteByte('.')
			continue
		}
		if label++; label > 63 {
			return "", false
		}
		if isAlpha(c) || isDigit(c) || c == '-' || c == '_' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, `\%03d`, c)
		}
	}
	return b.String(), label > 0
}
