package cert

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"stagecoach/rfc/dns"
)

// A watch is an Issuer's view of one zone: the certificate records, which it transfers in, and
// the hosts in work.
type watch struct {
	issuer *Issuer
	zone   string // canonical
	wake   chan struct{}

	soa      *dns.SOARecord
	records  map[string][]*dns.TLSARecord // by owner
	memories map[string]*memory           // by host
	busy     map[string]bool              // hosts in work; their memory is not ours meanwhile
	done     chan string
	skipped  map[string]string // by owner, why it was passed over: to say so once
	told     string            // the failure that is in the log
	failures int
}

func newWatch(i *Issuer, zone string) *watch {
	return &watch{
		issuer: i, zone: zone, wake: make(chan struct{}, 1), records: map[string][]*dns.TLSARecord{},
		memories: map[string]*memory{}, busy: map[string]bool{}, done: make(chan string), skipped: map[string]string{},
	}
}

func (w *watch) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

const (
	defaultPoll = 5 * time.Minute
	longest     = 24 * time.Hour // between two looks, whatever happens
)

// run follows the zone until ctx ends and its orders have.
func (w *watch) run(ctx context.Context) {
	i := w.issuer
	poll := i.Poll
	if poll <= 0 {
		poll = defaultPoll
	}
	var work sync.WaitGroup
	work.Go(func() {
		follow(ctx, i.Primary, w.zone, poll, w.poke, func(err error) {
			i.Log.Info("issuer: the subscription ended, the zone is asked for from time to time", "zone", dns.Host(w.zone), "err", err)
		})
	})
	for ctx.Err() == nil {
		next := w.turn(ctx, &work)
		if !sleep(ctx, breath) {
			break
		}
		t := time.NewTimer(max(next-breath, 0))
		select {
		case <-ctx.Done():
		case <-w.wake:
		case host := <-w.done:
			delete(w.busy, host)
			w.poke()
		case <-t.C:
		}
		t.Stop()
	}
	ended := make(chan struct{})
	go func() { work.Wait(); close(ended) }()
	for {
		select {
		case <-w.done:
		case <-ended:
			return
		}
	}
}

// turn reads the zone, starts what is due, and returns how long nothing else will be.
func (w *watch) turn(ctx context.Context, work *sync.WaitGroup) time.Duration {
	if err := w.refresh(ctx); err != nil {
		if ctx.Err() != nil {
			return 0
		}
		if w.told != err.Error() {
			w.issuer.Log.Warn("issuer: the zone cannot be read", "zone", dns.Host(w.zone), "err", err)
			w.told = err.Error()
		}
		w.failures++
		return min(firstPause<<min(w.failures-1, 10), maxPause)
	}
	w.told, w.failures = "", 0
	now := w.issuer.now()
	next := longest
	asked := map[string]bool{}
	for owner, records := range w.records {
		host, _ := hostOf(owner)
		asked[host] = true
		if w.busy[host] {
			continue
		}
		s := readShelf(owner, records)
		r, err := w.requestOn(s, host)
		if err != nil || r == nil {
			w.pass(owner, err)
			continue
		}
		delete(w.skipped, owner)
		j := &job{watch: w, host: host, shelf: s, request: r, memory: w.memory(host)}
		due := j.due(now)
		j.report(now)
		if due.After(now) {
			next = min(next, due.Sub(now))
			continue
		}
		w.busy[host] = true
		work.Go(func() {
			j.run(ctx)
			w.done <- host
		})
	}
	w.forget(asked)
	return next
}

// forget drops what is known of hosts that ask no more. What is on disk stays.
func (w *watch) forget(asked map[string]bool) {
	w.issuer.forget(w.zone, asked)
	for host := range w.memories {
		if !asked[host] && !w.busy[host] {
			delete(w.memories, host)
		}
	}
	for owner := range w.skipped {
		if w.records[owner] == nil {
			delete(w.skipped, owner)
		}
	}
}

func (w *watch) memory(host string) *memory {
	if w.memories[host] == nil {
		w.memories[host] = w.issuer.recall(host)
	}
	return w.memories[host]
}

