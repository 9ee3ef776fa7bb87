package smtp

import (
	"net/netip"
	"sync"
	"time"

	"stagecoach/mail"
)

// maxTallies bounds the memory for addresses without a connection.
const maxTallies = 1 << 16

// A gauge counts connections, in all and by where they come from.
type gauge struct {
	limits Limits

	mu    sync.Mutex
	total int
	hosts map[netip.Prefix]*tally
	nets  map[netip.Prefix]int
}

// A tally is what is remembered of one address.
type tally struct {
	conns   int
	rate    bucket // of new connections
	unknown bucket // of refused recipients
}

func newGauge(l Limits) *gauge {
	return &gauge{limits: l, hosts: map[netip.Prefix]*tally{}, nets: map[netip.Prefix]int{}}
}

// enter counts a connection, if there is room for it. pressed says that room is short.
func (g *gauge) enter() (pressed, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if over(g.total+1, g.limits.Connections) {
		return true, false
	}
	g.total++
	return g.pressedLocked(), true
}

func (g *gauge) exit() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.total--
}

// pressed reports whether more than three quarters of the connections are in use.
func (g *gauge) pressed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.pressedLocked()
}

func (g *gauge) pressedLocked() bool {
	return over(g.total, g.limits.Connections/4*3) && g.limits.Connections > 3
}

// come counts a connection from an address, or says why it may not be. Each come without
// an error wants a leave.
func (g *gauge) come(from netip.Addr) *mail.Refusal {
	if !from.IsValid() {
		return nil
	}
	now := time.Now()
	host, network := prefixes(from)
	g.mu.Lock()
	defer g.mu.Unlock()
	t := g.tally(host)
	switch {
	case g.limits.Rate > 0 && !t.rate.take(now, g.limits.Rate, time.Minute):
		return mail.Defer(421, "4.7.0", "too many connections in a minute from your address")
	case g.limits.Unknown > 0 && t.unknown.empty(now, g.limits.Unknown, time.Hour):
		return errTooManyUnknown
	case over(t.conns+1, g.limits.PerAddress):
		return mail.Defer(421, "4.7.0", "too many connections from your address")
	case over(g.nets[network]+1, g.limits.PerNetwork):
		return mail.Defer(421, "4.7.0", "too many connections from your network")
	}
	t.conns++
	g.nets[network]++
	return nil
}

func (g *gauge) leave(from netip.Addr) {
	if !from.IsValid() {
		return
	}
	host, network := prefixes(from)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tally(host).conns--
	if g.nets[network]--; g.nets[network] <= 0 {
		delete(g.nets, network)
	}
}

// unknown counts a recipient that was refused for good, and reports whether the address may
// go on.
func (g *gauge) unknown(from netip.Addr) bool {
	if !from.IsValid() || g.limits.Unknown < 0 {
		return true
	}
	host, _ := prefixes(from)
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	t := g.tally(host)
	t.unknown.take(now, g.limits.Unknown, time.Hour)
	return !t.unknown.empty(now, g.limits.Unknown, time.Hour)
}

// tally returns the tally of a host. When there are too many, those that nobody is
// connected from are forgotten.
func (g *gauge) tally(host netip.Prefix) *tally {
	t := g.hosts[host]
	if t != nil {
		return t
	}
	if len(g.hosts) >= maxTallies {
		g.forget()
	}
	t = new(tally)
	g.hosts[host] = t
	return t
}

// forget makes room: half of the tallies without a connection go, those that say nothing
// any more first of all.
func (g *gauge) forget() {
	now := time.Now()
	for host, t := range g.hosts {
		if t.conns == 0 && t.rate.full(now, g.limits.Rate, time.Minute) && t.unknown.full(now, g.limits.Unknown, time.Hour) {
			delete(g.hosts, host)
		}
	}
	excess := len(g.hosts) - maxTallies/2
	for host, t := range g.hosts {
		if excess <= 0 {
			return
		}
		if t.conns == 0 {
			delete(g.hosts, host)
			excess--
		}
	}
}

// prefixes returns what counts as one address and as one network.
func prefixes(a netip.Addr) (host, network netip.Prefix) {
	if a.Is4() {
		host, _ = a.Prefix(32)
		network, _ = a.Prefix(24)
		return host, network
	}
	host, _ = a.Prefix(64)
	network, _ = a.Prefix(48)
	return host, network
}

// A bucket counts what was used of an allowance that comes back evenly over a period. The
// zero bucket has all of it.
type bucket struct {
	used float64
	at   time.Time
}

func (b *bucket) flow(now time.Time, allowance int, per time.Duration) {
	if b.used > 0 {
		b.used = max(0, b.used-float64(allowance)*float64(now.Sub(b.at))/float64(per))
	}
	b.at = now
}

// take uses one, if one is left.
func (b *bucket) take(now time.Time, allowance int, per time.Duration) bool {
	b.flow(now, allowance, per)
	if b.used+1 > float64(allowance) {
		return false
	}
	b.used++
	return true
}

func (b *bucket) empty(now time.Time, allowance int, per time.Duration) bool {
	b.flow(now, allowance, per)
	return b.used+1 > float64(allowance)
}

func (b *bucket) full(now time.Time, allowance int, per time.Duration) bool {
	b.flow(now, allowance, per)
	return b.used == 0
}
