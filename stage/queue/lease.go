package queue

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// A mark is how far the beginning of one class of the schedule is known to be empty. Without
// it every look would wade through the deletions of what was delivered before.
type mark struct {
	mu     sync.Mutex
	bucket uint32
	lowest uint32 // of what came in during a look
	cursor []byte // where the last look ended for want of room
}

// lower says that something is in a bucket.
func (m *mark) lower(bucket uint32) {
	m.mu.Lock()
	m.bucket = min(m.bucket, bucket)
	m.lowest = min(m.lowest, bucket)
	m.mu.Unlock()
}

// begin starts a look.
func (m *mark) begin() (bucket uint32, cursor []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lowest = 1<<32 - 1
	return m.bucket, m.cursor
}

// end ends a look that found nothing before a bucket, or one that ended at a cursor.
func (m *mark) end(bucket uint32, cursor []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cursor = cursor
	if cursor == nil {
		m.bucket = min(bucket, m.lowest)
	}
}

// A look goes once through what is due of one class.
type look struct {
	s     *pebbleStore
	want  Want
	it    *pebble.Iterator
	class int
	now   uint32 // bucket
	first uint32 // bucket in which there is anything
	room  map[string]int
	out   Leased
	stop  []byte // where the room ended
}

// Lease implements Store. Looks of one class must not overlap.
func (s *pebbleStore) Lease(_ context.Context, w Want) (Leased, error) {
	if err := s.fence.err(); err != nil {
		return Leased{}, err
	}
	c := class(w.Fresh)
	l := &look{s: s, want: w, class: c, now: bucketOf(w.Now), room: map[string]int{}}
	l.first, l.out.Next = l.now, Never
	from, cursor := s.marks[c].begin()
	var err error
	l.it, err = s.db.NewIter(&pebble.IterOptions{
		LowerBound: bucketKey(c, 0), UpperBound: []byte{keySchedule, byte(c) + 1},
	})
	if err != nil {
		return Leased{}, s.readError(err)
	}
	defer l.it.Close()
	begin := bucketKey(c, from)
	if cursor == nil || string(cursor) < string(begin) {
		cursor = begin
	}
	err = l.run(cursor, nil)
	if err == nil && l.stop == nil && string(cursor) != string(begin) {
		err = l.run(begin, cursor)
	}
	if err != nil {
		s.Return(l.out.Entries...)
		return Leased{}, err
	}
	s.marks[c].end(l.first, l.stop)
	return l.out, nil
}

// run looks from one key to another; nil is the end of what is due.
func (l *look) run(from, to []byte) error {
	skip := uint32(1)
	valid := l.it.SeekGE(from)
	for {
		if !valid {
			err := l.it.Error()
			if err == nil {
				return nil
			}
			if err = l.s.readError(err); !errors.Is(err, ErrDamaged) {
				return err
			}
			// What is hidden there is scheduled anew by the rebuilt store.
			next := l.bucketOf(from) + skip
			if skip *= 2; next > l.now || skip > 1<<24 {
				return nil
			}
			from = bucketKey(l.class, next)
			valid = l.it.SeekGE(from)
			continue
		}
		if to != nil && string(l.it.Key()) >= string(to) {
			return nil
		}
		slot, ok := parseSlot(l.it.Key())
		if !ok {
			valid = l.it.Next()
			continue
		}
		if slot.bucket > l.now {
			l.out.Next = min(l.out.Next, bucketStart(slot.bucket))
			return nil
		}
		from = append(from[:0:0], l.it.Key()...)
		if l.stop != nil {
			return nil
		}
		valid = l.step(slot)
	}
}

func (l *look) bucketOf(key []byte) uint32 {
	if len(key) < 6 {
		return 0
	}
	return uint32(key[2])<<24 | uint32(key[3])<<16 | uint32(key[4])<<8 | uint32(key[5])
}

