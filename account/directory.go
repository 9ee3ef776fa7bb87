package account

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"stagecoach/repo"
)

// A Source is where the files are; a *repo.Remote is one.
type Source interface {
	Fetch(ctx context.Context) (*repo.Snapshot, error)
	String() string
}

var _ Source = (*repo.Remote)(nil)

// A Directory keeps the Book up to date. When the files cannot be had or have an error the
// last good Book stays. It is safe for concurrent use.
type Directory struct {
	Poll time.Duration // between looks at the source; default one minute
	Log  *slog.Logger  // of what happens between requests: new versions, trouble; nil is silent

	source   Source
	settings Settings
	book     atomic.Pointer[Book]
	bench    bench
	key      []byte // of salts for names that do not exist

	mu       sync.Mutex
	snapshot *repo.Snapshot // of the Book
	bad      string         // version that was refused, so that it is said once
}

// Open reads the accounts for the first time. It fails when they cannot be had or have an
// error: there is no answer to give before, not even "no such user".
func Open(ctx context.Context, source Source, s Settings) (*Directory, error) {
	d := &Directory{source: source, settings: s, bench: newBench(), key: randomBytes(32)}
	if err := d.Refresh(ctx); err != nil {
		return nil, err
	}
	return d, nil
}

// Keeper returns the source, to be edited with these settings; false when it only gives.
func (d *Directory) Keeper() (Keeper, Settings, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	k, ok := d.source.(Keeper)
	return k, d.settings, ok
}

// Static returns a Directory of a Book that stays. It is for tests and tools.
func Static(b *Book) *Directory {
	d := &Directory{bench: newBench(), key: randomBytes(32)}
	d.book.Store(b)
	return d
}

// Book returns the accounts as they are now. It is never nil.
func (d *Directory) Book() *Book { return d.book.Load() }

// Refresh looks at the source, and takes over what is new. On an error the last good Book
// stays in use.
func (d *Directory) Refresh(ctx context.Context) error {
	if d.source == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	snapshot, err := d.source.Fetch(ctx)
	if err != nil {
		return fmt.Errorf("accounts: %w", err)
	}
	if now := d.book.Load(); now != nil && now.Version == snapshot.Version {
		d.bad = ""
		return nil
	}
	if d.bad == snapshot.Version {
		return fmt.Errorf("accounts: %s: version %s %w", d.source, snapshot.Version, errStillBad)
	}
	b, err := Parse(snapshot.Files, d.settings)
	if err != nil {
		d.bad = snapshot.Version
		return fmt.Errorf("accounts: %s: version %s: %w", d.source, snapshot.Version, err)
	}
	b.Version, d.bad, d.snapshot = snapshot.Version, "", snapshot
	d.book.Store(b)
	d.log().Info("accounts read", "from", d.source.String(), "version", b.Version, "users", len(b.users), "domains", len(b.domains))
	for u := range b.Weak() {
		d.log().Warn("password kept in a weak form", "user", u.address.String(), "file", u.File)
	}
	return nil
}

var errStillBad = errors.New("still has the errors that were reported")

// Run looks at the source every Poll until ctx ends.
func (d *Directory) Run(ctx context.Context) {
	every := d.Poll
	if every <= 0 {
		every = time.Minute
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := d.Refresh(ctx)
		switch {
		case err == nil || ctx.Err() != nil:
		case errors.Is(err, errStillBad):
			d.log().Debug("accounts not read, the last good copy stays in use", "error", err)
		default:
			d.log().Error("accounts not read, the last good copy stays in use", "error", err)
		}
	}
}

func (d *Directory) log() *slog.Logger {
	if d.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return d.Log
}
