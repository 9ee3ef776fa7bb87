package resolver

import (
	"strings"
	"time"

	"stagecoach/rfc/dns"
)

// walk asks its way down from the closest known servers to those that answer (RFC 1034
// section 5.3.3), telling each only what it has to know (RFC 9156).
func (j *job) walk(k key, p *path) (*found, error) {
	if k.name == "." && k.t == dns.TypeDS {
		return nil, fail(dns.ExtendedOther, "the root has no zone above")
	}
	c, err := j.closest(k, p)
	if err != nil {
		return nil, err
	}
	m := newMinimizer(k, c)
	for range maxReferrals {
		q, whole := m.question()
		if !whole && j.within(q) {
			m.advance()
			continue
		}
		s, err := j.ask(c, q, p)
		switch {
		case err != nil && (whole || j.ctx.Err() != nil):
			return nil, err
		case err != nil:
			m.giveUp() // some servers know nothing of names in between
		case s.referral != nil:
			c = j.learn(s.referral, c, s.from)
			j.note(c.zone, "%s refers to the servers of %s", s.from, c.zone)
			if k.t == dns.TypeDS && c.zone == k.name {
				return nil, fail(dns.ExtendedNoAuthority, "the servers above %s refer to it when asked for its DS", k.name)
			}
			m.enter(c)
		case whole || s.found.kind == subtree:
			return s.found, nil
		case s.found.kind == noName:
			m.giveUp() // not all servers know that names exist that have names below (RFC 8020)
		default:
			j.noteWithin(s.found, q)
			m.advance()
		}
	}
	return nil, tooMuch("referrals")
}

// within reports whether a name in between is known to be asked of the servers that we are at:
// there is an answer of theirs, or was one for this question.
func (j *job) within(q key) bool {
	j.mu.Lock()
	seen := j.inside[q.name]
	j.mu.Unlock()
	if seen {
		return true
	}
	f := j.r.cache.get(q, time.Now(), 0)
	return f != nil && f.kind != noName && f.kind != subtree
}

// noteWithin keeps the answer for a name in between.
func (j *job) noteWithin(f *found, q key) {
	j.mu.Lock()
	if j.inside == nil {
		j.inside = map[string]bool{}
	}
	j.inside[q.name] = true
	j.mu.Unlock()
	if !j.r.cache.has(f.key, time.Now()) {
		j.r.keep(f)
	}
}

// A minimizer says how much of a name to tell (RFC 9156 section 2.3).
type minimizer struct {
	k     key
	total int // labels of the name
	have  int // labels that are told now
	asked int
	all   bool
}

const (
	minimizeMax = 10 // questions for one name, MAX_MINIMISE_COUNT
	minimizeOne = 4  // of these that add one label each, MINIMISE_ONE_LAB
)

func newMinimizer(k key, c *cut) *minimizer {
	m := &minimizer{k: k, total: labels(k.name)}
	m.enter(c)
	return m
}

// enter begins again below the cut.
func (m *minimizer) enter(c *cut) {
	m.have = labels(c.zone)
	m.all = m.all || c.route != nil && c.route.Recursive
	m.advance()
}

func (m *minimizer) giveUp() { m.all = true }

func (m *minimizer) advance() {
	m.asked++
	step := 1
	if m.asked > minimizeOne {
		step = max(1, (m.total-m.have)/max(1, minimizeMax-m.asked))
	}
	m.have += step
	// Names that begin with an underscore hardly ever are zones of their own; RFC 9156
	// section 2.3 lets them be told at once.
	if m.have < m.total && strings.HasPrefix(ancestor(m.k.name, m.have), "_") {
		m.have = m.total
	}
}

// question returns what to ask, and whether that is the whole question.
func (m *minimizer) question() (key, bool) {
	if m.all || m.have >= m.total || m.asked > minimizeMax {
		return m.k, true
	}
	return key{ancestor(m.k.name, m.have), dns.TypeA}, false
}
