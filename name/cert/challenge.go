package cert

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"stagecoach/rfc/dns"
)

// prove shows the authority, name by name, that the zone is ours to write (RFC 8555 section
// 8.4). The records are removed again whatever happens.
func (v *visit) prove(ctx context.Context, j *job, order acme.Order) error {
	var open []acme.Authorization
	var wanted []challenge
	for _, url := range order.Authorizations {
		z, err := v.client.GetAuthorization(ctx, v.account, url)
		if err != nil {
			return fmt.Errorf("looking at an authorization: %w", err)
		}
		switch z.Status {
		case acme.StatusValid:
			continue
		case acme.StatusPending:
		default:
			return fmt.Errorf("%w: the authorization of %s is %s", errOver, z.Identifier.Value, z.Status)
		}
		at := slices.IndexFunc(z.Challenges, isDNS)
		if at < 0 {
			return fmt.Errorf("%w: the authority does not prove %s by DNS", errOver, z.Identifier.Value)
		}
		open = append(open, z)
		wanted = append(wanted, challenge{Name: z.Challenges[at].DNS01TXTRecordName(), Value: z.Challenges[at].DNS01KeyAuthorization()})
	}
	if len(open) == 0 {
		return nil
	}
	defer func() {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		if err := j.cleanUp(clean); err != nil {
			v.ca.issuer.Log.Warn("issuer: the challenge could not be removed", "host", j.host, "err", err)
		}
	}()
	if err := j.present(ctx, wanted); err != nil {
		return err
	}
	if err := v.ca.issuer.spread(ctx, j.watch.zone, wanted); err != nil {
		return err
	}
	return v.have(ctx, open)
}

func isDNS(c acme.Challenge) bool { return c.Type == acme.ChallengeTypeDNS01 }

// have asks the authority to look, and waits until it has.
func (v *visit) have(ctx context.Context, open []acme.Authorization) error {
	for _, z := range open {
		c := z.Challenges[slices.IndexFunc(z.Challenges, isDNS)]
		if c.Status == acme.StatusProcessing { // before a restart
			continue
		}
		if _, err := v.client.InitiateChallenge(ctx, v.account, c); err != nil {
			return fmt.Errorf("having %s proved: %w", z.Identifier.Value, err)
		}
	}
	for _, z := range open {
		if done, err := v.client.PollAuthorization(ctx, v.account, z); err != nil {
			if done.Status == acme.StatusInvalid {
				err = fmt.Errorf("%w: %w", errOver, err)
			}
			return fmt.Errorf("proving %s: %w", z.Identifier.Value, err)
		}
	}
	return nil
}

// present writes the records of the challenges. It remembers them first, so that they do not
// stay for ever if we are killed.
func (j *job) present(ctx context.Context, wanted []challenge) error {
	m := dns.NewUpdate(j.watch.zone)
	for _, c := range j.memory.Challenges { // of a process before us
		if !slices.Contains(wanted, c) {
			m.Remove([]dns.RR{c.txt()})
		}
	}
	j.memory.Challenges = append(j.memory.Challenges, wanted...)
	slices.SortFunc(j.memory.Challenges, func(a, b challenge) int { return strings.Compare(a.Name+" "+a.Value, b.Name+" "+b.Value) })
	j.memory.Challenges = slices.Compact(j.memory.Challenges)
	if err := j.memory.save(); err != nil {
		return err
	}
	for _, c := range wanted {
		m.Insert([]dns.RR{c.txt()})
	}
	if err := dns.Do(ctx, j.watch.issuer.Primary, m); err != nil {
		return fmt.Errorf("writing the challenge: %w", err)
	}
	return nil
}

// cleanUp removes the records of challenges, and nothing that others wrote.
func (j *job) cleanUp(ctx context.Context) error {
	if len(j.memory.Challenges) == 0 {
		return nil
	}
	m := dns.NewUpdate(j.watch.zone)
	for _, c := range j.memory.Challenges {
		m.Remove([]dns.RR{c.txt()})
	}
	if err := dns.Do(ctx, j.watch.issuer.Primary, m); err != nil {
		return fmt.Errorf("removing the challenge: %w", err)
	}
	j.memory.Challenges = nil
	return j.memory.save()
}

// How long name servers get to follow, and how often they are asked.
const (
	patience = 5 * time.Minute
	silence  = time.Minute // after which a server that never spoke counts as dead
	askEvery = time.Second
	askMax   = 10 * time.Second
)

// spread waits until all name servers of a zone serve the challenges, since the authority may
// ask any of them. One that has said nothing all the time is dead, and so not waited for; one
// that answers without them ends the order.
func (i *Issuer) spread(ctx context.Context, zone string, wanted []challenge) error {
	servers, err := i.nameservers(ctx, zone)
	if err != nil {
		return fmt.Errorf("finding the name servers of %s: %w", dns.Host(zone), err)
	}
	last := map[netip.Addr]error{}
	spoke := map[netip.Addr]bool{}
	start := i.now()
	pause := askEvery
	for {
		servers = slices.DeleteFunc(servers, func(at netip.Addr) bool {
			last[at] = i.serves(ctx, at, wanted)
			spoke[at] = spoke[at] || errors.Is(last[at], errNotThere)
			return last[at] == nil
		})
		if len(servers) == 0 {
			return nil
		}
		waited := i.now().Sub(start)
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
		i.Log.Warn("issuer: a name server does not answer", "zone", dns.Host(zone), "server", at, "err", last[at])
	}
	return nil
}

var errNotThere = errors.New("it does not serve the challenge yet")

func (i *Issuer) serves(ctx context.Context, at netip.Addr, wanted []challenge) error {
	port := i.Port
	if port == 0 {
		port = 53
	}
	var x dns.Exchanger = &dns.Client{
		Servers: []dns.Nameserver{{Transport: dns.UDP, Addr: netip.AddrPortFrom(at, port)}}, Attempts: 1, Now: i.Now,
	}
	if i.exchange != nil {
		x = i.exchange(netip.AddrPortFrom(at, port))
	}
	for _, c := range wanted {
		texts, err := dns.TXT(ctx, x, c.Name)
		switch {
		case dns.IsNegative(err), err == nil && !slices.Contains(texts, c.Value):
			return errNotThere
		case err != nil:
			return err
		}
	}
	return nil
}

// nameservers returns the addresses of the name servers of a zone: those within it as the
// primary has them, others as the world does.
func (i *Issuer) nameservers(ctx context.Context, zone string) ([]netip.Addr, error) {
	hosts, err := dns.NS(ctx, i.Primary, zone)
	if err != nil {
		if dns.IsNegative(err) {
			return nil, nil // a zone that only its primary knows
		}
		return nil, err
	}
	var out []netip.Addr
	for _, host := range hosts {
		x := i.Resolver
		if dns.IsSubdomain(zone, host) {
			x = i.Primary
		}
		if x == nil {
			continue
		}
		ips, err := dns.Addrs(ctx, x, host)
		if err != nil {
			i.Log.Warn("issuer: a name server has no address", "zone", dns.Host(zone), "server", host, "err", err)
		}
		out = append(out, ips...)
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out), nil
}
