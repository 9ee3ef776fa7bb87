// Package dnstest answers DNS queries from zone text, and fails on demand. It is for tests and
// for the lab.
package dnstest

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"stagecoach/rfc/dns"
)

// A Failure is a way not to answer.
type Failure int

// What Fail may do to a name.
const (
	ServFail Failure = iota + 1 // SERVFAIL, as for bogus data
	Refused                     // REFUSED
	Timeout                     // no response before the context ends, or after Names.Patience
	Garbage                     // a response to another question
	Lame                        // NOERROR with nothing in it but a referral
)

// Names is an Exchanger that knows the records it was given, and that nothing else exists. It
// behaves as a recursive resolver does: CNAMEs are followed, wildcards are expanded (RFC
// 4592), negative answers carry the SOA (RFC 2308).
//
// Patience and Secure are set before the first query.
type Names struct {
	// Patience bounds the silence of Timeout where the context has no end; 0 is 10 ms.
	Patience time.Duration
	// Secure sets the AD bit in answers, as a validating resolver does.
	Secure bool

	mu      sync.Mutex
	records map[key][]dns.RR
	exists  map[string]bool // the names that have records, and those above them
	zones   map[string]*dns.SOARecord
	fail    map[key]Failure
	asked   map[key]int
	total   int
}

type key struct {
	name string
	t    uint16
}

var _ dns.Exchanger = (*Names)(nil)

// Zone is New for tests: text that cannot be read fails t.
func Zone(t testing.TB, text string) *Names {
	t.Helper()
	n, err := New(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// New reads zone text with names relative to the root and a TTL of 300 s by default. Each SOA
// in it begins a zone of its own; names outside of all of them are REFUSED. Text without a SOA
// is all there is in the world: a root zone is put round it.
func New(text string) (*Names, error) {
	n := &Names{
		records: map[key][]dns.RR{},
		exists:  map[string]bool{},
		zones:   map[string]*dns.SOARecord{},
		fail:    map[key]Failure{},
		asked:   map[key]int{},
	}
	if err := n.Add(text); err != nil {
		return nil, err
	}
	return n, nil
}

// Add adds the records of more zone text.
func (n *Names) Add(text string) error {
	rrs, err := dns.ParseZone(strings.NewReader("$TTL 300\n"+text+"\n"), ".")
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, rr := range rrs {
		h := rr.Header()
		name := dns.Canonical(h.Name)
		if soa, ok := rr.(*dns.SOARecord); ok {
			n.zones[name] = soa
		}
		n.records[key{name, h.Rrtype}] = append(n.records[key{name, h.Rrtype}], rr)
		for ; !n.exists[name]; name = parent(name) {
			n.exists[name] = true
		}
	}
	if len(n.zones) == 0 {
		n.zones["."] = dns.MustParseRR(". 300 SOA ns.test. root.test. 1 7200 900 1209600 300").(*dns.SOARecord)
		n.exists["."] = true
	}
	return nil
}

// Remove takes the records of one type away from name.
func (n *Names) Remove(name string, t uint16) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.records, key{dns.Canonical(name), t})
	n.exists = map[string]bool{".": true}
	for k := range n.records {
		for name := k.name; !n.exists[name]; name = parent(name) {
			n.exists[name] = true
		}
	}
}

// Fail makes queries for name fail, of the given types or, without any, of all. Failure 0
// heals it.
func (n *Names) Fail(name string, how Failure, types ...uint16) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(types) == 0 {
		types = []uint16{dns.TypeANY}
	}
	for _, t := range types {
		n.fail[key{dns.Canonical(name), t}] = how
	}
}

// Count returns how many queries came for one type at name.
func (n *Names) Count(name string, t uint16) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked[key{dns.Canonical(name), t}]
}

// Total returns how many queries came.
func (n *Names) Total() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.total
}

