package resolver

import (
	"hash/maphash"
	"sync/atomic"
	"time"

	"stagecoach/rfc/dns"
)

// A cache remembers answers as they were on the wire, which is the smallest form.
type cache struct {
	seed   maphash.Seed
	shards [16]*lru[key, *entry]
}

type entry struct {
	wire     []byte // answer and authority
	kind     kind
	security Security
	why      dns.ExtendedError
	zone     string
	stored   int64 // Unix nanoseconds
	ttl      time.Duration
	hits     atomic.Int32
	fetching atomic.Bool
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
	m := dns.Msg{Answer: f.answer, Ns: f.authority, Compress: true}
	wire, err := m.Pack()
	if err != nil {
		return // what does not fit a message is not worth keeping
	}
	e := &entry{
		wire: append([]byte(nil), wire...), kind: f.kind, security: f.security, why: f.why,
		zone: f.zone, stored: f.stored.UnixNano(), ttl: f.ttl,
	}
	k := f.key
	if f.kind == noName {
		k.t = dns.TypeNone
	}
	c.shard(k).put(k, e, len(wire)+2*len(k.name)+entryOverhead)
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
		if e == nil || at != k && at.t == dns.TypeCNAME && e.kind != records && e.kind != alias {
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
		if e == nil || e.kind != records && e.kind != subtree {
			continue
		}
		if f := e.found(at, now); f != nil {
			f.kind = subtree
			return f, e
		}
	}
	return nil, nil
}

// found unpacks an entry, its TTLs what is left of them.
func (e *entry) found(k key, now time.Time) *found {
	var m dns.Msg
	if m.Unpack(e.wire) != nil {
		return nil
	}
	f := &found{
		key: k, kind: e.kind, answer: m.Answer, authority: m.Ns, zone: e.zone, security: e.security,
		why: e.why, stored: time.Unix(0, e.stored), ttl: e.ttl, hits: e.hits.Add(1),
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
