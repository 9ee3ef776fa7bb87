package authority

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"stagecoach/rfc/dns"
)

// The pauses between NOTIFYs that are not acknowledged, as the reference has them.
var notifyPauses = [...]time.Duration{
	time.Second, time.Second, time.Second, 4 * time.Second, 13 * time.Second, 20 * time.Second, 20 * time.Second,
	2 * time.Minute, 7 * time.Minute, 15 * time.Minute, 35 * time.Minute,
}

// notified answers a NOTIFY (RFC 1996): one that is signed has the repository read before it is
// acknowledged, any other is acknowledged and not heeded.
func (a *Authority) notified(ctx context.Context, r *dns.Request) *dns.Msg {
	m := dns.NewResponse(r.Msg, dns.RcodeSuccess)
	m.Authoritative = true
	zone := dns.Canonical(r.Msg.Question[0].Name)
	if r.Key.IsZero() {
		return m
	}
	if !a.now.Load().keys.allows(r.Key.Name, zone, RightNotify) {
		m.Rcode = dns.RcodeNotAuth
		return m
	}
	if err := a.Reload(ctx); err != nil {
		m.Rcode = dns.RcodeServerFailure
	}
	return m
}

// A subscription is a client that asked for the SOA of a zone, signed, over a connection that it
// keeps: changes are told over that.
type subscription struct {
	stream *dns.Stream
	key    dns.Key
	zone   string
}

// A notifier keeps who is to be told, and what of.
type notifier struct {
	mu     sync.Mutex
	zones  map[string]bool // that have changed
	subs   []subscription
	wakeup chan struct{}
}

func (n *notifier) channel() chan struct{} {
	if n.wakeup == nil {
		n.wakeup = make(chan struct{}, 1)
	}
	return n.wakeup
}

// changed has a zone announced.
func (n *notifier) changed(zone string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.zones == nil {
		n.zones = map[string]bool{}
	}
	n.zones[zone] = true
	select {
	case n.channel() <- struct{}{}:
	default:
	}
}

func (n *notifier) take() (zones []string, subs []subscription) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for z := range n.zones {
		zones = append(zones, z)
	}
	n.zones = nil
	n.subs = slices.DeleteFunc(n.subs, func(s subscription) bool { return s.gone() })
	return zones, slices.Clone(n.subs)
}

func (s subscription) gone() bool {
	select {
	case <-s.stream.Done():
		return true
	default:
		return false
	}
}

// subscribe remembers the connection of a signed SOA query whose key may have the zone. A query
// for the root with a key for all zones subscribes to all of them.
func (a *Authority) subscribe(r *dns.Request) {
	zone := dns.Canonical(r.Msg.Question[0].Name)
	w := a.now.Load()
	if r.Stream == nil || !w.keys.allows(r.Key.Name, zone, RightTransfer) || w.zones[zone] == nil && zone != "." {
		return
	}
	r.Stream.Hold()
	a.tell.mu.Lock()
	defer a.tell.mu.Unlock()
	for _, s := range a.tell.subs {
		if s.stream == r.Stream && s.zone == zone {
			return
		}
	}
	a.tell.subs = append(a.tell.subs, subscription{r.Stream, r.Key, zone})
	if zone == "." {
		go w.introduce(r.Stream, r.Key)
	}
}

// introduce tells a subscriber to all zones which there are.
func (w *world) introduce(s *dns.Stream, key dns.Key) {
	for name, z := range w.zones {
		if s.Push(dns.NewNotify(name, z.soa), key) != nil {
			return
		}
	}
}

// notifyLoop announces changes as they come.
func (a *Authority) notifyLoop(ctx context.Context) {
	a.tell.mu.Lock()
	wakeup := a.tell.channel()
	a.tell.mu.Unlock()
	var work sync.WaitGroup
	defer work.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-wakeup:
		}
		zones, subs := a.tell.take()
		for _, zone := range zones {
			z := a.now.Load().zones[zone]
			if z == nil {
				continue
			}
			for _, s := range subs {
				if s.zone == zone || s.zone == "." {
					work.Go(func() { s.stream.Push(dns.NewNotify(zone, z.soa), s.key) }) //nolint:errcheck // it has gone
				}
			}
			work.Go(func() { a.announce(ctx, z) })
		}
		select { // many changes at once are told together
		case <-ctx.Done():
		case <-time.After(notifyEvery):
		}
	}
}

