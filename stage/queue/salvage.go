package queue

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
)

// isDamage reports whether an error of opening the database means that its files are damaged,
// rather than that the disk does not work or that a newer program wrote them.
func isDamage(err error) bool {
	var errno syscall.Errno
	if errors.As(err, &errno) && errno != syscall.ENOENT {
		return false
	}
	return pebble.IsCorruptionError(err) || errors.Is(err, ErrDamaged) || errors.Is(err, fs.ErrNotExist) ||
		strings.Contains(err.Error(), "object size mismatch") // the library has no type for it
}

// salvage reads all records of a damaged database that can be read into a new one, and puts
// the new one in its place; the old one is kept as db.damaged-N. Where damage has taken
// entries, they are made anew of their letter: rather may a mail arrive twice than not at
// all. It holds the keys of the store in memory meanwhile, some 100 octets for each.
func (s *pebbleStore) salvage() error {
	if err := s.fs.RemoveAll(s.path("db.new")); err != nil {
		return err
	}
	db, err := pebble.Open(s.path("db.new"), s.options())
	if err != nil {
		return err
	}
	s.db = db
	w := &wreck{s: s, dir: s.path("db")}
	if err := errors.Join(s.refill(w), db.Flush(), db.Close(), s.fence.err()); err != nil {
		return fmt.Errorf("rebuilding the store: %w", err)
	}
	if err := s.swap(); err != nil {
		return err
	}
	s.rebuild.Store(false)
	s.log.Warn("the store is rebuilt", "spool", s.dir, "places damaged", w.damage)
	s.db, err = s.tryOpen("db")
	return err
}

// swap puts db.new in the place of db. It may be broken off at any point and done again.
func (s *pebbleStore) swap() error {
	if _, err := s.fs.Stat(s.path("db")); err == nil {
		n := 1
		for ; ; n++ {
			if _, err := s.fs.Stat(s.path(fmt.Sprintf("db.damaged-%d", n))); errors.Is(err, fs.ErrNotExist) {
				break
			}
		}
		if err := s.fs.Rename(s.path("db"), s.path(fmt.Sprintf("db.damaged-%d", n))); err != nil {
			return err
		}
		if err := syncDir(s.fs, s.dir); err != nil {
			return err
		}
	}
	if err := s.fs.Rename(s.path("db.new"), s.path("db")); err != nil {
		return err
	}
	if err := syncDir(s.fs, s.dir); err != nil {
		return err
	}
	if err := s.fs.Remove(s.path("rebuild")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncDir(s.fs, s.dir)
}

// A keyFate is the last change of a key.
type keyFate struct {
	seq  uint64
	gone bool
}

// refill fills the new database from a wreck.
func (s *pebbleStore) refill(w *wreck) error {
	last := map[string]keyFate{}
	w.report = true
	err := w.each(func(o op) {
		if k := o.key; len(k) == 0 || k[0] != keyLetter && k[0] != keyEntry && k[0] != keyClock && k[0] != keyVersion {
			return
		}
		known, ok := last[string(o.key)]
		if !ok || o.seq > known.seq {
			last[string(o.key)] = keyFate{o.seq, o.gone}
		}
	})
	if err != nil {
		return err
	}
	w.report = false
	out := &pump{s: s}
	damage := w.damage
	err = w.each(func(o op) {
		if f, ok := last[string(o.key)]; ok && f.seq == o.seq && !f.gone && !o.gone {
			out.set(o.key, o.value)
		}
	})
	if err := errors.Join(err, out.flush()); err != nil {
		return err
	}
	return s.reschedule(last, damage > 0)
}

// A pump writes to the new database in batches.
type pump struct {
	s   *pebbleStore
	b   *pebble.Batch
	err error
}

func (p *pump) batch() *pebble.Batch {
	if p.b != nil && p.b.Len() > 4<<20 {
		p.err = errors.Join(p.err, p.flush())
	}
	if p.b == nil {
		p.b = p.s.db.NewBatch()
	}
	return p.b
}

func (p *pump) set(key, value []byte) { p.batch().Set(key, value, nil) } //nolint:errcheck // in memory

func (p *pump) flush() error {
	if p.b != nil {
		p.err = errors.Join(p.err, p.s.apply(p.b, pebble.NoSync))
		p.b = nil
	}
	return p.err
}

// reschedule gives every entry its place, makes those anew that damage has taken, and puts
// into quarantine what cannot be delivered.
func (s *pebbleStore) reschedule(last map[string]keyFate, damaged bool) error {
	out := &pump{s: s}
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{keyEntry}, UpperBound: []byte{keyEntry + 1}})
	if err != nil {
		return err
	}
	have := map[ID]bool{} // letters that have an entry
	for ok := it.First(); ok; ok = it.Next() {
		e, err := decodeEntry(append([]byte(nil), it.Value()...))
		if err != nil {
			k, _ := parseEntryKey(it.Key())
			s.alarm("entry "+k.String(), err)
			out.set(append([]byte{keyQuarantine}, it.Key()...), it.Value())
			out.batch().Delete(append([]byte(nil), it.Key()...), nil) //nolint:errcheck
			continue
		}
		have[e.ID] = true
		if e.Damaged { // it may have been damage nearby
			e.Damaged = false
			out.set(entryKey(e.Key), e.encode())
		}
		if f, ok := last[string(letterKey(e.ID))]; !ok || f.gone {
			s.alarm("letter "+e.ID.String(), fmt.Errorf("%w: not there", ErrDamaged))
			e.Damaged, e.LastError = true, "the message is lost by damage of the disk"
			out.set(entryKey(e.Key), e.encode())
		}
		s.schedule(out.batch(), e)
	}
	if err := errors.Join(it.Error(), it.Close(), out.flush()); err != nil {
		return err
	}
	return s.remake(last, have, damaged)
}

// remake makes the missing entries of letters.
func (s *pebbleStore) remake(last map[string]keyFate, have map[ID]bool, damaged bool) error {
	out := &pump{s: s}
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{keyLetter}, UpperBound: []byte{keyLetter + 1}})
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		l, err := decodeLetter(append([]byte(nil), it.Value()...))
		if err != nil || have[l.ID] && !damaged {
			continue // a damaged letter is met when its turn comes
		}
		left := have[l.ID]
		for _, e := range l.entries() {
			if f, ok := last[string(entryKey(e.Key))]; ok && (f.gone || !f.gone && have[l.ID] && s.exists(e.Key)) {
				continue
			}
			left = true
			out.set(entryKey(e.Key), e.encode())
			s.schedule(out.batch(), e)
		}
		if !left {
			out.batch().Delete(letterKey(l.ID), nil) //nolint:errcheck
		}
	}
	return errors.Join(it.Error(), it.Close(), out.flush())
}

func (s *pebbleStore) exists(k Key) bool {
	_, err := s.get(entryKey(k))
	return err == nil
}
