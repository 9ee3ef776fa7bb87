package queue

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"stagecoach/mail"
)

// An Action is what a command does with entries.
type Action string

// The actions.
const (
	Hold    Action = "hold"    // no more attempts until Release
	Release Action = "release" // back into the schedule, due at once; from quarantine too
	Retry   Action = "retry"   // due at once; held entries stay held
	Drop    Action = "drop"    // removed without a report
)

// A State is where an entry stands.
type State string

// The states.
const (
	Queued   State = "queued"   // not tried yet
	Active   State = "active"   // in the window: it waits for its turn or is under way
	Deferred State = "deferred" // tried, and to be tried again
	OnHold   State = "held"
	Damaged  State = "damaged" // in quarantine
)

// A Filter selects entries. Every field that is set must match. Sender, Recipient and Domain
// are patterns of path.Match, without regard to case; one without a special character is
// compared as it is. Sender "<>" is the null path.
type Filter struct {
	ID        string        `json:"id,omitempty"`
	Sender    string        `json:"sender,omitempty"`
	Recipient string        `json:"recipient,omitempty"`
	Domain    string        `json:"domain,omitempty"` // of the destination
	OlderThan time.Duration `json:"older_than,omitempty"`
	NewerThan time.Duration `json:"newer_than,omitempty"`
	State     State         `json:"state,omitempty"`
	Error     string        `json:"error,omitempty"` // part of the text of the last error
	Limit     int           `json:"limit,omitempty"` // entries at the most; 0 is all
}

// Check returns an error for a filter that cannot match as its writer meant.
func (f Filter) Check() error {
	if f.ID != "" {
		if _, err := ParseID(f.ID); err != nil {
			return err
		}
	}
	for _, p := range []string{f.Sender, f.Recipient, f.Domain} {
		if _, err := path.Match(p, ""); err != nil {
			return fmt.Errorf("queue: pattern %q: %w", p, err)
		}
	}
	switch f.State {
	case "", Queued, Active, Deferred, OnHold, Damaged:
	default:
		return fmt.Errorf("queue: no such state: %q", f.State)
	}
	if f.OlderThan < 0 || f.NewerThan < 0 || f.Limit < 0 {
		return errors.New("queue: an age or a limit below zero")
	}
	return nil
}

// An Item is an entry as commands show it.
type Item struct {
	ID         ID              `json:"id"`
	Domain     string          `json:"domain"` // of the destination; "" for a report that is to be signed
	State      State           `json:"state"`
	Sender     string          `json:"sender"` // "" is the null path
	Recipients []ItemRecipient `json:"recipients"`
	Size       int64           `json:"size"`
	Accepted   time.Time       `json:"accepted"`
	Due        time.Time       `json:"due,omitzero"` // next attempt; zero when there will be none
	Attempts   int             `json:"attempts"`
	Attempted  time.Time       `json:"attempted,omitzero"`
	Error      string          `json:"error,omitempty"`
	Trace      string          `json:"trace,omitempty"`
}

// An ItemRecipient is a recipient without an outcome.
type ItemRecipient struct {
	Address  mail.Address `json:"address"`
	Original string       `json:"original,omitempty"` // what the sender wrote, as "type;address"
	Error    string       `json:"error,omitempty"`
}

func (q *Queue) item(e *Entry) Item {
	i := Item{
		ID: e.ID, Domain: e.Domain, State: q.state(e), Sender: e.From.String(), Size: e.Size, Accepted: e.Accepted,
		Attempts: e.Attempts, Attempted: e.LastAttempt, Error: e.LastError, Trace: e.Trace,
	}
	if e.scheduled() {
		i.Due = q.clock.wall(e.Due)
	}
	for _, t := range e.Recipients {
		r := ItemRecipient{Address: t.Address, Original: t.Original}
		if t.Reply != "" {
			r.Error = t.text()
		}
		i.Recipients = append(i.Recipients, r)
	}
	return i
}

func (q *Queue) state(e *Entry) State {
	switch {
	case e.Damaged:
		return Damaged
	case e.Held:
		return OnHold
	case q.window.has(e.Key):
		return Active
	case e.Attempts > 0:
		return Deferred
	}
	return Queued
}

// matches reports whether an entry is selected. Cheap questions come first.
func (f Filter) matches(i *Item, now time.Time) bool {
	age := now.Sub(i.Accepted)
	switch {
	case f.ID != "" && !strings.EqualFold(f.ID, i.ID.String()),
		f.State != "" && f.State != i.State,
		f.OlderThan > 0 && age < f.OlderThan,
		f.NewerThan > 0 && age >= f.NewerThan,
		!like(f.Domain, i.Domain),
		f.Sender == "<>" && i.Sender != "",
		f.Sender != "<>" && !like(f.Sender, i.Sender):
		return false
	}
	return f.matchesRecipient(i) && f.matchesError(i)
}

func (f Filter) matchesRecipient(i *Item) bool {
	for _, r := range i.Recipients {
		_, original, _ := strings.Cut(r.Original, ";")
		if like(f.Recipient, r.Address.String()) || like(f.Recipient, original) {
			return true
		}
	}
	return f.Recipient == ""
}

func (f Filter) matchesError(i *Item) bool {
	part := strings.ToLower(f.Error)
	if strings.Contains(strings.ToLower(i.Error), part) {
		return true
	}
	for _, r := range i.Recipients {
		if strings.Contains(strings.ToLower(r.Error), part) {
			return true
		}
	}
	return false
}

