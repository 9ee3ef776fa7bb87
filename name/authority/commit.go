package authority

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"stagecoach/repo"
	"stagecoach/rfc/dns"
)

// update answers a signed UPDATE: nothing, for one that is already in work.
func (a *Authority) update(ctx context.Context, r *dns.Request) *dns.Msg {
	zone := dns.Canonical(r.Msg.Question[0].Name)
	answer := func(rcode int) *dns.Msg { return dns.NewResponse(r.Msg, rcode) }
	switch {
	case r.Msg.Question[0].Qtype != dns.TypeSOA || r.Msg.Question[0].Qclass != dns.ClassINET:
		return answer(dns.RcodeFormatError)
	case r.Key.IsZero():
		return answer(dns.RcodeRefused)
	case a.now.Load().zones[zone] == nil || !a.now.Load().keys.allows(r.Key.Name, zone, RightUpdate):
		return answer(dns.RcodeNotAuth)
	}
	if r.Signed.Before(a.started) {
		a.Log.Warn("authority: an UPDATE from before our start was put off", "peer", r.Peer, "key", r.Key.Name, "zone", zone)
		return answer(dns.RcodeServerFailure)
	}
	first, done := a.replays.enter(r, a.clock())
	if first == nil {
		a.Log.Warn("authority: a replayed UPDATE was refused", "peer", r.Peer, "key", r.Key.Name, "zone", zone)
		return answer(dns.RcodeRefused)
	}
	if !done {
		return nil // the answer to the first will do
	}
	if first.rcode >= 0 {
		return answer(first.rcode)
	}
	rcode := a.apply(ctx, r, zone)
	a.replays.finish(first, rcode)
	return answer(rcode)
}

// maxBatch is how many UPDATEs go into one push.
const maxBatch = 128

// An updateJob is an UPDATE on its way into the repository.
type updateJob struct {
	r     *dns.Request
	zone  string
	rcode int
	done  bool
}

// An updateQueue holds those that wait while others are committed.
type updateQueue struct {
	mu   sync.Mutex
	jobs []*updateJob
}

func (q *updateQueue) put(j *updateJob) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.jobs = append(q.jobs, j)
}

func (q *updateQueue) take() []*updateJob {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(len(q.jobs), maxBatch)
	batch := q.jobs[:n:n]
	q.jobs = q.jobs[n:]
	return batch
}

// apply makes the commit for an UPDATE. Those that come while one is being written wait, and are
// then written together, each as a commit of its own: whoever gets the lock first works for all.
func (a *Authority) apply(ctx context.Context, r *dns.Request, zone string) int {
	j := &updateJob{r: r, zone: zone}
	a.waiting.put(j)
	a.write.Lock()
	defer a.write.Unlock()
	for !j.done {
		a.work(ctx, a.waiting.take())
	}
	return j.rcode
}

// work commits a batch. While others push, it is applied anew to what they have made,
// prerequisites and all; and in smaller parts, which are ready before the next push.
func (a *Authority) work(ctx context.Context, batch []*updateJob) {
	for n := len(batch); len(batch) > 0; {
		part := batch[:min(n, len(batch))]
		err := a.commit(ctx, part)
		if errors.Is(err, repo.ErrMoved) && ctx.Err() == nil {
			n = max(n/4, 1)
			continue
		}
		for _, j := range part {
			if err != nil { // for those too that saw what the others would have made
				j.rcode = dns.RcodeServerFailure
			}
			j.done = true
		}
		batch = batch[len(part):]
	}
}

// commit makes one push of the jobs. After ErrMoved the zones are as the others have made them.
func (a *Authority) commit(ctx context.Context, jobs []*updateJob) error {
	w := a.now.Load()
	changes, files := a.planAll(w, jobs)
	if len(changes) == 0 {
		return nil
	}
	s, err := a.Repo.Commit(ctx, w.snapshot, changes...)
	if err == nil {
		a.install(s, files)
		return nil
	}
	if errors.Is(err, repo.ErrMoved) {
		a.Log.Info("authority: others have pushed, the updates are applied anew", "updates", len(changes))
	} else {
		a.Log.Error("authority: commit failed", "updates", len(changes), "err", err)
	}
	if pulled := a.pull(ctx); pulled != nil {
		return pulled
	}
	return err
}

