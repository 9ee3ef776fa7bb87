package resolver

import (
	"time"

	"stagecoach/rfc/dns"
)

// A failure is remembered so that what is broken is not asked for again at once (RFC 9520).
type failure struct {
	problem *problem
	until   time.Time
	wait    time.Duration
}

func (f failure) result() *result {
	res := &result{rcode: dns.RcodeServerFailure, why: []dns.ExtendedError{{Code: f.problem.code, Text: f.problem.text}}}
	if f.problem.bogus {
		res.security = Bogus
	}
	return res
}

// failed returns the problem that a question had a moment ago, or errUnknown.
func (r *Resolver) failed(k key, cd bool, now time.Time) error {
	f, ok := r.failures.get(k)
	if !ok || !now.Before(f.until) || cd && f.problem.bogus {
		return errUnknown
	}
	r.count.failuresCached.Add(1)
	p := *f.problem
	if !p.bogus {
		p.code = dns.ExtendedCachedError
	}
	return &p
}

// fails remembers a problem: what is bogus for a fixed time, other failure for a time that
// doubles as long as it lasts (RFC 9520 section 3.2).
func (r *Resolver) fails(k key, p *problem) {
	now := time.Now()
	f := failure{problem: p, wait: r.Limits.Failure}
	if p.bogus {
		f.wait = r.Limits.Bogus
		r.cache.remove(k)
	} else if old, ok := r.failures.get(k); ok && now.Sub(old.until) < old.wait {
		f.wait = min(2*old.wait, 5*time.Minute)
	}
	f.until = now.Add(f.wait)
	r.failures.put(k, f, len(k.name)+len(p.text)+200)
}
