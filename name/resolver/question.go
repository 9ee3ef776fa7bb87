package resolver

import (
	"context"
	"errors"
	"time"

	"stagecoach/rfc/dns"
)

// want is a question as a client asks it.
type want struct {
	key
	cd bool // no checking (RFC 6840 section 5.9)
	do bool // wants signatures
	ad bool // wants to know of security (RFC 6840 section 5.7)
}

type jobKey struct {
	key
	cd bool
}

func wantOf(q *dns.Msg) want {
	w := want{key: key{dns.Canonical(q.Question[0].Name), q.Question[0].Qtype}, cd: q.CheckingDisabled, ad: q.AuthenticatedData}
	if opt := q.IsEdns0(); opt != nil {
		w.do = opt.Do()
	}
	return w
}

// A result is the whole answer to a question, over all its aliases.
type result struct {
	rcode     int
	answer    []dns.RR
	authority []dns.RR
	security  Security
	why       []dns.ExtendedError
	stale     bool
	shared    bool // by all who waited for it
	steps     []*found
}

// known answers from memory, without waiting for anything; nil where it cannot.
func (r *Resolver) known(w want) *result {
	now := time.Now()
	res, err := r.chain(w, func(k key) (*found, error) {
		if f := r.recall(k, now); f != nil && (f.security != Unchecked || w.cd) && !f.partial() {
			return f, nil
		}
		return nil, r.failed(k, w.cd, now)
	})
	if err == nil {
		return res
	}
	if p := (*problem)(nil); errors.As(err, &p) {
		if w.cd && p.bogus {
			return nil
		}
		return failure{problem: p}.result()
	}
	return nil
}

// errUnknown is for known: what is not in memory.
var errUnknown = errors.New("not known")

// recall returns a fresh step from the local zones, the cache or the ranges of names that are
// known not to exist; nil for none.
func (r *Resolver) recall(k key, now time.Time) *found {
	if f := r.localAnswer(k, now); f != nil {
		return f
	}
	if f := r.cache.get(k, now, 0); f != nil {
		r.prefetch(k, f, now)
		return f
	}
	return r.synthesize(k, now)
}

// chain puts an answer together out of steps, along aliases.
func (r *Resolver) chain(w want, step func(key) (*found, error)) (*result, error) {
	res := &result{security: Secure}
	name := w.name
	var seen map[string]bool // none for the answers without aliases, which are most
	for restarts := 0; ; restarts++ {
		if restarts > r.Limits.Restarts || seen[name] {
			return nil, fail(dns.ExtendedOther, "the aliases of %s do not end", w.name)
		}
		f, err := step(key{name, w.t})
		if err != nil {
			return nil, err
		}
		if f.security == Bogus && !w.cd {
			return nil, &problem{code: f.why.Code, text: f.why.Text, bogus: true}
		}
		res.add(f)
		if f.kind != alias && f.kind != subtree {
			return res, nil
		}
		to, cname, ok := f.target(name)
		if !ok {
			res.rcode = dns.RcodeYXDomain
			return res, nil
		}
		if f.kind == subtree {
			res.answer = append(res.answer, cname)
			if w.t == dns.TypeCNAME {
				return res, nil
			}
		}
		if seen == nil {
			seen = map[string]bool{}
		}
		seen[name] = true
		name = to
	}
}

func (res *result) add(f *found) {
	res.steps = append(res.steps, f)
	res.answer = append(res.answer, f.answer...)
	res.security = weaker(res.security, f.security)
	res.stale = res.stale || f.stale
	if f.why.Text != "" || f.why.Code != 0 {
		res.why = append(res.why, f.why)
	}
	switch f.kind {
	case noName:
		res.rcode = dns.RcodeNameError
		if f.stale {
			res.why = append(res.why, dns.ExtendedError{Code: dns.ExtendedStaleNXDOMAIN})
		}
	default:
		if f.stale {
			res.why = append(res.why, dns.ExtendedError{Code: dns.ExtendedStale})
		}
	}
	res.authority = append(res.authority, f.authority...)
	if f.made {
		res.why = append(res.why, dns.ExtendedError{Code: dns.ExtendedSynthesized})
	}
}

// find works a question out, together with all who ask the same.
func (r *Resolver) find(ctx context.Context, w want) (*result, error) {
	fl, first := r.jobs.join(jobKey{w.key, w.cd}, func() (*result, error) { return r.work(w, nil) })
	if !first {
		r.count.merged.Add(1)
	}
	stale := r.staleResult(w)
	if stale == nil {
		return fl.wait(ctx)
	}
	patience, cancel := context.WithTimeout(ctx, r.Limits.Patience)
	defer cancel()
	res, err := fl.wait(patience)
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err == nil && (res.rcode != dns.RcodeServerFailure || res.security == Bogus):
		return res, nil
	}
	r.count.stale.Add(1)
	return stale, nil
}

// staleResult answers from what is past its time, where that is all there is (RFC 8767).
// Nothing bogus ever gets into the cache, and what has since turned out bogus is removed.
func (r *Resolver) staleResult(w want) *result {
	if r.Limits.Stale <= 0 {
		return nil
	}
	now := time.Now()
	res, err := r.chain(w, func(k key) (*found, error) {
		if f := r.localAnswer(k, now); f != nil {
			return f, nil
		}
		f := r.cache.get(k, now, r.Limits.Stale)
		if f == nil || f.security == Unchecked && !w.cd {
			return nil, errUnknown
		}
		return f, nil
	})
	if err != nil {
		return nil
	}
	return res
}

// work answers a question by asking around; problems come back as results.
func (r *Resolver) work(w want, t *Trace) (*result, error) {
	select {
	case r.working <- struct{}{}:
		defer func() { <-r.working }()
	default:
		r.count.overload.Add(1)
		return failure{problem: fail(dns.ExtendedNotReady, "too many questions in work")}.result(), nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), r.allowance())
	defer cancel()
	j := &job{r: r, ctx: ctx, cd: w.cd, trace: t}
	res, err := r.chain(w, func(k key) (*found, error) { return j.lookup(k, nil) })
	if err != nil {
		p := j.problem(err)
		if p.bogus {
			r.count.bogus.Add(1)
		}
		res = failure{problem: p}.result()
		j.note("", "failed: %s", p.text)
	}
	res.shared = true
	return res, nil
}

// allowance is how long a question may take: less, the more are in work, so that those that
// lead to silent servers do not take the place of all others (phantom domains).
func (r *Resolver) allowance() time.Duration {
	busy, places := len(r.working), cap(r.working)
	if busy <= places/4 {
		return r.Limits.Time
	}
	return max(r.Limits.Time*time.Duration(places-busy)/time.Duration(places), r.Limits.Time/6)
}
