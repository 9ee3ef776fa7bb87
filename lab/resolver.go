package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"stagecoach/rfc/dns"
)

// A resolver walks from the root to the zone that knows the answer, over the wire, and
// remembers it for its TTL or until the lab changes a zone. It does not validate.
type resolver struct {
	roots []netip.Addr
	port  uint16

	mu      sync.Mutex
	answers map[dns.Question]remembered
	cuts    map[string]referral
	era     int // counts forget: an answer from before it is not kept
}

type remembered struct {
	msg   *dns.Msg
	until time.Time
}

type referral struct {
	servers []netip.Addr
	until   time.Time
}

var _ dns.Exchanger = (*resolver)(nil)

var errWalk = errors.New("the walk from the root does not end")

const maxRemembered = 50_000

func newResolver(port uint16, roots ...netip.Addr) *resolver {
	r := &resolver{roots: roots, port: port}
	r.forget()
	return r
}

// forget empties the cache.
func (r *resolver) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answers, r.cuts = make(map[dns.Question]remembered), make(map[string]referral)
	r.era++
}

// Exchange answers with what the walk finds; SERVFAIL if it finds nothing.
func (r *resolver) Exchange(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
	if len(q.Question) != 1 || q.Opcode != dns.OpcodeQuery {
		return dns.NewResponse(q, dns.RcodeNotImplemented), nil
	}
	out := dns.NewResponse(q, dns.RcodeSuccess)
	out.RecursionAvailable = true
	name, t := dns.Canonical(q.Question[0].Name), q.Question[0].Qtype
	for range 12 {
		m, err := r.resolve(ctx, name, t, 0)
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return servfail(q), nil
		}
		out.Answer = append(out.Answer, m.Answer...)
		out.Rcode, out.Ns = m.Rcode, m.Ns
		next := aliasOf(m, name, t)
		if next == "" {
			return out, nil
		}
		name = next
	}
	return servfail(q), nil
}

func servfail(q *dns.Msg) *dns.Msg {
	m := dns.NewResponse(q, dns.RcodeServerFailure)
	m.RecursionAvailable = true
	return m
}

// aliasOf follows the CNAMEs in an answer, and returns where they lead if the answer ends there.
func aliasOf(m *dns.Msg, name string, t uint16) string {
	if t == dns.TypeCNAME || t == dns.TypeANY {
		return ""
	}
	start := name
	for range m.Answer {
		for _, rr := range m.Answer {
			if c, ok := rr.(*dns.CNAMERecord); ok && dns.Canonical(c.Hdr.Name) == name {
				name = dns.Canonical(c.Target)
			}
		}
	}
	for _, rr := range m.Answer {
		if rr.Header().Rrtype == t && dns.Canonical(rr.Header().Name) == name {
			return ""
		}
	}
	if name == start || m.Rcode == dns.RcodeNameError {
		return ""
	}
	return name
}

// resolve returns the answer of the servers that are responsible for name, from the cache or
// by the walk. depth bounds the walks for names of name servers within walks.
func (r *resolver) resolve(ctx context.Context, name string, t uint16, depth int) (*dns.Msg, error) {
	key := dns.Question{Name: name, Qtype: t, Qclass: dns.ClassINET}
	r.mu.Lock()
	have, era := r.answers[key], r.era
	r.mu.Unlock()
	if have.msg != nil && time.Now().Before(have.until) {
		return have.msg.Copy(), nil
	}
	if depth > 4 {
		return nil, errWalk
	}
	servers, zone := r.closest(name)
	for range 20 {
		m, err := r.ask(ctx, servers, name, t)
		if err != nil {
			return nil, fmt.Errorf("%s at the servers of %s: %w", name, zone, err)
		}
		cut := referralOf(m, zone, name)
		if cut == "" {
			r.remember(key, m, era)
			return m, nil
		}
		if servers, err = r.follow(ctx, m, cut, depth, era); err != nil {
			return nil, err
		}
		zone = cut
	}
	return nil, errWalk
}

