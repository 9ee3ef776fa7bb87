package submit

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

// Guesses bound failed logins. Zero values mean the defaults. An address is an IPv4 address
// or a /64 of IPv6, a network is a /24 or a /56.
type Guesses struct {
	AddressPerMinute int           // default 10
	AddressPerDay    int           // default 50
	NetworkPerMinute int           // default 30
	NetworkPerDay    int           // default 150
	AccountPerDay    int           // from networks where the account never logged in; default 20
	Delay            time.Duration // before a login after the first failure, twice as long after the next, up to 16 times; default 500 ms, negative for none
}

func (g Guesses) withDefaults() Guesses {
	or := func(p *int, n int) {
		if *p == 0 {
			*p = n
		}
	}
	or(&g.AddressPerMinute, 10)
	or(&g.AddressPerDay, 50)
	or(&g.NetworkPerMinute, 30)
	or(&g.NetworkPerDay, 150)
	or(&g.AccountPerDay, 20)
	if g.Delay == 0 {
		g.Delay = 500 * time.Millisecond
	}
	return g
}

// How much the guard remembers. A record takes some 150 octets.
const (
	maxPlaces    = 65536 // addresses, and as many networks
	maxStrangers = 16384 // names that no account has
	maxAccounts  = 65536
	maxSeen      = 16 // networks from which an account has logged in
)

// A guard counts failed logins: by address, by network, and by account. The zero value is
// ready for use.
type guard struct {
	mu        sync.Mutex
	addresses *recent[netip.Prefix, *tally]
	networks  *recent[netip.Prefix, *tally]
	accounts  *recent[string, *holder]
	strangers *recent[string, *holder] // apart, so that invented names push no account out
}

// A holder is what is known of an account.
type holder struct {
	tally tally
	seen  *recent[netip.Prefix, struct{}] // nil until the first login
}

// A tally counts in the present minute and the present day. Both begin with the first count
// after the one before has ended.
type tally struct {
	minute, day       time.Time
	inMinute, inDay   int
	maxMinute, maxDay int
}

func (t *tally) turn(now time.Time) {
	if d := now.Sub(t.minute); d >= time.Minute || d < 0 {
		t.minute, t.inMinute = now, 0
	}
	if d := now.Sub(t.day); d >= 24*time.Hour || d < 0 {
		t.day, t.inDay = now, 0
	}
}

func (t *tally) full() bool {
	return t.maxMinute > 0 && t.inMinute >= t.maxMinute || t.inDay >= t.maxDay
}

func (t *tally) add(n int) {
	t.inMinute = max(0, t.inMinute+n)
	t.inDay = max(0, t.inDay+n)
}

// A slip says where an attempt was counted.
type slip struct {
	places  []*tally
	account *holder
	network netip.Prefix
	counted bool // against the account
}

// begin counts an attempt as failed until it is known to be otherwise, so that attempts at
// the same time cannot pass the limits together. It waits when there were failures before.
func (g *guard) begin(ctx context.Context, limits Guesses, now func() time.Time, from netip.Addr, name string, known bool) (*slip, error) {
	s, failures, ok := g.count(limits, now(), from, name, known)
	if !ok {
		return nil, errTooMany
	}
	if failures == 0 || limits.Delay < 0 {
		return s, nil
	}
	wait := time.NewTimer(limits.Delay << min(failures-1, 4))
	defer wait.Stop()
	select {
	case <-wait.C:
		return s, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (g *guard) count(limits Guesses, now time.Time, from netip.Addr, name string, known bool) (_ *slip, failures int, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.init()
	address, network := places(from)
	at := g.addresses.get(address, func() *tally {
		return &tally{maxMinute: limits.AddressPerMinute, maxDay: limits.AddressPerDay}
	})
	in := g.networks.get(network, func() *tally {
		return &tally{maxMinute: limits.NetworkPerMinute, maxDay: limits.NetworkPerDay}
	})
	holders := g.strangers
	if known {
		holders = g.accounts
	}
	who := holders.get(name, func() *holder {
		return &holder{tally: tally{maxDay: limits.AccountPerDay}}
	})
	s := &slip{places: []*tally{at, in}, account: who, network: network}
	at.turn(now)
	in.turn(now)
	who.tally.turn(now)
	s.counted = who.seen == nil || !who.seen.has(network)
	if at.full() || in.full() || s.counted && who.tally.full() {
		return nil, 0, false
	}
	failures = max(at.inDay, in.inMinute)
	s.add(1)
	return s, failures, true
}

func (g *guard) init() {
	if g.addresses == nil {
		g.addresses = newRecent[netip.Prefix, *tally](maxPlaces)
		g.networks = newRecent[netip.Prefix, *tally](maxPlaces)
		g.accounts = newRecent[string, *holder](maxAccounts)
		g.strangers = newRecent[string, *holder](maxStrangers)
	}
}

func (s *slip) add(n int) {
	for _, t := range s.places {
		t.add(n)
	}
	if s.counted {
		s.account.tally.add(n)
	}
}

// succeeded takes an attempt back, and remembers where it came from.
func (g *guard) succeeded(now time.Time, s *slip) {
	if s == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	s.add(-1)
	if s.account.seen == nil {
		s.account.seen = newRecent[netip.Prefix, struct{}](maxSeen)
	}
	s.account.seen.put(s.network, struct{}{})
}

// undone takes back an attempt that was neither right nor wrong.
func (g *guard) undone(s *slip) {
	if s == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	s.add(-1)
}

// places returns what counts as the address and as the network of a client. A client without
// an address, on a unix socket, is a place of its own.
func places(from netip.Addr) (address, network netip.Prefix) {
	from = from.Unmap().WithZone("")
	small, large := 32, 24
	if from.Is6() {
		small, large = 64, 56
	}
	address, _ = from.Prefix(small)
	network, _ = from.Prefix(large)
	return address, network
}
