package queue

import (
	"fmt"
	"io"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// A fence stands between the store and everybody once a write has failed: what is on disk
// is not known any more, and no later success would prove anything.
type fence struct {
	once  sync.Once
	down  chan struct{} // closed when the fence is up
	cause error
}

func (f *fence) init() { f.down = make(chan struct{}) }

// raise puts the fence up, for good, and returns its error.
func (f *fence) raise(cause error) (first bool) {
	f.once.Do(func() {
		f.cause = fmt.Errorf("%w: %w", ErrFenced, cause)
		close(f.down)
		first = true
	})
	return first
}

// err returns nil while there is no fence.
func (f *fence) err() error {
	select {
	case <-f.down:
		return f.cause
	default:
		return nil
	}
}

func (s *pebbleStore) raise(cause error) {
	if s.fence.raise(cause) {
		s.log.Error("a write failed: nothing is taken any more until a restart", "spool", s.dir, "error", cause.Error())
	}
}

// commit writes a batch and waits for its sync; others that commit meanwhile share it.
func (s *pebbleStore) commit(b *pebble.Batch) error { return s.apply(b, pebble.Sync) }

// apply runs apart, because the library panics on a failed write of its log, with its locks
// held, so that who comes next would wait for ever.
func (s *pebbleStore) apply(b *pebble.Batch, o *pebble.WriteOptions) error {
	if err := s.fence.err(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		defer func() {
			if r := recover(); r != nil {
				done <- fmt.Errorf("commit: %v", r)
			}
		}()
		done <- s.db.Apply(b, o)
	}()
	return s.settle(b, done)
}

// settle waits for the end of a commit, or for the fence.
func (s *pebbleStore) settle(b *pebble.Batch, done <-chan error) error {
	select {
	case err := <-done:
		if err != nil {
			s.raise(err)
		}
		if err := s.fence.err(); err != nil { // the library can report by Fatalf alone
			return err
		}
		b.Close()
		return nil
	case <-s.fence.down:
		return s.fence.err()
	}
}

// applyLocked makes a batch visible under a lock that the caller holds, and returns a
// function that waits for its sync.
func (s *pebbleStore) applyLocked(b *pebble.Batch) (wait func() error, err error) {
	if err := s.fence.err(); err != nil {
		return nil, err
	}
	done := make(chan error, 1)
	go func() {
		defer func() {
			if r := recover(); r != nil {
				done <- fmt.Errorf("commit: %v", r)
			}
		}()
		done <- s.db.ApplyNoSyncWait(b, pebble.Sync)
	}()
	select {
	case err := <-done:
		if err != nil {
			s.raise(err)
		}
	case <-s.fence.down:
	}
	if err := s.fence.err(); err != nil {
		return nil, err
	}
	return func() error {
		synced := make(chan error, 1)
		go func() { synced <- b.SyncWait() }()
		return s.settle(b, synced)
	}, nil
}

// pebbleLog takes the library's log: only its fatal errors matter, and they are the fence's.
type pebbleLog struct{ s *pebbleStore }

var _ pebble.Logger = pebbleLog{}

func (pebbleLog) Infof(string, ...any) {}

func (l pebbleLog) Errorf(format string, args ...any) {
	l.s.log.Warn("store: " + fmt.Sprintf(format, args...))
}

// Fatalf raises the fence and returns; no success is reported after it.
func (l pebbleLog) Fatalf(format string, args ...any) {
	l.s.raise(fmt.Errorf(format, args...))
}

var _ io.Closer = (*pebbleStore)(nil)
