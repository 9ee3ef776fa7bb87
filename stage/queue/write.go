package queue

import (
	"context"
	"errors"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"stagecoach/mail"
)

// largeBody is the size from which a body has a file of its own.
const largeBody = 256 << 10

// Put implements Store.
func (s *pebbleStore) Put(_ context.Context, l *Letter, m *mail.Message, done *Entry) ([]*Entry, error) {
	if err := s.fence.err(); err != nil {
		return nil, err
	}
	if err := s.disk.room(m.Size(), done != nil); err != nil {
		return nil, err
	}
	if m.Body.Size() > largeBody {
		if err := s.writeBody(l, m); err != nil {
			return nil, err
		}
	}
	entries := l.entries()
	if err := s.put(l, m, entries, done); err != nil {
		if s.fence.err() == nil { // else the letter may be there
			s.removeBody(l)
		}
		return nil, err
	}
	return entries, nil
}

func (s *pebbleStore) put(l *Letter, m *mail.Message, entries []*Entry, done *Entry) error {
	if err := l.encode(m); err != nil {
		return err
	}
	b := s.db.NewBatchWithSize(len(l.record) + 1024*len(entries))
	s.addLetter(b, l, entries)
	for _, e := range entries {
		s.leases.take(e.Key)
		e.leased = true
	}
	var err error
	if done == nil {
		err = s.commit(b)
	} else {
		err = s.finish(b, done)
	}
	if err != nil {
		s.Return(entries...)
		return err
	}
	s.entries.Add(int64(len(entries)))
	return nil
}

// addLetter adds a letter and its entries to a batch. The errors of a batch in memory are
// those of wrong use only.
func (s *pebbleStore) addLetter(b *pebble.Batch, l *Letter, entries []*Entry) {
	b.Set(letterKey(l.ID), l.record, nil) //nolint:errcheck
	for _, e := range entries {
		b.Set(entryKey(e.Key), e.encode(), nil) //nolint:errcheck
		s.schedule(b, e)
	}
}

// schedule gives an entry its places, which it must not have.
func (s *pebbleStore) schedule(b *pebble.Batch, e *Entry) {
	e.stored = e.places()
	if !e.stored.scheduled {
		return
	}
	b.Set(slotKey(e.Key, e.stored), nil, nil)                    //nolint:errcheck
	b.Set(deadlineKey(e.Key, e.stored.deadline), nil, nil)       //nolint:errcheck
	s.marks[class(e.stored.fresh)].lower(bucketOf(e.stored.due)) // before it can be seen: never too late
}

// unschedule takes an entry from its places.
func unschedule(b *pebble.Batch, e *Entry) {
	if e.stored.scheduled {
		b.Delete(slotKey(e.Key, e.stored), nil)              //nolint:errcheck
		b.Delete(deadlineKey(e.Key, e.stored.deadline), nil) //nolint:errcheck
	}
}

// Ack implements Store.
func (s *pebbleStore) Ack(_ context.Context, e *Entry, reports ...*Letter) error {
	b := s.db.NewBatch()
	added, err := s.addReports(b, reports)
	if err != nil {
		return err
	}
	if err := s.finish(b, e); err != nil {
		return err
	}
	s.entries.Add(int64(len(added)))
	s.Return(added...)
	return nil
}

// finish commits a batch together with the end of an entry, and of its letter if it was the
// last one.
func (s *pebbleStore) finish(b *pebble.Batch, e *Entry) error {
	unschedule(b, e)
	b.Delete(entryKey(e.Key), nil) //nolint:errcheck
	var err error
	last := true
	if e.Alone {
		// A letter is written once, so that the cheapest kind of deletion will do.
		b.SingleDelete(letterKey(e.ID), nil) //nolint:errcheck
		err = s.commit(b)
	} else {
		last, err = s.finishOneOf(b, e)
	}
	if err != nil {
		return err
	}
	if last {
		s.removeBody(&Letter{ID: e.ID, Size: e.Size, file: &bodyFile{}})
	}
	s.entries.Add(-1)
	e.stored = places{}
	s.Return(e)
	return nil
}

// finishOneOf is finish where the letter may have other entries. Whether it has is looked up
// and changed under a lock; the sync is waited for outside of it.
func (s *pebbleStore) finishOneOf(b *pebble.Batch, e *Entry) (last bool, err error) {
	wait, err := func() (func() error, error) {
		set := s.set(e.ID)
		set.Lock()
		defer set.Unlock()
		others, err := s.hasOthers(e.Key)
		if err != nil {
			return nil, err
		}
		if last = !others; last {
			b.SingleDelete(letterKey(e.ID), nil) //nolint:errcheck
		}
		return s.applyLocked(b)
	}()
	if err != nil {
		return false, err
	}
	return last, wait()
}

func (s *pebbleStore) set(id ID) *sync.Mutex { return &s.sets[int(id[15])%len(s.sets)] }

// hasOthers reports whether the letter of an entry has another one. Where damage hides it,
// there is: a letter too much is better than one too few.
func (s *pebbleStore) hasOthers(k Key) (bool, error) {
	upper := append(entryKey(Key{ID: k.ID}), 0xff)
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: entryKey(Key{ID: k.ID}), UpperBound: upper})
	if err != nil {
		return false, err
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		if other, ok := parseEntryKey(it.Key()); ok && other != k {
			return true, nil
		}
	}
	if err := it.Error(); err != nil {
		if err = s.readError(err); errors.Is(err, ErrDamaged) {
			return true, nil
		}
		return false, err
	}
	return false, nil
}

// Defer implements Store.
func (s *pebbleStore) Defer(ctx context.Context, e *Entry, reports ...*Letter) error {
	if len(e.Recipients) == 0 {
		return s.Ack(ctx, e, reports...)
	}
	b := s.db.NewBatch()
	added, err := s.addReports(b, reports)
	if err != nil {
		return err
	}
	unschedule(b, e)
	b.Set(entryKey(e.Key), e.encode(), nil) //nolint:errcheck
	s.schedule(b, e)
	if err := s.commit(b); err != nil {
		return err
	}
	s.entries.Add(int64(len(added)))
	s.Return(append(added, e)...)
	return nil
}

// addReports adds new letters of ours to a batch.
func (s *pebbleStore) addReports(b *pebble.Batch, reports []*Letter) (added []*Entry, err error) {
	for _, l := range reports {
		if err := l.encode(mail.NewMessage(l.report)); err != nil {
			return nil, err
		}
		entries := l.entries()
		for _, e := range entries {
			s.leases.take(e.Key)
			e.leased = true
		}
		s.addLetter(b, l, entries)
		added = append(added, entries...)
	}
	return added, nil
}

// leases are the entries that somebody has.
type leases struct {
	mu   sync.Mutex
	held map[Key]bool
}

// take leases an entry, and reports false when another has it.
func (l *leases) take(k Key) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held[k] {
		return false
	}
	l.held[k] = true
	return true
}

func (l *leases) has(k Key) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held[k]
}

// Return implements Store. What is in the schedule may be due at once, so its marks are set
// back.
func (s *pebbleStore) Return(entries ...*Entry) {
	s.leases.mu.Lock()
	defer s.leases.mu.Unlock()
	for _, e := range entries {
		if e.leased {
			delete(s.leases.held, e.Key)
			e.leased = false
			if e.stored.scheduled {
				s.marks[class(e.stored.fresh)].lower(bucketOf(e.stored.due))
			}
		}
	}
}
