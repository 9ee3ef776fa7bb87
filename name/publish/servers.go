package publish

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"stagecoach/rfc/dns"
)

// Servers are the name servers of zones, all of which must have followed before the whole world
// can see a change.
type Servers struct {
	Primary dns.Exchanger
	// Resolver finds name servers that are outside of the zone; nil: they are not waited for.
	Resolver dns.Exchanger
	// Port is where they listen; 0 is 53.
	Port uint16
	// Ask returns what asks a server; nil: a client over UDP.
	Ask func(netip.AddrPort) dns.Exchanger
	Log *slog.Logger     // nil is silence
	Now func() time.Time // nil is time.Now
}

// ErrBehind says that a name server does not serve a change yet.
var ErrBehind = errors.New("it does not serve the change yet")

// How long name servers get to follow, and how often they are asked.
const (
	patience = 5 * time.Minute
	silence  = time.Minute // after which a server that never spoke counts as dead
	askEvery = time.Second
	askMax   = 10 * time.Second
)

// Await returns when serves is nil for all name servers of a zone. One that has said nothing for
// a minute is dead, and so not waited for, as is one whose address cannot be found for so long;
// where one answers ErrBehind for five minutes that is the error.
func (s *Servers) Await(ctx context.Context, zone string, serves func(context.Context, dns.Exchanger) error) error {
	hosts, err := s.hosts(ctx, zone)
	if err != nil {
		return fmt.Errorf("finding the name servers of %s: %w", dns.Host(zone), err)
	}
	var servers []netip.Addr
	last := map[netip.Addr]error{}
	spoke := map[netip.Addr]bool{}
	start := s.now()
	pause := askEvery
	for {
		var found []netip.Addr
		found, hosts, err = s.addresses(ctx, zone, hosts)
		servers = slices.DeleteFunc(distinct(servers, found), func(at netip.Addr) bool {
			last[at] = serves(ctx, s.ask(at))
			spoke[at] = spoke[at] || errors.Is(last[at], ErrBehind)
			return last[at] == nil
		})
		if len(servers)+len(hosts) == 0 {
			return nil
		}
		waited := s.now().Sub(start)
		if waited > patience || waited > silence && !slices.ContainsFunc(servers, func(at netip.Addr) bool { return spoke[at] }) {
			break
		}
		if !sleep(ctx, pause) {
			return ctx.Err()
		}
		pause = min(pause*3/2, askMax)
	}
	for _, at := range servers {
		if spoke[at] {
			return fmt.Errorf("the name server %s of %s does not follow: %w", at, dns.Host(zone), last[at])
		}
		s.log().Warn("a name server does not answer", "zone", dns.Host(zone), "server", at, "err", last[at])
	}
	for _, host := range hosts {
		s.log().Warn("the address of a name server cannot be found", "zone", dns.Host(zone), "server", host, "err", err)
	}
	return nil
}

// distinct returns all addresses, each once, in order.
func distinct(a, b []netip.Addr) []netip.Addr {
	all := append(a, b...)
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.Compact(all)
}

func (s *Servers) ask(at netip.Addr) dns.Exchanger {
	port := s.Port
	if port == 0 {
		port = 53
	}
	if s.Ask != nil {
		return s.Ask(netip.AddrPortFrom(at, port))
	}
	return &dns.Client{
		Servers: []dns.Nameserver{{Transport: dns.UDP, Addr: netip.AddrPortFrom(at, port)}}, Attempts: 1, Now: s.Now,
	}
}

// hosts returns the name servers of a zone.
func (s *Servers) hosts(ctx context.Context, zone string) ([]string, error) {
	hosts, err := dns.NS(ctx, s.Primary, zone)
	if err != nil && dns.IsNegative(err) {
		return nil, nil // a zone that only its primary knows
	}
	return hosts, err
}

// addresses returns the addresses of name servers of a zone: of those within it as the primary
// has them, of others as the world does. Those that failed are left, with the last error.
func (s *Servers) addresses(ctx context.Context, zone string, hosts []string) (found []netip.Addr, left []string, last error) {
	for _, host := range hosts {
		x := s.Resolver
		if dns.IsSubdomain(zone, host) {
			x = s.Primary
		}
		if x == nil {
			continue
		}
		ips, err := dns.Addrs(ctx, x, host)
		switch {
		case err == nil:
			found = append(found, ips...)
		case dns.IsNegative(err):
			s.log().Warn("a name server has no address", "zone", dns.Host(zone), "server", host, "err", err)
		default:
			left, last = append(left, host), err
		}
	}
	return found, left, last
}

func (s *Servers) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

func (s *Servers) log() *slog.Logger {
	if s.Log != nil {
		return s.Log
	}
	return slog.New(slog.DiscardHandler)
}

// sleep returns false when ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
