package resolver

import (
	"time"
)

// prefetch asks anew for what is popular and about to end: asked for twice at least, with less
// than a tenth of its time left.
func (r *Resolver) prefetch(k key, f *found, now time.Time) {
	if nearEnd(f.ttl, f.expires().Sub(now), f.hits) {
		r.fetchAhead(f.key, k)
	}
}

func nearEnd(ttl, left time.Duration, hits uint16) bool {
	return hits >= 2 && ttl >= 10*time.Second && left <= ttl/10
}

// fetchAhead finds the entry at a key anew, once, which was met by asking for k.
func (r *Resolver) fetchAhead(at, k key) {
	if !r.cache.claim(at) {
		return
	}
	select {
	case r.ahead <- struct{}{}:
	default:
		r.cache.release(at)
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
