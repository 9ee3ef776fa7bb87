package resolver

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"stagecoach/rfc/dns"
)

// ask asks the servers of a zone in turn until one says something that makes sense.
func (j *job) ask(c *cut, k key, p *path) (*said, error) {
	if c.route != nil {
		return j.askRoute(c, k)
	}
	t := &tour{j: j, cut: c, left: slices.Clone(c.addrs), names: c.names}
	var last error = fail(dns.ExtendedNoAuthority, "no server of %s has an address", c.zone)
	for range maxTries {
		a, ok, err := t.next(p)
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		m, err := j.query(a, k)
		switch {
		case j.ctx.Err() != nil:
			return nil, context.Cause(j.ctx)
		case err != nil:
			last = fail(dns.ExtendedNoAuthority, "%s, for %s: %v", a, c.zone, err)
			t.silent = append(t.silent, a)
			continue
		}
		s, err := j.r.classify(m, c, k)
		if err != nil {
			j.r.count.lame.Add(1)
			if p.key == k { // of a name in between, it may only be that server's ignorance
				j.r.hosts.lame(a, c.zone, m)
			}
			j.note(c.zone, "%s is of no use for %s: %v", a, c.zone, err)
			last = fail(j.problem(err).code, "%s, for %s: %v", a, c.zone, err)
			continue
		}
		s.from = a
		if s.found != nil {
			s.found.from = a
		}
		return s, nil
	}
	return nil, last
}

// A tour is the order in which the servers of one zone are asked one question: the quickest
// first, then those whose addresses have to be looked up, then those that were silent, up to twice
// more.
type tour struct {
	j      *job
	cut    *cut
	left   []netip.AddrPort
	silent []netip.AddrPort
	names  []string
	rounds int // begun anew
	tried  int
}

func (t *tour) next(p *path) (netip.AddrPort, bool, error) {
	for {
		t.left = slices.DeleteFunc(t.left, t.j.shunned)
		if i := t.j.r.hosts.pick(t.left, t.cut.zone, t.tried == 0 && len(t.names) == 0); i >= 0 {
			a := t.left[i]
			t.left = slices.Delete(t.left, i, i+1)
			t.tried++
			return a, true, nil
		}
		switch {
		case len(t.names) > 0:
			if err := t.more(p); err != nil {
				return netip.AddrPort{}, false, err
			}
		case t.rounds < 2 && len(t.silent) > 0:
			t.rounds++
			t.left = append(t.left, t.silent...)
			t.silent = nil
		default:
			return netip.AddrPort{}, false, nil
		}
	}
}

// more looks up the addresses of the next two servers that have none yet. One that does not
// exist is no failure of its own; but many of them are an attack (NXNSAttack), and so are many.
func (t *tour) more(p *path) error {
	n := min(2, len(t.names))
	names := t.names[:n]
	t.names = t.names[n:]
	types := []uint16{dns.TypeA, dns.TypeAAAA}
	if t.j.r.NoIPv6 {
		types = types[:1]
	} else if t.j.r.NoIPv4 {
		types = types[1:]
	}
	got := make([][]netip.AddrPort, n*len(types))
	errs := make([]error, len(got))
	var wg sync.WaitGroup
	for i, name := range names {
		if err := spend(&t.j.targets, t.j.r.Limits.Targets, "names of servers"); err != nil {
			return err
		}
		if p.depthTooLarge(t.j.r.Limits.Depth) {
			return tooMuch("servers of servers")
		}
		for ti, typ := range types {
			wg.Go(func() { got[i*len(types)+ti], errs[i*len(types)+ti] = t.j.serverAddrs(key{name, typ}, p) })
		}
	}
	wg.Wait()
	for i, addrs := range got {
		for _, a := range addrs {
			if len(t.left) < maxAddresses && !slices.Contains(t.left, a) {
				t.left = append(t.left, a)
			}
		}
		if t.j.ctx.Err() != nil {
			return context.Cause(t.j.ctx)
		}
		if i%len(types) == 0 && len(addrs) == 0 && (len(types) == 1 || len(got[i+1]) == 0) {
			if err := spend(&t.j.missing, t.j.r.Limits.Missing, "names of servers that lead nowhere"); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *path) depthTooLarge(limit int) bool {
	n := 0
	for ; p != nil; p = p.up {
		if p.key.t == dns.TypeA || p.key.t == dns.TypeAAAA {
			n++
		}
	}
	return n > limit
}

// serverAddrs looks up one family of addresses of a server. They need not be validated: what
// is found with them is.
func (j *job) serverAddrs(k key, p *path) ([]netip.AddrPort, error) {
	f, err := j.raw(k, p)
	if err != nil {
		return nil, err
	}
	if f.kind != records { // aliases are not allowed here (RFC 2181 section 10.3)
		return nil, nil
	}
	var out []netip.AddrPort
	for _, rr := range f.answer {
		if a, ok := j.r.address(rr); ok && len(out) < 8 {
			out = append(out, a)
		}
	}
	return out, nil
}

// routePatience is how long the Exchanger of a Route may take.
const routePatience = 5 * time.Second

// askRoute asks the Exchanger of a Route.
func (j *job) askRoute(c *cut, k key) (*said, error) {
	if err := spend(&j.queries, j.r.Limits.Queries, "queries"); err != nil {
		return nil, err
	}
	q := dns.NewQuery(k.name, k.t)
	q.Extra = nil
	q.SetEdns0(dns.UDPSize, true)
	q.RecursionDesired = c.route.Recursive
	q.CheckingDisabled = c.route.Recursive
	ctx, cancel := context.WithTimeout(j.ctx, routePatience)
	defer cancel()
	j.r.count.queries.Add(1)
	m, err := c.route.To.Exchange(ctx, q)
	if err != nil {
		return nil, fail(dns.ExtendedNetwork, "the route for %s: %v", c.zone, err)
	}
	s, err := j.r.classify(m, c, k)
	if err != nil {
		return nil, err
	}
	j.note(c.zone, "asked the route for %s: %s %s", c.zone, k.name, dns.TypeName(k.t))
	return s, nil
}

// A query is one question to one server.
type query struct {
	addr netip.AddrPort
	key  key
}

type reply struct{ msg *dns.Msg }

// query asks one server one question, together with all other jobs that ask it the same. The
// response is shared: it is not to be changed.
func (j *job) query(a netip.AddrPort, k key) (*dns.Msg, error) {
	if err := spend(&j.queries, j.r.Limits.Queries, "queries"); err != nil {
		return nil, err
	}
	start := time.Now()
	fl, _ := j.r.asking.join(query{a, k}, func() (*reply, error) { return j.r.exchange(a, k) })
	rep, err := fl.wait(j.ctx)
	if err != nil {
		j.note("", "asked %s for %s %s: %v (%v)", a, k.name, dns.TypeName(k.t), err, time.Since(start).Round(time.Millisecond))
		return nil, err
	}
	j.note("", "asked %s for %s %s (%v)", a, k.name, dns.TypeName(k.t), time.Since(start).Round(time.Millisecond))
	return rep.msg, nil
}
