// Package queue keeps mail until every recipient has an outcome. It is the only stage that
// owns mail: Handle returns nil after message and envelope are on disk, checksummed and
// synced, and not before.
//
// What the spool holds, and what a crash at any instant leaves there:
//
//	state                         on disk                           after a crash
//	being received                nothing, or a body file           forgotten (no 250 was given); the orphan file is removed at start
//	taken over                    letter, one entry a domain        delivered
//	being delivered               the same                          delivered, perhaps a second time
//	arrived, at all of a domain   entry gone; with the last one     done
//	                              the letter, then its body file
//	failed for some, for now      entry with who is left            tried again when due
//	failed for some, for good     entry with who is left, and the   the report is handed on
//	                              report about the others, in one
//	                              batch
//	report being signed           report letter                     signed and queued once: the signed mail comes in, and the
//	                                                                report letter goes, in one batch (by a signer in another
//	                                                                process: perhaps twice)
//	held, damaged                 entry without a place in the      as it was
//	                              schedule
//
// A sync that fails is never tried again, since its success would prove nothing: the store
// is fenced, each later mail is refused with 451, and Run ends with the error, so that the
// process can be started anew on what is certain.
package queue

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"stagecoach/mail"
)

// A Courier carries a mail to its recipients. It returns one result each, in order: nil if
// the mail has arrived there, a *mail.Refusal with Permanent() if it never will, any other
// error if it may be tried again.
//
// A result that has a method Relayed() bool which returns true is an arrival too, at a server
// that does not know delivery reports, so that a report of success that the sender asked for
// is due from us (RFC 3461 section 5.2.2).
type Courier interface {
	Carry(ctx context.Context, m *mail.Mail) []error
}

// Settings of a queue. The zero value of a field means the default.
type Settings struct {
	Name       string       // of this host, in reports; default localhost
	Postmaster mail.Address // author of reports; default postmaster at Name
	AuthServID string       // of the Authentication-Results that are ours; "" is Name

	FirstRetry time.Duration // after the first failed attempt; default 5 minutes
	MaxRetry   time.Duration // between attempts at the most; default 4 hours
	Life       time.Duration // until a mail is given up; default 5 days
	DelayAfter time.Duration // until its sender is told of a delay; default 4 hours, negative is never

	Concurrency    int           // deliveries at a time; default 400
	PerDestination int           // deliveries at a time to one domain; default 20
	Window         int           // entries in memory, waiting or under way; default 4,000
	WindowBytes    int64         // octets of messages kept in memory for them; default 64 MiB
	AttemptTimeout time.Duration // for one delivery; default 1 hour

	Reserve int64 // octets of free disk below which mail is refused with 452; default 256 MiB
	Ballast int64 // octets of the file given up when the disk is full all the same; default 32 MiB

	Now func() time.Time // default time.Now; its monotonic part drives the schedule
	Log *slog.Logger     // what becomes of mail, and alarms; nil is silence
}

func (s Settings) withDefaults() Settings {
	set(&s.FirstRetry, 5*time.Minute)
	set(&s.MaxRetry, 4*time.Hour)
	set(&s.Life, 5*24*time.Hour)
	set(&s.DelayAfter, 4*time.Hour)
	set(&s.Concurrency, 400)
	set(&s.PerDestination, 20)
	set(&s.Window, 4000)
	set(&s.WindowBytes, 64<<20)
	set(&s.AttemptTimeout, time.Hour)
	set(&s.Reserve, 256<<20)
	set(&s.Ballast, 32<<20)
	set(&s.Name, "localhost")
	set(&s.AuthServID, s.Name)
	if s.Postmaster.IsZero() {
		s.Postmaster, _ = mail.NewAddress("postmaster", s.Name)
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	return s
}

func set[T comparable](field *T, fallback T) {
	var zero T
	if *field == zero {
		*field = fallback
	}
}

// A Queue takes mails over and delivers them. Open makes one; set Courier and Reports before
// Run. It is safe for concurrent use.
type Queue struct {
	Courier Courier
	// Reports takes the reports that are due, as mails from the null path: the signer in
	// front of this queue. It may lead back to Handle. Nil is the queue itself.
	Reports mail.Handler

	settings Settings
	store    Store
	clock    *clock
	window   *window
	counts   counts
	random   func() float64 // in [0,1), for the spread of retries

	fresh, retries alarm         // when something of either class is due on disk
	start          chan struct{} // there may be a task to start
	look           chan struct{} // there may be something to lease
}

var _ mail.Handler = (*Queue)(nil)

// Open opens the spool in dir, which it makes when it is not there. A second process on the
// same spool gets an error.
func Open(dir string, s Settings) (*Queue, error) {
	s = s.withDefaults()
	store, err := OpenStore(dir, StoreOptions{Reserve: s.Reserve, Ballast: s.Ballast, Log: s.Log})
	if err != nil {
		return nil, err
	}
	return New(store, s)
}

// New returns a queue on a store, which the queue closes.
func New(store Store, s Settings) (*Queue, error) {
	s = s.withDefaults()
	saved, err := store.Clock()
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	q := &Queue{
		settings: s,
		store:    store,
		clock:    newClock(s.Now, saved, s.MaxRetry),
		window:   newWindow(s),
		random:   rand.Float64,
		start:    make(chan struct{}, 1),
		look:     make(chan struct{}, 1),
	}
	// The first process must not end without a saved clock: its mail would lie in the future of
	// the next one.
	if err := store.SetClock(q.clock.state()); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return q, nil
}

// Handle takes a mail over for all of its recipients. It returns nil after the mail is on
// disk and synced. Its refusals are 452 4.3.1 while the disk is short, and 451 4.3.0.
func (q *Queue) Handle(ctx context.Context, m *mail.Mail) error {
	if m.Message == nil || len(m.Envelope.To) == 0 {
		return mail.Reject(554, "5.5.1", "no valid recipients")
	}
	l := q.newLetter(m)
	l.Trace = mail.Trace(ctx)
	l.Verified = q.isVerified(m)
	report := reportInHand(ctx)
	entries, err := q.store.Put(ctx, l, m.Message, report.entry())
	if err != nil {
		signal(q.look) // if it is the fence, Run ends
		return refusal(err)
	}
	report.done()
	q.counts.accepted.Add(1)
	q.offer(l, entries)
	return nil
}

// refusal says of trouble with the store what a client may know.
func refusal(err error) error {
	if errors.Is(err, ErrFull) {
		return mail.Defer(452, "4.3.1", "insufficient system storage, please try again later").Because(err)
	}
	return mail.Defer(451, "4.3.0", "the mail could not be stored, please try again later").Because(err)
}

// offer hands new entries to delivery from memory where the window has room, and leaves the
// others to the schedule on disk.
func (q *Queue) offer(l *Letter, entries []*Entry) {
	for _, e := range entries {
		if !q.window.add(&task{entry: e, letter: l, fresh: true}) {
			q.store.Return(e)
			q.fresh.before(e.Due)
		}
	}
	signal(q.start)
}

// signal wakes who waits on a channel that holds one signal.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Close closes the store. Run must have returned.
func (q *Queue) Close() error {
	return errors.Join(q.store.SetClock(q.clock.state()), q.store.Close())
}