// notifyEvery is how often a zone that changes all the time is announced.
const notifyEvery = 100 * time.Millisecond

// A listener is a secondary that is told of changes.
type listener struct {
	addr netip.Addr
	key  dns.Key
}

// announce tells the secondaries of a zone, each until it acknowledges, until there is a newer
// version, or until the reference too would give up. Those whose addresses cannot be looked up
// now are told when they can.
func (a *Authority) announce(ctx context.Context, z *Zone) {
	var wg sync.WaitGroup
	listeners, unknown := a.listeners(ctx, z)
	for _, l := range listeners {
		wg.Go(func() { a.announceTo(ctx, z, l) })
	}
	for _, host := range unknown {
		wg.Go(func() { a.announceFound(ctx, z, host) })
	}
	wg.Wait()
}

// announceFound tells a secondary whose address could not be looked up.
func (a *Authority) announceFound(ctx context.Context, z *Zone, host string) {
	for _, pause := range notifyPauses {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		w := a.now.Load()
		if now := w.zones[z.Name]; now == nil || now.Serial() != z.Serial() {
			return
		}
		ips, err := a.addressesOf(ctx, w, host)
		if err != nil {
			continue
		}
		var wg sync.WaitGroup
		for _, ip := range ips {
			wg.Go(func() { a.announceTo(ctx, z, listener{addr: ip}) })
		}
		wg.Wait()
		return
	}
	a.Log.Warn("authority: a secondary has no address that can be looked up", "zone", dns.Host(z.Name), "secondary", dns.Host(host))
}

func (a *Authority) announceTo(ctx context.Context, z *Zone, l listener) {
	port := a.NotifyPort
	if port == 0 {
		port = 53
	}
	for i := 0; ; i++ {
		transport := []dns.Transport{dns.TCP, dns.UDP}[i%2] // whatever gets through
		c := &dns.Client{
			Servers: []dns.Nameserver{{Transport: transport, Addr: netip.AddrPortFrom(l.addr, port)}},
			Key:     l.key, Attempts: 1, Now: a.Now,
		}
		err := dns.Do(ctx, c, dns.NewNotify(z.Name, z.soa))
		if err == nil || ctx.Err() != nil {
			return
		}
		if i == len(notifyPauses) {
			a.Log.Warn("authority: a secondary does not take NOTIFYs", "zone", dns.Host(z.Name), "secondary", l.addr, "err", err)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(notifyPauses[i]):
		}
		if now := a.now.Load().zones[z.Name]; now == nil || now.Serial() != z.Serial() {
			return
		}
	}
}

// listeners are the name servers of the zone but for its primary, and the secondaries in the
// names of keys; unknown are those whose addresses cannot be looked up for now.
func (a *Authority) listeners(ctx context.Context, z *Zone) (out []listener, unknown []string) {
	w := a.now.Load()
	for _, k := range w.keys {
		if k.secondary.IsValid() && k.right >= RightTransfer && dns.IsSubdomain(k.zone, z.Name) {
			out = append(out, listener{k.secondary, k.Key})
		}
	}
	signed := len(out)
	for _, rr := range z.node(z.Name).set(dns.TypeNS) {
		host := dns.Canonical(rr.(*dns.NSRecord).Ns)
		if host == dns.Canonical(z.soa.Ns) {
			continue
		}
		ips, err := a.addressesOf(ctx, w, host)
		if err != nil {
			unknown = append(unknown, host)
		}
		for _, ip := range ips {
			if !slices.ContainsFunc(out[:signed], func(l listener) bool { return l.addr == ip }) {
				out = append(out, listener{addr: ip})
			}
		}
	}
	return out, unknown
}

// addressesOf returns the addresses of a host; an error means that they cannot be looked up for
// now, none that there are none.
func (a *Authority) addressesOf(ctx context.Context, w *world, host string) ([]netip.Addr, error) {
	if z := w.zones.enclosing(host); z != nil {
		var rrs []dns.RR
		if n := z.node(host); n != nil {
			rrs = append(slices.Clone(n.set(dns.TypeA)), n.set(dns.TypeAAAA)...)
		}
		return dns.Addresses(&dns.Answer{RRs: rrs}), nil
	}
	if a.Resolver == nil {
		return nil, nil
	}
	ips, err := dns.Addrs(ctx, a.Resolver, host)
	if dns.IsNegative(err) {
		return nil, nil
	}
	return ips, err
}
