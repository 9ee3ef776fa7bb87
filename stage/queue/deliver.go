package queue

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"stagecoach/mail"
)

// deliver makes one attempt with a task, and stores what came of it before it gives the
// place of the task to another: so no more mails can arrive twice after a crash than were
// under way.
func (q *Queue) deliver(ctx context.Context, t *task) {
	var reached *bool
	defer func() {
		q.window.done(t, reached)
		signal(q.start)
		signal(q.look)
	}()
	if t.entry.Report {
		q.handOn(ctx, t)
		return
	}
	e := t.entry
	l, m, err := q.load(ctx, t)
	if err != nil {
		q.unreadable(ctx, e, err)
		return
	}
	defer m.Close()
	results := q.carry(mail.WithTrace(ctx, e.Trace), e, l, m)
	reached = reachedBy(results)
	o := sort(e.Recipients, results)
	if ctx.Err() != nil && len(o.left) > 0 { // we stop: what was not done was no attempt
		reached = nil
		if len(o.left) == len(e.Recipients) {
			q.store.Return(e)
			return
		}
		e.Recipients = o.left
		q.keep(ctx, e, l, m, o)
		return
	}
	q.conclude(ctx, e, l, m, o)
}

// load returns the letter of a task, from memory if it is still there.
func (q *Queue) load(ctx context.Context, t *task) (*Letter, *mail.Message, error) {
	if t.letter != nil && t.letter.file == nil {
		return t.letter, t.letter.inMemory(), nil
	}
	return q.store.Load(ctx, t.entry.ID)
}

// carry makes the attempt. A courier that panics or miscounts has delivered nothing that we
// can rely on.
func (q *Queue) carry(ctx context.Context, e *Entry, l *Letter, m *mail.Message) (results []error) {
	ctx, cancel := context.WithTimeout(ctx, q.settings.AttemptTimeout)
	defer cancel()
	out := &mail.Mail{Envelope: l.Envelope.Clone(), Message: m.Clone()}
	out.Envelope.To = make([]mail.Recipient, len(e.Recipients))
	for i, t := range e.Recipients {
		out.Envelope.To[i] = t.Recipient
	}
	defer func() {
		if r := recover(); r != nil {
			q.settings.Log.Error("ALARM: the courier panicked", "entry", e.Key.String(), "trace", e.Trace, "panic", r)
			results = all(len(e.Recipients), fmt.Errorf("the courier panicked: %v", r))
		}
	}()
	results = q.Courier.Carry(ctx, out)
	if len(results) != len(e.Recipients) {
		results = all(len(e.Recipients), fmt.Errorf("the courier gave %d results for %d recipients", len(results), len(e.Recipients)))
	}
	return results
}

func all(n int, err error) []error {
	results := make([]error, n)
	for i := range results {
		results[i] = err
	}
	return results
}

// reachedBy tells from results whether the destination answered; nil when it was never asked,
// for want of something on our side. Status codes of the kind x.4.y are about the network
// (RFC 3463 section 3.5).
func reachedBy(results []error) *bool {
	reached, asked := false, false
	for _, err := range results {
		var r *mail.Refusal
		if err == nil || isRelayed(err) || errors.As(err, &r) && (len(r.Status) < 3 || r.Status[1:3] != ".4") {
			reached = true
		}
		asked = asked || !isOurWant(err)
	}
	if !asked {
		return nil
	}
	return &reached
}

// isOurWant reports whether an attempt failed for want of files, memory or ports on this
// machine, which says nothing of the destination.
func isOurWant(err error) bool {
	for _, want := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL} {
		if errors.Is(err, want) {
			return true
		}
	}
	return false
}

func isRelayed(err error) bool {
	var r interface{ Relayed() bool }
	return errors.As(err, &r) && r.Relayed()
}

// An outcome is what an attempt did for the recipients of an entry.
type outcome struct {
	arrived []Target
	relayed []Target // arrived where no report of success will come from
	failed  []Target // for good
	left    []Target // to be tried again
}

