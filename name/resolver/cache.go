package resolver

import (
	"hash/maphash"
	"slices"
	"sync/atomic"
	"time"

	"stagecoach/rfc/dns"
)

// A cache remembers answers as they are sent, which is the smallest form and the quickest.
type cache struct {
	seed   maphash.Seed
	shards [16]*lru[key, *entry]
}

type entry struct {
	wire       string             // a response, with the question that it was found by
	why        *dns.ExtendedError // nil for none
	zone       string
	stored     int64 // Unix nanoseconds
	ttl        time.Duration
	hits       atomic.Int32
	short      uint16 // where the records of DNSSEC begin in wire
	shortCount uint16 // records before
	kind       uint8  // a kind
	security   uint8  // a Security
	fetching   atomic.Bool
}

// entryOverhead is what an entry costs besides its octets: structs, pointers, its place in map
// and list; measured by TestCacheMemory.
const entryOverhead = 225

func newCache(limit int) *cache {
	c := &cache{seed: maphash.MakeSeed()}
	for i := range c.shards {
		c.shards[i] = newLRU[key, *entry](limit / len(c.shards))
	}
	return c
}

func (c *cache) shard(k key) *lru[key, *entry] {
	return c.shards[maphash.String(c.seed, k.name)%uint64(len(c.shards))]
}

// put keeps f for its TTL, and longer where stale answers may be wanted.
func (c *cache) put(f *found) {
	if f.ttl <= 0 {
		return
	}
	m := dns.Msg{Answer: canonicalOwners(f.answer), Ns: canonicalOwners(f.authority)}
	m.Question = []dns.Question{{Name: f.key.name, Qtype: f.key.t, Qclass: dns.ClassINET}}
	wire := dns.PackPlain(&m)
	if wire == nil {
		return // what does not fit a message is not worth keeping
	}
	e := &entry{
		wire: string(wire), kind: uint8(f.kind), security: uint8(f.security), zone: f.zone, stored: f.stored.UnixNano(), ttl: f.ttl,
	}
	if f.why != (dns.ExtendedError{}) {
		why := f.why
		e.why = &why
	}
	if e.shortCount = plainRecords(m.Answer); len(m.Answer) == 0 {
		e.shortCount = plainRecords(m.Ns)
	}
	e.short = uint16(dns.RecordsEnd(wire, int(e.shortCount)))
	k := f.key
	if f.kind == noName {
		k.t = dns.TypeNone
	}
	c.shard(k).put(k, e, len(wire)+2*len(k.name)+entryOverhead)
}

// canonicalOwners returns records with their owners in lower case, which fit the question and
// are compressed best.
func canonicalOwners(rrs []dns.RR) []dns.RR {
	out := slices.Clone(rrs)
	for i, rr := range out {
		if name := owner(rr); name != rr.Header().Name {
			out[i] = dns.Copy(rr)
			out[i].Header().Name = name
		}
	}
	return out
}

// plainRecords counts the records before those of DNSSEC, which come last.
func plainRecords(rrs []dns.RR) (n uint16) {
	for _, rr := range rrs {
		switch rr.Header().Rrtype {
		case dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNSEC3:
			return n
		}
		n++
	}
	return n
}

// peek returns an entry that is fresh at now, or stale for less than the given time.
func (c *cache) peek(k key, now time.Time, stale time.Duration) *entry {
	e, ok := c.shard(k).get(k)
	if !ok || now.UnixNano() >= e.stored+int64(e.ttl)+int64(max(stale, 0)) {
		return nil
	}
	return e
}

// get returns what is known of a question: its records, a CNAME, or that there are none.
func (c *cache) get(k key, now time.Time, stale time.Duration) (*found, *entry) {
	for _, at := range []key{k, {k.name, dns.TypeCNAME}, {k.name, dns.TypeNone}} {
		e := c.peek(at, now, stale)
		if e == nil || at != k && at.t == dns.TypeCNAME && !e.leads() {
			continue
		}
		if f := e.found(at, now); f != nil {
			switch {
			case len(f.answer) == 0:
			case at == k: // who asks for an alias itself is not sent along it
				f.kind = records
			case at.t == dns.TypeCNAME:
				f.kind = alias
			}
			return f, e
		}
	}
	for up := k.name; up != "."; {
		up = parent(up)
		at := key{up, dns.TypeDNAME}
		e := c.peek(at, now, stale)
		if e == nil || kind(e.kind) != records && kind(e.kind) != subtree {
			continue
		}
		if f := e.found(at, now); f != nil {
			f.kind = subtree
			return f, e
		}
	}
	return nil, nil
}

// leads reports whether the entry, which is one for CNAME, is an alias.
func (e *entry) leads() bool { return kind(e.kind) == records || kind(e.kind) == alias }

// found unpacks an entry, its TTLs what is left of them.
func (e *entry) found(k key, now time.Time) *found {
	var m dns.Msg
	if m.Unpack([]byte(e.wire)) != nil {
		return nil
	}
	f := &found{
		key: k, kind: kind(e.kind), answer: m.Answer, authority: m.Ns, zone: e.zone, security: Security(e.security),
		stored: time.Unix(0, e.stored), ttl: e.ttl, hits: e.hits.Add(1),
	}
	if e.why != nil {
		f.why = *e.why
	}
	left := f.expires().Sub(now)
	if left <= 0 {
		f.stale = true
		left = staleTTL
	}
	ttl := seconds(left)
	for _, rrs := range [][]dns.RR{f.answer, f.authority} {
		for _, rr := range rrs {
			rr.Header().Ttl = ttl
		}
	}
	return f
}

// staleTTL is what stale answers get (RFC 8767 section 4).
const staleTTL = 30 * time.Second

func (c *cache) remove(k key) { c.shard(k).remove(k) }

func (c *cache) removeIf(f func(key) bool) int {
	n := 0
	for _, s := range c.shards {
		n += s.removeIf(func(k key, _ *entry) bool { return f(k) })
	}
	return n
}

func (c *cache) size() (n, used int, lost uint64) {
	for _, s := range c.shards {
		a, b, d := s.size()
		n, used, lost = n+a, used+b, lost+d
	}
	return n, used, lost
}