// like reports whether a text matches a pattern; "" matches all.
func like(pattern, s string) bool {
	if pattern == "" {
		return true
	}
	// A path has slashes that a star does not match; an address may have them too.
	clean := func(s string) string { return strings.ReplaceAll(strings.ToLower(s), "/", "\x01") }
	ok, err := path.Match(clean(pattern), clean(s))
	return err == nil && ok
}

// errEnough ends a walk.
var errEnough = errors.New("enough")

// Each calls f for the entries that a filter selects, in the order of their acceptance, until
// it fails. It needs no memory for those it has passed. Records that cannot be read are
// entries in the state Damaged.
func (q *Queue) Each(ctx context.Context, filter Filter, f func(Item) error) error {
	if err := filter.Check(); err != nil {
		return err
	}
	n := 0
	err := q.walk(ctx, filter, func(i Item) error {
		if err := f(i); err != nil {
			return err
		}
		if n++; n == filter.Limit {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

func (q *Queue) walk(ctx context.Context, filter Filter, f func(Item) error) error {
	var from Key
	if filter.ID != "" {
		from.ID, _ = ParseID(filter.ID)
	}
	now := q.settings.Now()
	for e, err := range q.store.Scan(ctx, from) {
		if e == nil {
			if errors.Is(err, ErrDamaged) {
				continue
			}
			return err
		}
		if filter.ID != "" && e.ID != from.ID {
			return nil
		}
		i := q.item(e)
		if err != nil {
			i.Error = err.Error()
		}
		if !filter.matches(&i, now) {
			continue
		}
		if err := f(i); err != nil {
			return err
		}
	}
	return nil
}

// A Result is what a command did.
type Result struct {
	Matched int `json:"matched"`
	Changed int `json:"changed"`
	Busy    int `json:"busy"`   // under way just now, and left alone
	Failed  int `json:"failed"` // not changed for another reason
}

// Do does something with the entries that a filter selects. With dry it only counts them.
// An entry whose delivery is under way is not touched.
func (q *Queue) Do(ctx context.Context, action Action, filter Filter, dry bool) (Result, error) {
	var r Result
	change, ok := map[Action]func(*Entry) bool{
		Hold:    func(e *Entry) bool { was := e.Held; e.Held = true; return !was },
		Release: q.release,
		Retry:   func(e *Entry) bool { e.Due = q.clock.tick(); return e.scheduled() },
		Drop:    func(e *Entry) bool { e.Recipients = nil; return true },
	}[action]
	if !ok {
		return r, fmt.Errorf("queue: no such action: %q", action)
	}
	err := q.Each(ctx, filter, func(i Item) error {
		r.Matched++
		if dry {
			return nil
		}
		err := q.change(ctx, Key{i.ID, i.Domain}, action, change)
		switch {
		case err == nil:
			r.Changed++
		case errors.Is(err, ErrBusy):
			r.Busy++
		case errors.Is(err, errUnchanged), errors.Is(err, ErrNoEntry): // as it should be, or gone
		default:
			r.Failed++
			if errors.Is(err, ErrFenced) {
				return err
			}
		}
		return nil
	})
	if !dry && r.Changed > 0 {
		q.settings.Log.Info("command", "action", string(action), "changed", r.Changed, "busy", r.Busy)
	}
	return r, err
}

var errUnchanged = errors.New("nothing to change")

func (q *Queue) release(e *Entry) bool {
	if e.scheduled() {
		return false
	}
	e.Held, e.Damaged = false, false
	e.Due = q.clock.tick()
	return true
}

// change changes one entry. One that waits in the window is taken out of it first.
func (q *Queue) change(ctx context.Context, k Key, action Action, change func(*Entry) bool) error {
	e := q.window.remove(k)
	if e == nil {
		var err error
		if e, err = q.store.Take(ctx, k); err != nil {
			return err
		}
	}
	if !change(e) {
		q.giveBack(e)
		return errUnchanged
	}
	fresh, due := e.fresh(), e.Due
	if err := q.store.Defer(ctx, e); err != nil {
		return err
	}
	if action == Drop {
		q.counts.dropped.Add(1)
		return nil
	}
	if action != Hold {
		q.window.wake(k.Domain)
	}
	q.dueAt(fresh, due)
	signal(q.look)
	return nil
}

// giveBack returns an unchanged entry to the schedule.
func (q *Queue) giveBack(e *Entry) {
	fresh, due := e.fresh(), e.Due
	q.store.Return(e)
	q.dueAt(fresh, due)
}

// dueAt notes that something may be due on disk.
func (q *Queue) dueAt(fresh bool, due time.Duration) {
	if fresh {
		q.fresh.before(due)
	} else {
		q.retries.before(due)
	}
}

// Details are an item with what its letter says besides.
type Details struct {
	Item
	EnvelopeID string `json:"envelope_id,omitempty"`
	Submitter  string `json:"submitter,omitempty"` // who was logged in
	Verified   bool   `json:"verified"`            // the sender may be sent reports
	Header     string `json:"header"`
}

// Show calls f with the entries of a letter.
func (q *Queue) Show(ctx context.Context, id ID, f func(Details) error) error {
	l, m, err := q.store.Load(ctx, id)
	d := Details{}
	if err == nil {
		defer m.Close()
		var b strings.Builder
		m.Header.WriteTo(&b) //nolint:errcheck // a strings.Builder does not fail
		d = Details{EnvelopeID: l.Envelope.ID, Submitter: l.Envelope.Submitter, Verified: l.Verified, Header: b.String()}
	}
	return q.Each(ctx, Filter{ID: id.String()}, func(i Item) error {
		d.Item = i
		if err != nil && d.Error == "" {
			d.Error = err.Error()
		}
		return f(d)
	})
}
