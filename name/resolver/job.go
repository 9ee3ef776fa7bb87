package resolver

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"stagecoach/rfc/dns"
)

// A job is the work on one question of a client, and what is left of its allowance.
type job struct {
	r      *Resolver
	ctx    context.Context
	cd     bool
	strict bool // negative trust anchors do not count
	trace  *Trace

	queries, targets, missing  atomic.Int32
	signatures, wrong, hashing atomic.Int32

	mu     sync.Mutex
	avoid  map[netip.AddrPort]bool // servers that gave bogus answers to this question
	inside map[string]bool         // names in between that are no zones of their own
}

// spend takes one from an allowance.
func spend(n *atomic.Int32, limit int, what string) error {
	if int(n.Add(1)) > limit {
		return tooMuch(what)
	}
	return nil
}

// A path is the look-ups within which another is made.
type path struct {
	up    *path
	key   key
	depth int
}

func (p *path) enter(k key) *path {
	if p == nil {
		return &path{key: k}
	}
	return &path{up: p, key: k, depth: p.depth + 1}
}

func (p *path) contains(k key) bool {
	for ; p != nil; p = p.up {
		if p.key == k {
			return true
		}
	}
	return false
}

// problem returns why there is no answer, in the words of the last error.
func (j *job) problem(err error) *problem {
	var p *problem
	switch {
	case errors.As(err, &p):
		return p
	case errors.Is(err, context.DeadlineExceeded):
		return fail(dns.ExtendedNoAuthority, "no answer within %v", j.r.Limits.Time)
	}
	return fail(dns.ExtendedNetwork, "%v", err)
}

// bogusTries is how many servers may give a bogus answer before it is believed to be bogus.
const bogusTries = 3

// lookup finds one step of an answer and validates it, unless the client wants no checking.
func (j *job) lookup(k key, p *path) (*found, error) {
	var bad *problem
	for try := 1; ; try++ {
		f, err := j.raw(k, p)
		switch {
		case err != nil && bad != nil: // no other server says anything
			j.r.fails(k, bad)
			return nil, bad
		case err != nil:
			return nil, err
		case j.cd || f.security != Unchecked:
			f.stamp()
			return f, nil
		}
		if err := j.validate(f, k, p); err != nil {
			j.drop(f, k, err)
			return nil, j.remember(k, err)
		}
		if f.security != Bogus {
			j.r.keep(f)
			f.stamp()
			return f, nil
		}
		j.note(f.zone, "%s %s from %s is bogus: %s", k.name, dns.TypeName(k.t), f.from, f.why.Text)
		bad = &problem{code: f.why.Code, text: f.why.Text, bogus: true}
		fetched := j.forget(f, k)
		if try == bogusTries || !fetched && !j.shun(f) {
			j.r.fails(k, bad)
			return nil, bad
		}
	}
}

// shun keeps from asking the server of a bogus answer again. It reports whether it was new;
// answers from memory have no server.
func (j *job) shun(f *found) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.avoid == nil {
		j.avoid = map[netip.AddrPort]bool{}
	}
	fresh := !f.from.IsValid() || !j.avoid[f.from]
	j.avoid[f.from] = true
	return fresh
}

func (j *job) shunned(a netip.AddrPort) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.avoid[a]
}

// freshKeys is for how long keys are not to blame for a bogus answer: so that forgers cannot
// have them fetched all the time.
const freshKeys = time.Minute

// forget removes an answer that turned out bogus, and the keys that may be to blame: a zone may
// have new ones. It reports whether keys were removed, so that the same server deserves another
// try.
func (j *job) forget(f *found, k key) (keys bool) {
	if signer := signerOf(f); signer != "" {
		if t, ok := j.r.trusts.get(signer); ok && t.security == Secure && time.Since(t.since) > freshKeys {
			j.r.trusts.remove(signer)
			j.r.cache.remove(key{signer, dns.TypeDNSKEY})
			keys = true
		}
	}
	j.r.remove(f, k)
	return keys
}

// drop removes an answer that takes too much work to check (KeyTrap): there is no use for it, and
// it is large.
func (j *job) drop(f *found, k key, err error) {
	if p := (*problem)(nil); errors.As(err, &p) && p.excess {
		j.r.remove(f, k)
	}
}

// remove removes an answer to k.
func (r *Resolver) remove(f *found, k key) {
	r.cache.remove(f.key)
	r.cache.remove(k)
	r.cache.remove(key{f.key.name, dns.TypeNone})
}

// remember remembers what went wrong with a question, for others to know, and returns it.
func (j *job) remember(k key, err error) error {
	p := j.problem(err)
	if p.code != dns.ExtendedCachedError {
		j.r.fails(k, p)
	}
	return p
}

// raw finds one step of an answer, from memory or by the walk, not always validated.
func (j *job) raw(k key, p *path) (*found, error) {
	now := time.Now()
	if f := j.r.recall(k, now); f != nil && (p != nil || !f.partial()) {
		j.noteFound(f, "from memory")
		return f, nil
	}
	if err := j.r.failed(k, j.cd, now); !errors.Is(err, errUnknown) {
		return nil, err
	}
	if p.contains(k) {
		return nil, fail(dns.ExtendedNoAuthority, "to find %s %s, %s %s is needed", k.name, dns.TypeName(k.t), k.name, dns.TypeName(k.t))
	}
	p = p.enter(k)
	if p.depth > j.r.Limits.Depth+labelsAllowance {
		return nil, tooMuch("depth")
	}
	f, err := j.walk(k, p)
	if err != nil {
		return nil, j.remember(k, err)
	}
	j.noteFound(f, "found")
	j.r.keep(f)
	return f, nil
}

// labelsAllowance is how much deeper chains of trust may nest than look-ups for servers.
const labelsAllowance = 20

// keep puts a step into the cache, with what RFC 8198 makes of it.
func (r *Resolver) keep(f *found) {
	if f.made || f.security == Bogus || f.zone == "" {
		return
	}
	f.limitTTL(r.Limits.MaxTTL)
	r.cache.put(f)
	if f.security == Secure {
		r.learnRanges(f)
	}
}