// closest returns the servers of the lowest zone above name that is known.
func (r *resolver) closest(name string) ([]netip.Addr, string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	labels := dns.Labels(name)
	for i := range labels {
		zone := strings.Join(labels[i:], ".") + "."
		if c, ok := r.cuts[zone]; ok && time.Now().Before(c.until) {
			return c.servers, zone
		}
	}
	return r.roots, "."
}

func (r *resolver) ask(ctx context.Context, servers []netip.Addr, name string, t uint16) (*dns.Msg, error) {
	c := dns.Client{Timeout: time.Second, Attempts: 2}
	for _, a := range servers {
		c.Servers = append(c.Servers, dns.Nameserver{Transport: dns.UDP, Addr: netip.AddrPortFrom(a, r.port)})
	}
	q := dns.NewQuery(name, t)
	q.RecursionDesired = false
	m, err := c.Exchange(ctx, q)
	if err != nil {
		return nil, err
	}
	if m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
		return nil, fmt.Errorf("response code %s", dns.RcodeName(m.Rcode))
	}
	return m, nil
}

// referralOf returns the zone to which m refers: one below zone and not below name's own.
func referralOf(m *dns.Msg, zone, name string) string {
	if m.Authoritative || len(m.Answer) > 0 || m.Rcode != dns.RcodeSuccess {
		return ""
	}
	for _, rr := range m.Ns {
		at := dns.Canonical(rr.Header().Name)
		if rr.Header().Rrtype == dns.TypeNS && at != zone && dns.IsSubdomain(zone, at) && dns.IsSubdomain(at, name) {
			return at
		}
	}
	return ""
}

// follow returns the addresses of the servers in a referral, by its glue or by a walk of
// their own.
func (r *resolver) follow(ctx context.Context, m *dns.Msg, cut string, depth, era int) ([]netip.Addr, error) {
	var servers []netip.Addr
	ttl := uint32(86400)
	for _, rr := range m.Ns {
		ns, ok := rr.(*dns.NSRecord)
		if !ok || dns.Canonical(ns.Hdr.Name) != cut {
			continue
		}
		ttl = min(ttl, ns.Hdr.Ttl)
		host := dns.Canonical(ns.Ns)
		found := addressesOf(m.Extra, host)
		if len(found) == 0 {
			a, err := r.resolve(ctx, host, dns.TypeA, depth+1)
			if err != nil {
				continue
			}
			found = addressesOf(a.Answer, host)
		}
		servers = append(servers, found...)
	}
	if len(servers) == 0 {
		return nil, fmt.Errorf("no name server of %s has an address", cut)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.era == era && len(r.cuts) < maxRemembered {
		r.cuts[cut] = referral{servers, time.Now().Add(time.Duration(ttl) * time.Second)}
	}
	return servers, nil
}

func addressesOf(rrs []dns.RR, host string) []netip.Addr {
	var out []netip.Addr
	for _, rr := range rrs {
		if a, ok := rr.(*dns.ARecord); ok && dns.Canonical(a.Hdr.Name) == host {
			if ip, ok := netip.AddrFromSlice(a.A.To4()); ok {
				out = append(out, ip)
			}
		}
	}
	return out
}

// remember keeps an answer for the shortest TTL in it, a negative one for that of its SOA
// (RFC 2308 section 5).
func (r *resolver) remember(key dns.Question, m *dns.Msg, era int) {
	ttl := uint32(3600)
	for _, rr := range m.Answer {
		ttl = min(ttl, rr.Header().Ttl)
	}
	for _, rr := range m.Ns {
		if soa, ok := rr.(*dns.SOARecord); ok && len(m.Answer) == 0 {
			ttl = min(ttl, soa.Hdr.Ttl, soa.Minttl)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.era != era {
		return
	}
	if len(r.answers) >= maxRemembered {
		r.answers = make(map[dns.Question]remembered)
	}
	r.answers[key] = remembered{m.Copy(), time.Now().Add(time.Duration(ttl) * time.Second)}
}
