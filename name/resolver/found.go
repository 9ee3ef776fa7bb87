package resolver

import (
	"fmt"
	"net/netip"
	"time"

	"stagecoach/rfc/dns"
)

// Security is what validation says of an answer (RFC 4035 section 4.3).
type Security int

// A Resolver gives bogus answers only to those that ask for no checking. What is indeterminate
// lies below no trust anchor.
const (
	Unchecked Security = iota
	Indeterminate
	Insecure
	Secure
	Bogus
)

// String names the state.
func (s Security) String() string {
	return [...]string{"unchecked", "indeterminate", "insecure", "secure", "bogus"}[s]
}

// weaker returns what can be said of two things together.
func weaker(a, b Security) Security {
	if a == Bogus || b == Bogus {
		return Bogus
	}
	return min(a, b)
}

// A kind is what an answer says.
type kind int

const (
	records kind = iota // these are the records
	alias               // there is a CNAME
	subtree             // there is a DNAME above
	noData              // the name exists, such records do not
	noName              // the name does not exist
)

var kindNames = [...]string{"records", "CNAME", "DNAME", "no such records", "no such name"}

// A key is what is asked and remembered. Names that do not exist are remembered by type 0.
type key struct {
	name string
	t    uint16
}

// found is one step of an answer: what the servers of a zone say on one question.
type found struct {
	key       key // the owner of the records; of a DNAME the name above
	kind      kind
	answer    []dns.RR // one set of records with its signatures
	authority []dns.RR // SOA, NSEC and NSEC3 with their signatures
	zone      string   // whose servers were asked
	from      netip.AddrPort
	security  Security
	why       dns.ExtendedError // of what is not secure
	stored    time.Time
	ttl       time.Duration
	made      bool // from NSEC records here (RFC 8198)
	stale     bool
	hits      uint16
}

// partial reports whether f is what a referral said of a missing DS: enough to go on, but without
// the SOA record that a client needs to remember it (RFC 2308 section 3).
func (f *found) partial() bool {
	if f.kind != noData || f.key.t != dns.TypeDS {
		return false
	}
	_, has := find[*dns.SOARecord](f.authority)
	return !has
}

func (f *found) expires() time.Time { return f.stored.Add(f.ttl) }

// limitTTL shortens what f may live.
func (f *found) limitTTL(d time.Duration) { f.ttl = min(f.ttl, max(d, 0)) }

// stamp gives the records the TTL that the whole has left.
func (f *found) stamp() {
	if f.stale || f.made {
		return
	}
	left := seconds(time.Until(f.expires()))
	for _, rrs := range [][]dns.RR{f.answer, f.authority} {
		for _, rr := range rrs {
			rr.Header().Ttl = left
		}
	}
}

// target returns where an alias leads from name, and the CNAME that says so, made where it is
// a DNAME that does. ok is false for a name that gets too long (RFC 6672 section 2.2).
func (f *found) target(name string) (to string, cname *dns.CNAMERecord, ok bool) {
	for _, rr := range f.answer {
		switch rr := rr.(type) {
		case *dns.CNAMERecord:
			if f.kind == alias {
				return dns.Canonical(rr.Target), rr, true
			}
		case *dns.DNAMERecord:
			if f.kind != subtree {
				continue
			}
			to = dns.Canonical(rr.Target)
			prefix := name[:len(name)-len(f.key.name)]
			if f.key.name == "." {
				prefix = name
			}
			if to == "." {
				to = prefix
			} else {
				to = prefix + to
			}
			c := &dns.CNAMERecord{Target: to}
			c.Hdr = dns.Header{Name: name, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: rr.Hdr.Ttl}
			return to, c, dns.IsName(to)
		}
	}
	return "", nil, false
}

// A problem is why a question has no answer. It is never a negative answer.
type problem struct {
	code   uint16
	text   string
	bogus  bool
	excess bool // the work for one question was used up
}

func (p *problem) Error() string { return p.text }

// tooMuch is the problem of a question whose allowance is used up.
func tooMuch(what string) *problem {
	return &problem{code: dns.ExtendedOther, text: "too much work for one question: " + what, excess: true}
}

func fail(code uint16, format string, args ...any) *problem {
	return &problem{code: code, text: fmt.Sprintf(format, args...)}
}

func ttlOf(rr dns.RR) time.Duration {
	t := rr.Header().Ttl
	if t > 1<<31-1 { // RFC 2181 section 8
		return 0
	}
	return time.Duration(t) * time.Second
}

// seconds returns a TTL for what is left, a started second for a whole one.
func seconds(left time.Duration) uint32 {
	return uint32((max(left, 0) + time.Second - 1) / time.Second)
}
