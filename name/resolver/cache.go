package resolver

import (
	"hash/maphash"
	"slices"
	"time"

	"stagecoach/rfc/dns"
)

// A cache remembers answers as they are sent, which is the smallest form and the quickest, in memory
// of a fixed size, which is taken as it fills.
type cache struct {
	seed  maphash.Seed
	rings [16]*ring
}

// An entry is one answer out of the cache.
type entry struct {
	wire       []byte // a response, with the question that it was found by
	why        dns.ExtendedError
	zone       string
	stored     int64 // Unix nanoseconds
	ttl        time.Duration
	hits       uint16
	short      uint16 // where the records of DNSSEC begin in wire
	shortCount uint16 // records before
	kind       kind
	security   Security
}

// newCache returns a cache that takes limit octets when it is full, and no more.
func newCache(limit int) *cache {
	c := &cache{seed: maphash.MakeSeed()}
	places := max(limit/len(c.rings)/(perPlace+8), 64)
	share := places * (perPlace + 8)
	memory := offHeap(c, share*len(c.rings))
	for i := range c.rings {
		own := memory[i*share : (i+1)*share : (i+1)*share]
		c.rings[i] = &ring{table: own[:8*places], data: own[8*places:]}
	}
	return c
}

func (c *cache) ring(k key) (*ring, uint64) {
	hash := hashOf(c.seed, k)
	return c.rings[hash>>60], hash
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
	e := &entry{wire: wire, why: f.why, zone: f.zone, stored: f.stored.UnixNano(), ttl: f.ttl, kind: f.kind, security: f.security}
	if e.shortCount = plainRecords(m.Answer); len(m.Answer) == 0 {
		e.shortCount = plainRecords(m.Ns)
	}
	e.short = uint16(dns.RecordsEnd(wire, int(e.shortCount)))
	k := f.key
	if f.kind == noName {
		k.t = dns.TypeNone
	}
	r, hash := c.ring(k)
	if record := e.record(hash, k); record != nil {
		r.put(hash, k, record)
	}
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
func (c *cache) peek(k key, now time.Time, stale time.Duration) (entry, bool) {
	r, hash := c.ring(k)
	return r.look(hash, k, now.UnixNano(), stale, false, nil)
}

// has reports whether there is a fresh entry.
func (c *cache) has(k key, now time.Time) bool {
	_, ok := c.peek(k, now, 0)
	return ok
}

// get returns what is known of a question: its records, a CNAME, or that there are none.
func (c *cache) get(k key, now time.Time, stale time.Duration) *found {
	for _, at := range []key{k, {k.name, dns.TypeCNAME}, {k.name, dns.TypeNone}} {
		f := c.take(at, now, stale)
		if f == nil || at != k && at.t == dns.TypeCNAME && !f.leads() {
			continue
		}
		switch {
		case len(f.answer) == 0:
		case at == k: // who asks for an alias itself is not sent along it
			f.kind = records
		case at.t == dns.TypeCNAME:
			f.kind = alias
		}
		return f
	}
	for up := k.name; up != "."; {
		up = parent(up)
		f := c.take(key{up, dns.TypeDNAME}, now, stale)
		if f != nil && (f.kind == records || f.kind == subtree) {
			f.kind = subtree
			return f
		}
	}
	return nil
}

// leads reports whether what was found by asking for CNAME is an alias.
func (f *found) leads() bool { return f.kind == records || f.kind == alias }

// take returns what an entry has, which counts as a hit, its TTLs what is left of them.
func (c *cache) take(k key, now time.Time, stale time.Duration) *found {
	r, hash := c.ring(k)
	e, ok := r.look(hash, k, now.UnixNano(), stale, true, nil)
	if !ok {
		return nil
	}
	return e.found(k, now)
}

// found unpacks an entry.
func (e *entry) found(k key, now time.Time) *found {
	var m dns.Msg
	if m.Unpack(e.wire) != nil {
		return nil
	}
	f := &found{
		key: k, kind: e.kind, answer: m.Answer, authority: m.Ns, zone: e.zone, security: e.security, why: e.why,
		stored: time.Unix(0, e.stored), ttl: e.ttl, hits: e.hits,
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

func (c *cache) remove(k key) {
	r, hash := c.ring(k)
	r.remove(hash, k)
}

// claim has the caller fetch an entry ahead, unless somebody does; release lets others do it.
func (c *cache) claim(k key) bool {
	r, hash := c.ring(k)
	return r.claim(hash, k, true)
}

func (c *cache) release(k key) {
	r, hash := c.ring(k)
	r.claim(hash, k, false)
}

func (c *cache) removeIf(f func(key) bool) int {
	n := 0
	for _, r := range c.rings {
		n += r.removeIf(f)
	}
	return n
}

// keys returns all keys, in no order.
func (c *cache) keys() []key {
	var keys []key
	c.removeIf(func(k key) bool {
		keys = append(keys, k)
		return false
	})
	return keys
}

// size returns how many entries there are, what they take, and how many had to go.
func (c *cache) size() (n, used int, lost uint64) {
	for _, r := range c.rings {
		r.mu.Lock()
		n, used, lost = n+r.count, used+r.used, lost+r.lost
		r.mu.Unlock()
	}
	return n, used, lost
}
