package authority

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"stagecoach/rfc/dns"
)

// TransferLimits bound the whole zones that are handed out. A client is an address (of IPv6 a
// /64) with the key that it has. A zero field means the default that stands behind it.
type TransferLimits struct {
	AtOnce    int           // in all: 20
	PerClient int           // to one client at once: 5
	Burst     int           // of one zone to one client, without a pause: 10
	Every     time.Duration // and after these, one so often: 10 s
	Wait      time.Duration // for one's turn: 5 s
}

func (l TransferLimits) orDefault() TransferLimits {
	for _, f := range []struct {
		n *int
		d int
	}{{&l.AtOnce, 20}, {&l.PerClient, 5}, {&l.Burst, 10}} {
		if *f.n <= 0 {
			*f.n = f.d
		}
	}
	if l.Every <= 0 {
		l.Every = 10 * time.Second
	}
	if l.Wait <= 0 {
		l.Wait = 5 * time.Second
	}
	return l
}

// turns says whose transfer may go on.
type turns struct {
	mu      sync.Mutex
	total   int
	clients map[transferClient]int
	spent   map[transferGoal]time.Time // when all of the burst will be there again
	freed   chan struct{}              // closed when somebody is done
}

type transferClient struct {
	network netip.Prefix
	key     string
}

type transferGoal struct {
	transferClient
	zone string
}

// maxGoals bounds what is remembered. Above it half is forgotten.
const maxGoals = 10_000

// enter waits for a turn, and returns what ends it; nil when there is none.
func (t *turns) enter(ctx context.Context, l TransferLimits, r *dns.Request, zone string, now time.Time) (done func()) {
	l = l.orDefault()
	ctx, cancel := context.WithTimeout(ctx, l.Wait)
	defer cancel()
	bits := 32
	if r.Peer.Addr().Is6() {
		bits = 64
	}
	network, _ := r.Peer.Addr().Prefix(bits) // the zero Prefix for no address
	c := transferClient{network, r.Key.Name}
	if !t.spend(transferGoal{c, zone}, l, now) {
		return nil
	}
	for {
		freed := t.take(c, l)
		if freed == nil {
			return func() { t.leave(c) }
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return nil
		}
	}
}

// spend is a token bucket, kept as the time at which it is full.
func (t *turns) spend(g transferGoal, l TransferLimits, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.spent == nil {
		t.spent = map[transferGoal]time.Time{}
	}
	full := t.spent[g]
	if full.Before(now) {
		full = now
	}
	if full = full.Add(l.Every); full.After(now.Add(time.Duration(l.Burst) * l.Every)) {
		return false
	}
	t.spent[g] = full
	if len(t.spent) > maxGoals {
		t.forget(now)
	}
	return true
}

func (t *turns) forget(now time.Time) {
	for g, full := range t.spent {
		if full.Before(now) || len(t.spent) > maxGoals/2 {
			delete(t.spent, g)
		}
	}
}

// take returns nil, or what to wait for.
func (t *turns) take(c transferClient, l TransferLimits) <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.total >= l.AtOnce || t.clients[c] >= l.PerClient {
		if t.freed == nil {
			t.freed = make(chan struct{})
		}
		return t.freed
	}
	if t.clients == nil {
		t.clients = map[transferClient]int{}
	}
	t.total++
	t.clients[c]++
	return nil
}

func (t *turns) leave(c transferClient) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.total--
	if t.clients[c]--; t.clients[c] == 0 {
		delete(t.clients, c)
	}
	if t.freed != nil {
		close(t.freed)
		t.freed = nil
	}
}