func sort(to []Target, results []error) (o outcome) {
	for i, t := range to {
		err := results[i]
		if err == nil {
			o.arrived = append(o.arrived, t)
			continue
		}
		if isRelayed(err) {
			o.relayed = append(o.relayed, t)
			continue
		}
		t.set(err)
		if mail.IsPermanent(err) {
			o.failed = append(o.failed, t)
		} else {
			o.left = append(o.left, t)
		}
	}
	return o
}

// maxReply is how much of a reply is kept, for each recipient.
const maxReply = 1000

// set notes a result that is an error.
func (t *Target) set(err error) {
	t.Code, t.Status, t.Reply, t.Host = 0, "", shorten(err.Error()), ""
	var r *mail.Refusal
	if !errors.As(err, &r) {
		return
	}
	t.Code, t.Status, t.Reply = r.Code, r.Status, shorten(r.Text)
	var remote interface{ RemoteMTA() string }
	if errors.As(err, &remote) {
		t.Host = shorten(remote.RemoteMTA())
	}
	if r.Cause != nil {
		t.Cause = shorten(r.Cause.Error())
	}
}

func shorten(s string) string {
	if len(s) > maxReply {
		return s[:maxReply]
	}
	return s
}

// conclude turns an outcome into the entry's next state, and stores it.
func (q *Queue) conclude(ctx context.Context, e *Entry, l *Letter, m *mail.Message, o outcome) {
	e.Attempts++
	e.LastAttempt = q.settings.Now().Round(0)
	if age := q.clock.age() - e.Born; age >= q.settings.Life {
		o.failed, o.left = append(o.failed, expired(o.left)...), nil
	}
	e.Recipients = o.left
	if len(o.left) > 0 {
		e.LastError = o.left[0].text()
		e.Due = q.clock.tick() + q.backoff(e.Attempts)
	}
	q.keep(ctx, e, l, m, o)
}

// expired gives recipients up whose time is over (RFC 3463 section 3.5, X.4.7).
func expired(left []Target) []Target {
	for i := range left {
		left[i].expired = true
	}
	return left
}

// keep stores an entry after an attempt, with the reports that its outcome asks for, in one
// step. It goes on when the queue stops: what was done must be kept.
func (q *Queue) keep(ctx context.Context, e *Entry, l *Letter, m *mail.Message, o outcome) {
	reports := q.reports(l, m, o)
	due := e.Due
	err := q.store.Defer(context.WithoutCancel(ctx), e, reports...)
	q.log(e, o, err)
	if err != nil {
		return // fenced: the entry is as it was, on disk
	}
	q.counts.outcome(o)
	q.counts.reports.Add(int64(len(reports)))
	if len(o.left) > 0 {
		q.retries.before(due)
	}
	if len(reports) > 0 {
		q.fresh.before(0)
	}
}

// backoff returns how long to wait after the n-th attempt: doubling, and spread by a fifth to
// either side, so that what failed together does not come again together.
func (q *Queue) backoff(n int) time.Duration {
	d := min(q.settings.FirstRetry, q.settings.MaxRetry)
	for i := 1; i < n && d < q.settings.MaxRetry; i++ {
		d = min(2*d, q.settings.MaxRetry)
	}
	return time.Duration(float64(d) * (0.8 + 0.4*q.random()))
}

// unreadable deals with an entry whose letter could not be read. Damage puts it into
// quarantine, other trouble is tried again.
func (q *Queue) unreadable(ctx context.Context, e *Entry, err error) {
	if ctx.Err() != nil {
		q.store.Return(e)
		return
	}
	e.LastError = shorten(err.Error())
	if errors.Is(err, ErrDamaged) && !errors.Is(err, ErrHidden) {
		e.Damaged = true
		q.counts.damaged.Add(1)
		q.settings.Log.Error("ALARM: damaged message, put into quarantine", "id", e.ID.String(), "to", e.Domain, "trace", e.Trace, "error", err)
	} else {
		q.settings.Log.Warn("a message could not be read", "id", e.ID.String(), "trace", e.Trace, "error", err)
	}
	e.Attempts++
	e.Due = q.clock.tick() + q.settings.FirstRetry
	due := e.Due
	if err := q.store.Defer(context.WithoutCancel(ctx), e); err == nil {
		q.retries.before(due)
	}
}