// planAll sets the codes of the jobs and returns their commits, each on top of the last, and
// the files that come of them, by zone.
func (a *Authority) planAll(w *world, batch []*updateJob) ([]repo.Change, map[string]*servedFile) {
	var changes []repo.Change
	files := map[string]*servedFile{}
	for _, j := range batch {
		f := files[j.zone]
		if f == nil {
			f = w.files[j.zone]
		}
		if f == nil || !w.keys.allows(j.r.Key.Name, j.zone, RightUpdate) {
			j.rcode = dns.RcodeNotAuth
			continue
		}
		if f.stale {
			a.Log.Error("authority: an UPDATE cannot be made while the file of its zone is broken", "zone", j.zone, "key", j.r.Key.Name)
			j.rcode = dns.RcodeServerFailure
			continue
		}
		c, after, rcode := a.plan(w, f, j.r)
		j.rcode = rcode
		if c != nil {
			changes = append(changes, *c)
			files[j.zone] = after
		}
	}
	return changes, files
}

// plan returns the commit for an UPDATE and the file after it, or nil and the code to answer
// with.
func (a *Authority) plan(w *world, f *servedFile, r *dns.Request) (*repo.Change, *servedFile, int) {
	d, serial, rcode := update(f.zone, r.Msg, func(name string, t uint16) bool {
		return w.grants.allows(r.Key.Name, name, t)
	})
	if rcode != dns.RcodeSuccess || d.empty() {
		return nil, nil, rcode
	}
	if serial == 0 {
		serial = nextSerial(f.zone.Serial(), a.clock())
	}
	after, wide, err := f.after(d, serial)
	if err != nil {
		a.Log.Warn("authority: an UPDATE that would break the zone was refused", "zone", f.zone.Name, "key", r.Key.Name, "err", err)
		return nil, nil, dns.RcodeRefused
	}
	parsed, err := f.parsed.edit(d, serial, after)
	if err != nil {
		a.Log.Error("authority: UPDATE", "err", err)
		return nil, nil, dns.RcodeServerFailure
	}
	step := change{from: f.zone.soa, to: after.soa, delta: d.withoutSOA()}.sized()
	return &repo.Change{
			Files:   map[string][]byte{f.name: []byte(parsed.text)},
			Message: message(r, f.zone.Name, d),
			Name:    dns.Host(r.Key.Name),
			Email:   "authority@" + dns.Host(f.zone.Name),
			When:    a.clock(),
		}, &servedFile{
			name: f.name, text: parsed.text, parsed: parsed, zone: after, steps: append(slices.Clip(f.steps), step), wide: wide || f.wide && len(f.steps) > 0,
		}, dns.RcodeSuccess
}

// after returns the zone after a change, and an error if that would do harm; wide says that the
// change may reach further than its names.
func (f *servedFile) after(d delta, serial uint32) (z *Zone, wide bool, err error) {
	if z := f.zone.with(d, serial); z != nil {
		return z, false, z.fitsAfter(f.zone, d)
	}
	if z, err = f.parsed.after(d, serial); err == nil {
		err = z.aliasesAlone()
	}
	if err != nil {
		return nil, true, err
	}
	return z, true, worse(faults(f.zone), faults(z))
}

func (d delta) withoutSOA() delta {
	soa := func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeSOA }
	return delta{slices.DeleteFunc(slices.Clone(d.gone), soa), slices.DeleteFunc(slices.Clone(d.come), soa)}
}

// message is "ADDRESS changed ZONE" with the records below it.
func message(r *dns.Request, zone string, d delta) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s changed %s\n\n", r.Peer.Addr(), dns.Host(zone))
	for _, rr := range d.gone {
		fmt.Fprintf(&b, "-%s\n", rr)
	}
	for _, rr := range d.come {
		fmt.Fprintf(&b, "+%s\n", rr)
	}
	return b.String()
}

// nextSerial is the time, or one more than the last where that is more (RFC 1982).
func nextSerial(last uint32, now time.Time) uint32 {
	if t := uint32(now.Unix()); dns.SerialNewer(t, last) {
		return t
	}
	if last+1 == 0 {
		return 1 // 0 is unlucky with some secondaries
	}
	return last + 1
}