// step deals with one slot and moves on, to the next or behind its domain.
func (l *look) step(slot slot) (valid bool) {
	l.first = min(l.first, slot.bucket)
	if slot.due > l.want.Now {
		l.out.Next = min(l.out.Next, slot.due)
		return l.it.SeekGE(slot.behind())
	}
	k := Key{slot.id, slot.domain}
	if l.s.leases.has(k) {
		return l.it.Next()
	}
	room, asked := l.room[slot.domain]
	if !asked {
		room = l.want.Room(slot.domain)
	}
	switch {
	case len(l.out.Entries) == l.want.Max:
		l.out.More = true
		l.stop = append([]byte(nil), l.it.Key()...)
		return true
	case room <= 0:
		l.room[slot.domain] = 0
		l.out.More = true
		return l.it.SeekGE(slot.behind())
	}
	if e := l.entry(k); e != nil {
		l.out.Entries = append(l.out.Entries, e)
		room--
	}
	l.room[slot.domain] = room
	return l.it.Next()
}

// entry leases and reads an entry that has a slot; nil if there is none to be had.
func (l *look) entry(k Key) *Entry {
	e, err := l.s.Take(context.Background(), k)
	slotKey := func() []byte { return append([]byte(nil), l.it.Key()...) }
	switch {
	case errors.Is(err, ErrDamaged):
		l.s.quarantine(k, slotKey(), err)
		return nil
	case errors.Is(err, ErrNoEntry):
		l.s.dropSlot(slotKey())
		return nil
	case err != nil:
		return nil
	}
	if slot, ok := parseSlot(l.it.Key()); ok && (!e.stored.scheduled || e.stored.due != slot.due || class(e.stored.fresh) != l.class) {
		// Changed since the iterator was made, or a leftover.
		l.s.Return(e)
		return nil
	}
	return e
}

// dropSlot removes a slot without an entry: the entry went after the look began, or damage
// took it.
func (s *pebbleStore) dropSlot(key []byte) {
	b := s.db.NewBatch()
	b.Delete(key, nil) //nolint:errcheck // a batch in memory
	if err := s.apply(b, pebble.NoSync); err != nil {
		s.log.Warn("a slot could not be removed", "error", err)
	}
}

// Take implements Store.
func (s *pebbleStore) Take(_ context.Context, k Key) (*Entry, error) {
	if err := s.fence.err(); err != nil {
		return nil, err
	}
	if !s.leases.take(k) {
		return nil, ErrBusy
	}
	e, err := s.readEntry(k)
	if err != nil {
		s.Return(&Entry{Key: k, leased: true})
		return nil, err
	}
	e.leased = true
	return e, nil
}

func (s *pebbleStore) readEntry(k Key) (*Entry, error) {
	b, err := s.get(entryKey(k))
	if err != nil {
		return nil, err
	}
	e, err := decodeEntry(b)
	if err == nil && e.Key != k {
		err = ErrDamaged
	}
	if err != nil {
		return nil, err
	}
	return e, nil
}

// Overdue implements Store.
func (s *pebbleStore) Overdue(ctx context.Context, age time.Duration, n int) (out []*Entry, next time.Duration, err error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{keyDeadline}, UpperBound: []byte{keyDeadline + 1}})
	if err != nil {
		return nil, 0, s.readError(err)
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		k, deadline, ok := parseDeadlineKey(it.Key())
		if !ok {
			continue
		}
		if deadline > age {
			return out, deadline, nil
		}
		if len(out) == n {
			return out, age, nil
		}
		e, err := s.Take(ctx, k)
		switch {
		case errors.Is(err, ErrNoEntry), errors.Is(err, ErrDamaged):
			s.dropSlot(append([]byte(nil), it.Key()...))
		case err == nil && e.stored.scheduled && e.stored.deadline == deadline:
			out = append(out, e)
		case err == nil:
			s.Return(e)
		}
	}
	if err := it.Error(); err != nil && !errors.Is(s.readError(err), ErrDamaged) {
		return out, 0, err
	}
	return out, Never, nil
}
