package cert

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"stagecoach/name/publish"
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

// spread waits until all name servers of a zone serve the challenges, since the authority may
// ask any of them.
func (i *Issuer) spread(ctx context.Context, zone string, wanted []challenge) error {
	s := &publish.Servers{Primary: i.Primary, Resolver: i.Resolver, Port: i.Port, Ask: i.exchange, Log: i.Log, Now: i.Now}
	return s.Await(ctx, zone, func(ctx context.Context, x dns.Exchanger) error { return serves(ctx, x, wanted) })
}

func serves(ctx context.Context, x dns.Exchanger, wanted []challenge) error {
	for _, c := range wanted {
		texts, err := dns.TXT(ctx, x, c.Name)
		switch {
		case dns.IsNegative(err), err == nil && !slices.Contains(texts, c.Value):
			return publish.ErrBehind
		case err != nil:
			return err
		}
	}
	return nil
}
