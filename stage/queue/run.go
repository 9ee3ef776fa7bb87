package queue

import (
	"context"
	"errors"
	"sync"
	"time"

	"stagecoach/mail"
	"stagecoach/rfc/dsn"
)

// What Run does in which time.
const (
	grace      = 2 * time.Second       // for attempts under way, when Run is to end
	graceAfter = 2 * time.Second       // for them to notice that they are cancelled
	lookEvery  = 10 * time.Millisecond // between two looks at the schedule, at least
	tickEvery  = 5 * time.Second       // between two looks at everything, at most
	clockEvery = time.Minute           // between two savings of the clock
	auditEvery = time.Minute           // between two looks at deadlines, at most
	auditBatch = 200                   // entries in one look at deadlines
)

// Run delivers until ctx ends, or the store fails. When ctx ends, attempts under way have two
// seconds to finish; then they are cancelled, and what they have not done is as if they had
// not begun. Run returns within five seconds, nil if ctx was the reason.
func (q *Queue) Run(ctx context.Context) error {
	if q.Courier == nil {
		return errors.New("queue: no courier")
	}
	attempts, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var under sync.WaitGroup // way: attempts
	var loops sync.WaitGroup
	inner, stop := context.WithCancel(ctx)
	defer stop()
	loops.Go(func() { q.starter(inner, attempts, &under) })
	err := q.schedule(inner)
	stop()
	loops.Wait()
	for _, t := range q.window.close() {
		q.store.Return(t.entry)
	}
	if !waitFor(&under, grace) {
		cancel()
		waitFor(&under, graceAfter)
	}
	return errors.Join(err, q.saveClock())
}

func waitFor(g *sync.WaitGroup, d time.Duration) bool {
	done := make(chan struct{})
	go func() { g.Wait(); close(done) }()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
		return false
	}
}

// starter starts tasks as long as there are places.
func (q *Queue) starter(ctx, attempts context.Context, under *sync.WaitGroup) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-q.start:
		}
		for ctx.Err() == nil {
			t := q.window.next()
			if t == nil {
				break
			}
			under.Go(func() { q.deliver(attempts, t) })
		}
	}
}

// A scheduler brings what is due from the disk into the window, and looks after ages.
type scheduler struct {
	q       *Queue
	more    [2]bool   // a class had more due than there was room for
	rest    time.Time // no look before
	audit   time.Duration
	audited time.Time
	saved   time.Time
	resumes time.Time // when a pause of a destination ends; zero for none
}

// schedule runs until ctx ends or the store is fenced.
func (q *Queue) schedule(ctx context.Context) error {
	s := &scheduler{q: q, saved: q.settings.Now()}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-q.look:
		}
		if wait := time.Until(s.rest); wait > 0 {
			timer.Reset(wait)
			select {
			case <-ctx.Done():
				return nil
			case <-timer.C:
			}
		}
		if err := s.step(ctx); err != nil {
			return err
		}
		timer.Reset(s.idle())
	}
}

// idle returns how long there is nothing to do, unless a signal comes.
func (s *scheduler) idle() time.Duration {
	tick := s.q.clock.tick()
	wait := min(s.q.fresh.time(), s.q.retries.time())
	if wait <= tick {
		return lookEvery // no room just now, or more came meanwhile
	}
	idle := min(wait-tick, tickEvery)
	if !s.resumes.IsZero() {
		idle = min(idle, max(s.resumes.Sub(s.q.settings.Now()), lookEvery))
	}
	return idle
}

// step does everything that is to be done now.
func (s *scheduler) step(ctx context.Context) error {
	q := s.q
	if err := q.store.Health().Fenced; err != nil {
		return err
	}
	var evicted []*task
	evicted, s.resumes = q.window.resume()
	for _, t := range evicted {
		q.store.Return(t.entry)
		s.more[class(t.fresh)] = true
	}
	begin := time.Now()
	for c := range s.more {
		s.refill(ctx, c)
	}
	s.rest = time.Now().Add(max(lookEvery, 10*time.Since(begin)))
	signal(q.start)
	now := q.settings.Now()
	if q.clock.age() >= s.audit || now.Sub(s.audited) >= auditEvery {
		s.audited = now
		s.audit = q.audit(ctx)
	}
	if now.Sub(s.saved) >= clockEvery {
		s.saved = now
		if err := q.saveClock(); err != nil && !errors.Is(err, ErrFenced) {
			q.settings.Log.Warn("the clock could not be saved", "error", err)
		}
	}
	return nil
}

func (q *Queue) saveClock() error {
	if err := q.store.Health().Fenced; err != nil {
		return nil // said already
	}
	return q.store.SetClock(q.clock.state())
}

// refill leases what is due of a class, up to half of the free window, so that neither class
// takes all of it.
func (s *scheduler) refill(ctx context.Context, c int) {
	q := s.q
	when := &q.retries
	if c == classFresh {
		when = &q.fresh
	}
	due := when.take()
	tick := q.clock.tick()
	if due > tick && !s.more[c] {
		when.before(due)
		return
	}
	free := q.window.free()
	if free == 0 || free < q.settings.Window/8 {
		s.more[c] = true // looked for when something ends
		return
	}
	now := tick
	if c == classFresh {
		now = Never - 1 // what was never tried is due, whatever became of the clock
	}
	leased, err := q.store.Lease(ctx, Want{Now: now, Max: free/2 + 1, Fresh: c == classFresh, Room: q.window.room})
	if err != nil {
		when.before(tick + tickEvery)
		if !errors.Is(err, ErrFenced) {
			q.settings.Log.Error("the schedule could not be read", "error", err)
		}
		return
	}
	s.more[c] = leased.More
	for _, e := range leased.Entries {
		if !q.window.add(&task{entry: e, fresh: c == classFresh}) {
			q.store.Return(e)
			s.more[c] = true
		}
	}
	when.before(leased.Next)
}

// audit tells senders of delays, and gives up what is too old, whether or not its destination
// had a turn. It returns the age at which it is needed again.
func (q *Queue) audit(ctx context.Context) time.Duration {
	age := q.clock.age()
	entries, next, err := q.store.Overdue(ctx, age, auditBatch)
	if err != nil {
		q.settings.Log.Warn("the deadlines could not be read", "error", err)
		return age + tickEvery
	}
	for _, e := range entries {
		q.late(ctx, e, age)
	}
	return next
}

func (q *Queue) late(ctx context.Context, e *Entry, age time.Duration) {
	over := age-e.Born >= q.settings.Life
	if e.Report {
		if over {
			q.settings.Log.Error("ALARM: a report could not be handed on in all its time, and is dropped", "id", e.ID.String(), "error", e.LastError)
			q.counts.dropped.Add(1)
			e.Recipients = nil
		}
		e.Deadline = e.Born + q.settings.Life
		q.store.Defer(ctx, e) //nolint:errcheck // an error is the fence, which Run sees
		return
	}
	l, m, err := q.store.Load(ctx, e.ID)
	if err != nil {
		q.unreadable(ctx, e, err)
		return
	}
	defer m.Close()
	if over {
		o := outcome{failed: expired(e.Recipients)}
		e.Recipients = nil
		q.keep(ctx, e, l, m, o)
		return
	}
	e.Noticed = true
	e.Deadline = q.deadline(e.Born, true)
	var reports []*Letter
	if r := q.report(l, m, dsn.Delayed, wanting(e.Recipients, mail.NotifyDelay, true)); r != nil {
		reports = append(reports, r)
	}
	if q.store.Defer(ctx, e, reports...) == nil && len(reports) > 0 {
		q.counts.reports.Add(1)
		q.fresh.before(0)
	}
}