// pass says once why an owner is passed over.
func (w *watch) pass(owner string, err error) {
	if err == nil || w.skipped[owner] == err.Error() {
		return
	}
	w.skipped[owner] = err.Error()
	w.issuer.Log.Warn("issuer: passed over", "name", dns.Host(owner), "err", err)
	host, _ := hostOf(owner)
	w.issuer.report(Status{Host: host, Error: err.Error()})
}

// requestOn returns the request that is to be answered at an owner; nil where there is none,
// and where the request is there only to consent.
func (w *watch) requestOn(s *shelf, host string) (*request, error) {
	n := 0
	for _, rr := range s.records {
		if kindOf(rr) == kindRequest {
			n++
		}
	}
	switch {
	case n == 0:
		return nil, nil
	case n > 1:
		return nil, fmt.Errorf("%d requests stand there, and there must be one", n)
	case len(s.requests) == 0:
		return nil, errors.New("the request cannot be read, or its signature is wrong")
	}
	r := s.requests[0]
	if r.host != host {
		if slices.Contains(r.names, host) || slices.Contains(r.names, "*."+host) {
			return nil, nil
		}
		return nil, fmt.Errorf("the request is for %s", r.host)
	}
	for _, name := range r.names {
		switch {
		case !dns.IsSubdomain(w.zone, name):
			return nil, fmt.Errorf("the request names %s, which is not in the zone", name)
		case !w.issuer.AnyNames && !covers(host, name) && !w.consents(name, r):
			return nil, fmt.Errorf("the request names %s, where the same request does not stand", name)
		}
	}
	return r, nil
}

// consents reports whether the same request stands at a name or, for a wildcard, above it.
func (w *watch) consents(name string, r *request) bool {
	if name[0] == '*' {
		name = name[2:]
	}
	s := readShelf(Owner(name), w.records[Owner(name)])
	return slices.ContainsFunc(s.requests, r.same)
}

// refresh brings the records up to date: nothing, changes, or all of the zone.
func (w *watch) refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	if w.soa != nil {
		soa, err := dns.SOA(ctx, w.issuer.Primary, w.zone)
		if err != nil {
			return err
		}
		if soa.Serial == w.soa.Serial {
			return nil
		}
		if t, err := w.issuer.Primary.Transfer(ctx, w.zone, w.soa); err == nil && w.apply(t) {
			return nil
		}
	}
	t, err := w.issuer.Primary.Transfer(ctx, w.zone, nil)
	if err != nil {
		return err
	}
	if !t.Whole() {
		return errors.New("the transfer is not of the whole zone")
	}
	w.apply(t)
	return nil
}

// apply takes a transfer in. It is false where changes do not fit what we have.
func (w *watch) apply(t *dns.Transfer) bool {
	records := map[string][]*dns.TLSARecord{}
	if t.Whole() {
		add(records, t.Records)
	} else {
		for owner, rrs := range w.records {
			records[owner] = slices.Clone(rrs)
		}
		for _, c := range t.Changes {
			if !remove(records, c.Gone) {
				return false
			}
			add(records, c.Come)
		}
	}
	w.records, w.soa = records, t.SOA
	return true
}

// relevant returns the record if it is one of certificates.
func relevant(rr dns.RR) (*dns.TLSARecord, string) {
	t, ok := rr.(*dns.TLSARecord)
	if !ok {
		return nil, ""
	}
	owner := dns.Canonical(t.Hdr.Name)
	if _, ok := hostOf(owner); !ok {
		return nil, ""
	}
	return t, owner
}

func add(records map[string][]*dns.TLSARecord, rrs []dns.RR) {
	for _, rr := range rrs {
		if t, owner := relevant(rr); t != nil {
			records[owner] = append(records[owner], t)
		}
	}
}

func remove(records map[string][]*dns.TLSARecord, rrs []dns.RR) bool {
	for _, rr := range rrs {
		t, owner := relevant(rr)
		if t == nil {
			continue
		}
		before := len(records[owner])
		records[owner] = slices.DeleteFunc(records[owner], func(o *dns.TLSARecord) bool { return dns.Equal(o, t) })
		if len(records[owner]) == before {
			return false
		}
		if len(records[owner]) == 0 {
			delete(records, owner)
		}
	}
	return true
}