// Exchange answers q.
func (n *Names) Exchange(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(q.Question) != 1 || q.Opcode != dns.OpcodeQuery {
		return dns.NewResponse(q, dns.RcodeNotImplemented), nil
	}
	k := key{dns.Canonical(q.Question[0].Name), q.Question[0].Qtype}
	if how := n.count(k); how != 0 {
		return n.failed(ctx, q, how)
	}
	r := dns.NewResponse(q, dns.RcodeSuccess)
	r.RecursionAvailable = true
	r.AuthenticatedData = n.Secure
	n.mu.Lock()
	defer n.mu.Unlock()
	n.answer(r, k)
	return r, nil
}

func (n *Names) count(k key) Failure {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked[k]++
	n.total++
	if how := n.fail[k]; how != 0 {
		return how
	}
	return n.fail[key{k.name, dns.TypeANY}]
}

func (n *Names) failed(ctx context.Context, q *dns.Msg, how Failure) (*dns.Msg, error) {
	r := dns.NewResponse(q, dns.RcodeSuccess)
	switch how {
	case ServFail:
		r.Rcode = dns.RcodeServerFailure
	case Refused:
		r.Rcode = dns.RcodeRefused
	case Garbage:
		r.Question[0].Name = "elsewhere.invalid."
	case Lame:
		r.Ns = []dns.RR{dns.MustParseRR(". 300 NS ns.elsewhere.invalid.")}
	default:
		return nil, n.silence(ctx)
	}
	return r, nil
}

func (n *Names) silence(ctx context.Context) error {
	patience := n.Patience
	if patience == 0 {
		patience = 10 * time.Millisecond
	}
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return context.DeadlineExceeded
	}
}

// answer fills r as RFC 1034 section 4.3.2 has it, without delegations.
func (n *Names) answer(r *dns.Msg, k key) {
	for range 16 {
		soa := n.zoneOf(k.name)
		if soa == nil {
			if len(r.Answer) == 0 {
				r.Rcode = dns.RcodeRefused
			}
			return
		}
		source := n.source(k.name, dns.Canonical(soa.Hdr.Name))
		if source == "" {
			r.Rcode = dns.RcodeNameError
			r.Ns = append(r.Ns, negative(soa))
			return
		}
		found := n.at(source, k)
		r.Answer = append(r.Answer, found...)
		if len(found) > 0 {
			return
		}
		alias := n.at(source, key{k.name, dns.TypeCNAME})
		if len(alias) == 0 {
			r.Ns = append(r.Ns, negative(soa))
			return
		}
		r.Answer = append(r.Answer, alias[0])
		k.name = dns.Canonical(alias[0].(*dns.CNAMERecord).Target)
	}
	r.Answer, r.Rcode = nil, dns.RcodeServerFailure // a loop of CNAMEs
}

// source returns the name whose records stand for name: itself, a wildcard, or none (RFC 4592
// section 3.3).
func (n *Names) source(name, apex string) string {
	if n.exists[name] {
		return name
	}
	for name != apex {
		name = parent(name)
		if n.exists[name] {
			if wildcard := "*." + strings.TrimPrefix(name, "."); n.exists[wildcard] {
				return wildcard
			}
			return ""
		}
	}
	return ""
}

// at returns the records at source of the type in k, as records of the name in k.
func (n *Names) at(source string, k key) []dns.RR {
	var out []dns.RR
	for have, rrs := range n.records {
		if have.name != source || have.t != k.t && k.t != dns.TypeANY {
			continue
		}
		for _, rr := range rrs {
			rr = dns.Copy(rr)
			rr.Header().Name = k.name
			out = append(out, rr)
		}
	}
	return out
}

func (n *Names) zoneOf(name string) *dns.SOARecord {
	for {
		if soa := n.zones[name]; soa != nil {
			return soa
		}
		if name == "." {
			return nil
		}
		name = parent(name)
	}
}

func negative(soa *dns.SOARecord) dns.RR {
	rr := dns.Copy(soa)
	rr.Header().Ttl = min(soa.Hdr.Ttl, soa.Minttl)
	return rr
}

// parent returns the name one label up; that of the root is the root.
func parent(name string) string {
	labels := dns.Labels(name)
	if len(labels) < 2 {
		return "."
	}
	return strings.Join(labels[1:], ".") + "."
}
