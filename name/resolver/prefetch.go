package resolver

import (
	"time"
)

// prefetch asks anew for what is popular and about to end: asked for twice at least, with less
// than a tenth of its time left.
func (r *Resolver) prefetch(k key, f *found, e *entry, now time.Time) {
	if r.nearEnd(e, f.expires().Sub(now), f.hits) {
		r.fetchAhead(f.key, k, e)
	}
}

func (r *Resolver) nearEnd(e *entry, left time.Duration, hits int32) bool {
	return hits >= 2 && e.ttl >= 10*time.Second && left <= e.ttl/10
}

// fetchAhead finds the entry at a key anew, once, which was met by asking for k.
func (r *Resolver) fetchAhead(at, k key, e *entry) {
	if !e.fetching.CompareAndSwap(false, true) {
		return
	}
	select {
	case r.ahead <- struct{}{}:
	default:
		e.fetching.Store(false)
		return
	}
	r.count.prefetched.Add(1)
	go func() {
		defer func() { <-r.ahead }()
		r.refresh(at, k)
	}()
}

// refresh finds a step of an answer again, without a look into the cache.
func (r *Resolver) refresh(at, k key) {
	j, cancel := r.background()
	defer cancel()
	if _, known := r.failures.get(k); known {
		return
	}
	f, err := j.walk(k, (*path)(nil).enter(k))
	if err != nil {
		return // what is there lives on
	}
	if j.validate(f, k, nil) != nil || f.security == Bogus {
		return
	}
	if f.key != at && f.kind != noName {
		r.cache.remove(at)
	}
	r.keep(f)
}
