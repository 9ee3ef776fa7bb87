package queue

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"stagecoach/mail"
)

// The errors of a Store, for errors.Is.
var (
	ErrFull    = errors.New("queue: the disk is short of space")
	ErrFenced  = errors.New("queue: the store is fenced after a failed write")
	ErrDamaged = errors.New("queue: damaged record")
	ErrHidden  = errors.New("queue: behind damage, perhaps sound; the next start will tell")
	ErrBusy    = errors.New("queue: in use")
	ErrNoEntry = errors.New("queue: no such entry")
)

// A Store keeps letters and their entries. What Put, Ack and Defer did is on stable storage
// when they return nil; each does all that it is asked in one atomic step. After a write or
// sync of uncertain result they, and all later ones, return ErrFenced.
//
// An entry that Put, Lease, Overdue, Take and Each hand out is leased: it belongs to the
// caller alone until Ack, Defer or Return. A lease does not outlive the process.
type Store interface {
	// Put stores a letter, its message, and an entry for every domain, all of them leased.
	// A done entry that is not nil is acknowledged in the same step. Where the disk is short
	// it returns ErrFull, unless the letter takes the place of a done entry.
	Put(ctx context.Context, l *Letter, m *mail.Message, done *Entry) ([]*Entry, error)
	// Ack removes an entry, and with the last one its letter, and stores reports.
	Ack(ctx context.Context, e *Entry, reports ...*Letter) error
	// Defer stores a changed entry and reports, and gives the entry back. Where the entry
	// leaves no one to deliver to, it is as Ack.
	Defer(ctx context.Context, e *Entry, reports ...*Letter) error
	// Return gives entries back unchanged.
	Return(e ...*Entry)

	// Lease returns entries that are due.
	Lease(ctx context.Context, w Want) (Leased, error)
	// Overdue returns up to n entries with a deadline until age, and the age at which to ask again.
	Overdue(ctx context.Context, age time.Duration, n int) ([]*Entry, time.Duration, error)
	// Take leases one entry by its key. It returns ErrBusy while another has it, and ErrNoEntry.
	Take(ctx context.Context, k Key) (*Entry, error)
	// Load returns a letter with its message, which the caller closes.
	Load(ctx context.Context, id ID) (*Letter, *mail.Message, error)
	// Scan yields all entries from a key on, in the order of keys, unleased, as they are when
	// their turn comes. A damaged entry comes with ErrDamaged and its key.
	Scan(ctx context.Context, from Key) iter.Seq2[*Entry, error]

	// Clock returns what SetClock stored last.
	Clock() (ClockState, error)
	SetClock(ClockState) error
	// Health returns the error that fenced the store, and how many entries it holds.
	Health() Health
	io.Closer
}

// Want says what Lease may return.
type Want struct {
	Now    time.Duration           // on the clock of the schedule
	Max    int                     // entries
	Fresh  bool                    // those that were never tried, or the others
	Room   func(domain string) int // how many more of a domain
	Paused bool                    // reserved for stores that filter by themselves
}

// Leased is the answer to Want.
type Leased struct {
	Entries []*Entry
	More    bool          // others are due, and were left behind for want of room
	Next    time.Duration // when to ask again if not More; never before that anything is due
}

// Never is a Next that does not come.
const Never = time.Duration(1<<63 - 1)

// Health is the state of a store.
type Health struct {
	Fenced  error // why nothing is taken any more, nil if all is well
	Full    bool  // mail is refused for want of disk
	Damaged int64 // records found damaged since the start
	Entries int64 // in the store
	Rebuild bool  // damage was found in the store's own structure; the next start repairs it
}
