package cert

import (
	"context"
	"errors"
	"fmt"
	"time"

	"stagecoach/rfc/dns"
)

// oncePer is how often a request of somebody else is replaced: where two services with
// different keys share one name, they would otherwise replace each other's for ever, and use up
// what the authority allows.
const oncePer = 24 * time.Hour

// ask writes the request at an owner unless it stands there, alone. Where there is no good
// certificate the whole set goes, as reference clients have it.
func (k *Keeper) ask(ctx context.Context, s *shelf, good bool) error {
	foreign, present := k.others(s)
	if present && len(foreign) == 0 {
		return nil
	}
	now := k.now()
	last, asked := k.note.Asked[s.owner]
	if len(foreign) > 0 && asked && last.Request == k.request.id() && now.Sub(last.At) < oncePer && !now.Before(last.At) {
		k.raise("another request stands at " + dns.Host(s.owner) + ": does another service with another key have this name?")
		return nil
	}
	m := dns.NewUpdate(k.Zone)
	s.unchanged(m)
	if good {
		for _, rr := range foreign {
			m.Remove([]dns.RR{dns.Copy(rr)})
		}
	} else {
		m.RemoveRRset([]dns.RR{record(s.owner, kindRequest, nil)})
	}
	if !present || !good {
		m.Insert([]dns.RR{record(s.owner, kindRequest, k.request.der)})
	}
	err := dns.Do(ctx, k.Primary, m)
	var code dns.RcodeError
	if errors.As(err, &code) && (int(code) == dns.RcodeNXRrset || int(code) == dns.RcodeYXRrset) {
		return fmt.Errorf("the records at %s have changed meanwhile", dns.Host(s.owner))
	}
	if err != nil {
		return fmt.Errorf("writing the request at %s: %w", dns.Host(s.owner), err)
	}
	k.Log.Info("certificate: requested", "host", dns.Host(s.owner))
	if k.note.Asked == nil {
		k.note.Asked = map[string]asking{}
	}
	k.note.Asked[s.owner] = asking{now, k.request.id()}
	return k.saveNote()
}

// others returns the requests on s that are not ours, and whether ours is there. Of several
// that are ours, the first counts.
func (k *Keeper) others(s *shelf) (foreign []*dns.TLSARecord, present bool) {
	for _, rr := range s.records {
		if kindOf(rr) != kindRequest {
			continue
		}
		one := readShelf(s.owner, []*dns.TLSARecord{rr})
		if len(one.requests) == 1 && one.requests[0].same(k.request) && !present {
			present = true
			continue
		}
		foreign = append(foreign, rr)
	}
	return foreign, present
}
