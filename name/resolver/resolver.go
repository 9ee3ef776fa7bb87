package resolver

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"

	"stagecoach/rfc/dns"
)

// A Resolver is an Exchanger that knows the whole Internet. The zero Resolver works, with the
// root's servers and keys built in. The fields are set before the first use.
type Resolver struct {
	// Hints are the addresses of root servers to begin with; nil is those of the Internet.
	Hints []netip.Addr
	// Port is where name servers listen; 0 is 53. Others are for simulated worlds.
	Port uint16
	// Anchors are DS or DNSKEY records to trust, of the root or of zones below it. nil is
	// the root's current two keys; none at all, but not nil, turns validation off.
	Anchors []dns.RR
	// Untrusted are negative trust anchors: zones whose validation is known to be broken, and
	// that are treated as unsigned (RFC 7646).
	Untrusted []string
	// Routes are zones that are asked elsewhere than the walk would.
	Routes []Route
	// Open are zones that are looked up although RFC 6303, RFC 6761 and others would have
	// them answered here, as "168.192.in-addr.arpa" with a Route.
	Open []string
	// Private lets name servers at private, loopback and other special addresses be asked
	// that referrals name. Off, a stranger's zone cannot make us knock on our own doors.
	Private bool
	// NoIPv4 and NoIPv6 keep from asking servers by one family.
	NoIPv4, NoIPv6 bool
	// CacheBytes bounds the memory that all which is remembered takes; 0 is 64 MiB.
	CacheBytes int
	// Limits bounds the work.
	Limits Limits
	// Network carries the queries; nil is real sockets.
	Network Network
	// AnchorFile keeps the root's keys as RFC 5011 has them roll; "" keeps to Anchors. See Run.
	AnchorFile string
	// Log gets what never becomes an answer, as the comings and goings of trust anchors; nil
	// is silence.
	Log *slog.Logger

	once      sync.Once
	cache     *cache
	cuts      *lru[string, *cut]
	trusts    *lru[string, *trust]
	failures  *lru[key, failure]
	ranges    *lru[string, *ranges]
	hosts     *hosts
	asking    flights[query, *reply]
	jobs      flights[jobKey, *result]
	working   chan struct{}
	flying    chan struct{}
	ahead     chan struct{}
	count     counters
	anchors   anchorSet
	negatives negatives
	doubted   atomic.Int64 // when the clock was, in Unix nanoseconds
	local     map[string]*localZone
	secret    [16]byte
}

var _ dns.Exchanger = (*Resolver)(nil)

// A Route is a zone whose names are asked of one Exchanger. What it answers is validated like
// anything else: a zone that the signed zones above deny has to be in Untrusted.
type Route struct {
	Zone string
	To   dns.Exchanger
	// Recursive says that To is a resolver, which is asked to do all the work (a forward
	// zone). Otherwise it is an authority of Zone, whose referrals to zones below are followed
	// (a stub zone).
	Recursive bool
}

func (r *Resolver) start() {
	r.once.Do(func() {
		if r.CacheBytes <= 0 {
			r.CacheBytes = 64 << 20
		}
		if r.Port == 0 {
			r.Port = 53
		}
		if r.Network == nil {
			r.Network = sockets{}
		}
		r.Limits = r.Limits.orDefault()
		// Answers are most of what is worth keeping; the rest is what finds and proves them, and
		// lies on the heap, which the garbage collector lets grow to twice what is in use.
		share := r.CacheBytes / 16
		r.cache = newCache(r.CacheBytes / 2)
		r.cuts = newLRU[string, *cut](share)
		r.trusts = newLRU[string, *trust](share)
		r.ranges = newLRU[string, *ranges](share)
		r.failures = newLRU[key, failure](share / 2)
		r.hosts = newHosts(share / 2)
		r.working = make(chan struct{}, r.Limits.Questions)
		r.flying = make(chan struct{}, r.Limits.Upstream)
		r.ahead = make(chan struct{}, 16)
		r.local = localZones(r.Open)
		r.secret = newSecret()
		r.anchors.start(r)
	})
}

// Exchange answers q from what is known or finds the answer. It returns an error when ctx
// ends; all other failure is a response with SERVFAIL and extended errors (RFC 8914). The AD
// bit says that the whole answer was validated (RFC 6840 section 5.8).
func (r *Resolver) Exchange(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
	r.start()
	r.count.questions.Add(1)
	if m := r.refuse(q); m != nil {
		return m, nil
	}
	w := wantOf(q)
	if res := r.known(w); res != nil {
		r.count.hits.Add(1)
		return r.reply(q, w, res), nil
	}
	res, err := r.find(ctx, w)
	if err != nil {
		return nil, err
	}
	return r.reply(q, w, res), nil
}

// refuse returns the response to what is no question for a resolver.
func (r *Resolver) refuse(q *dns.Msg) *dns.Msg {
	respond := func(rcode int, e dns.ExtendedError) *dns.Msg {
		m := dns.NewResponse(q, rcode)
		m.RecursionAvailable = true
		dns.Extend(m, e)
		return m
	}
	if q.Opcode != dns.OpcodeQuery {
		return respond(dns.RcodeNotImplemented, dns.ExtendedError{Code: dns.ExtendedNotSupported})
	}
	if len(q.Question) != 1 || !dns.IsName(q.Question[0].Name) {
		return respond(dns.RcodeFormatError, dns.ExtendedError{Code: dns.ExtendedOther})
	}
	switch t := q.Question[0].Qtype; {
	case q.Question[0].Qclass != dns.ClassINET:
		return respond(dns.RcodeRefused, dns.ExtendedError{Code: dns.ExtendedNotSupported, Text: "class"})
	case !q.RecursionDesired:
		return respond(dns.RcodeRefused, dns.ExtendedError{Code: dns.ExtendedProhibited, Text: "recursion is not desired"})
	case t == dns.TypeANY, t == dns.TypeRRSIG:
		// RFC 8482 section 4.1 lets either be answered by less than all; nothing is less.
		return respond(dns.RcodeNotImplemented, dns.ExtendedError{Code: dns.ExtendedNotSupported, Text: "type"})
	case t == dns.TypeAXFR, t == dns.TypeIXFR:
		return respond(dns.RcodeRefused, dns.ExtendedError{Code: dns.ExtendedNotSupported, Text: "transfer"})
	case t == dns.TypeNone, t == dns.TypeOPT, t >= 128 && t <= 255:
		return respond(dns.RcodeFormatError, dns.ExtendedError{Code: dns.ExtendedNotSupported, Text: "type"})
	}
	return nil
}
