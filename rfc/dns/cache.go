package dns

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// The bounds of a Cache whose fields are zero, and of what it believes.
const (
	defaultCacheBytes = 16 << 20
	maxPositive       = 24 * time.Hour
	maxNegative       = 3 * time.Hour   // RFC 2308 section 5
	failureTTL        = 2 * time.Second // RFC 9520 section 3.2 wants at least one
)

// A Cache remembers what another Exchanger answered, for as long as the TTLs say: records, and
// negative answers that have a SOA (RFC 2308). A SERVFAIL is remembered for two seconds, no
// other failure at all. TTLs in answers are what is left of them.
//
// The fields are set before the first use.
type Cache struct {
	Next  Exchanger
	Bytes int              // how much to keep, measured on the wire; 0 is 16 MiB
	Now   func() time.Time // nil is time.Now

	mu      sync.Mutex
	entries map[cacheKey]*list.Element
	recent  list.List // of *cacheEntry, the one used last in front
	size    int
}

var _ Exchanger = (*Cache)(nil)

type cacheKey struct {
	name       string
	t          uint16
	do, cd, ad bool
}

type cacheEntry struct {
	key     cacheKey
	msg     *Msg
	stored  time.Time
	expires time.Time
	size    int
}

// Exchange answers from memory, or asks Next.
func (c *Cache) Exchange(ctx context.Context, q *Msg) (*Msg, error) {
	key, ok := cacheKeyOf(q)
	if !ok {
		return c.Next.Exchange(ctx, q)
	}
	if r := c.get(key, q); r != nil {
		return r, nil
	}
	r, err := c.Next.Exchange(ctx, q)
	if err == nil && checkResponse(q, r) == nil {
		c.put(key, r)
	}
	return r, err
}

func cacheKeyOf(q *Msg) (cacheKey, bool) {
	if q.Opcode != OpcodeQuery || len(q.Question) != 1 || q.Question[0].Qclass != ClassINET || !q.RecursionDesired {
		return cacheKey{}, false
	}
	switch q.Question[0].Qtype {
	case TypeAXFR, TypeIXFR, TypeANY:
		return cacheKey{}, false
	}
	k := cacheKey{Canonical(q.Question[0].Name), q.Question[0].Qtype, false, q.CheckingDisabled, q.AuthenticatedData}
	if opt := q.IsEdns0(); opt != nil {
		k.do = opt.Do()
	}
	return k, true
}

func (c *Cache) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}

func (c *Cache) get(key cacheKey, q *Msg) *Msg {
	c.mu.Lock()
	defer c.mu.Unlock()
	el := c.entries[key]
	if el == nil {
		return nil
	}
	e := el.Value.(*cacheEntry)
	now := c.now()
	if !now.Before(e.expires) {
		c.remove(el)
		return nil
	}
	c.recent.MoveToFront(el)
	r := e.msg.Copy()
	r.Id = q.Id
	r.Question = append([]Question(nil), q.Question...)
	age(r, now.Sub(e.stored))
	return r
}

// age takes the time in the cache off the TTLs.
func age(r *Msg, d time.Duration) {
	s := uint32(max(d/time.Second, 0))
	for _, section := range [][]RR{r.Answer, r.Ns, r.Extra} {
		for _, rr := range section {
			if h := rr.Header(); h.Rrtype != TypeOPT {
				h.Ttl -= min(s, h.Ttl)
			}
		}
	}
}

func (c *Cache) put(key cacheKey, r *Msg) {
	ttl := lifetime(r)
	if ttl <= 0 {
		return
	}
	kept := r.Copy()
	e := &cacheEntry{key: key, msg: kept, stored: c.now(), size: r.Len() + 256}
	e.expires = e.stored.Add(ttl)
	limit := c.Bytes
	if limit <= 0 {
		limit = defaultCacheBytes
	}
	if e.size > limit/8 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries == nil {
		c.entries = map[cacheKey]*list.Element{}
	}
	if old := c.entries[key]; old != nil {
		c.remove(old)
	}
	c.entries[key] = c.recent.PushFront(e)
	c.size += e.size
	for c.size > limit {
		c.remove(c.recent.Back())
	}
}

// Len returns how many answers are remembered.
func (c *Cache) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.entries)
}

func (c *Cache) remove(el *list.Element) {
	e := c.recent.Remove(el).(*cacheEntry)
	delete(c.entries, e.key)
	c.size -= e.size
}

// lifetime returns how long a response may be remembered, 0 for not at all.
func lifetime(r *Msg) time.Duration {
	switch r.Rcode {
	case RcodeServerFailure:
		return failureTTL
	case RcodeSuccess, RcodeNameError:
	default:
		return 0
	}
	ttl := time.Duration(-1)
	for _, section := range [][]RR{r.Answer, r.Ns} {
		for _, rr := range section {
			if d := time.Duration(rr.Header().Ttl) * time.Second; ttl < 0 || d < ttl {
				ttl = d
			}
		}
	}
	if ttl < 0 {
		return 0
	}
	if r.Rcode == RcodeSuccess && answered(r) {
		return min(ttl, maxPositive)
	}
	for _, rr := range r.Ns {
		if soa, ok := rr.(*SOARecord); ok {
			return min(ttl, time.Duration(soa.Minttl)*time.Second, maxNegative)
		}
	}
	return 0
}

// answered reports whether r has a record of the type that was asked for.
func answered(r *Msg) bool {
	for _, rr := range r.Answer {
		if rr.Header().Rrtype == r.Question[0].Qtype {
			return true
		}
	}
	return false
}
