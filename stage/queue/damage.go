package queue

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// maxFailing is how many flushes or compactions may fail in a row before the fence goes up:
// after that writes would soon wait for ever.
const maxFailing = 8

// background hears of a failed flush or compaction, which the library tries again with new
// files, so that nothing is lost with it.
func (s *pebbleStore) background(err error) {
	if pebble.IsCorruptionError(err) {
		s.corrupt(err)
		return
	}
	s.log.Warn("store: background work failed", "spool", s.dir, "error", err.Error())
	if s.failing.Add(1) >= maxFailing {
		s.raise(err)
	}
}

func (s *pebbleStore) worked(err error) {
	if err == nil {
		s.failing.Store(0)
	}
}

// corrupt hears of damage in the store's own files. What can be read goes on; the next start
// rebuilds the store of it.
func (s *pebbleStore) corrupt(err error) {
	if s.rebuild.Swap(true) {
		return
	}
	s.log.Error("ALARM: the store is damaged; restart soon, to rebuild it", "spool", s.dir, "error", err.Error())
	f, e := s.fs.Create(s.path("rebuild"), vfs.WriteCategoryUnspecified)
	if e == nil {
		e = errors.Join(f.Sync(), f.Close(), syncDir(s.fs, s.dir))
	}
	if e != nil {
		s.log.Error("the store cannot be marked for rebuilding", "spool", s.dir, "error", e.Error())
	}
}

// alarm reports a damaged record.
func (s *pebbleStore) alarm(what string, err error) {
	s.damaged.Add(1)
	s.log.Error("ALARM: damaged record", "spool", s.dir, "record", what, "error", err.Error())
}

// get returns a copy of a value. Damage is ErrDamaged, absence ErrNoEntry.
func (s *pebbleStore) get(key []byte) ([]byte, error) {
	if err := s.fence.err(); err != nil {
		return nil, err
	}
	v, closer, err := s.db.Get(key)
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return nil, ErrNoEntry
	case err != nil:
		return nil, s.readError(err)
	}
	b := append(make([]byte, 0, len(v)), v...)
	return b, closer.Close()
}

// readError sorts an error of reading: damage stays with its record, the rest is trouble.
func (s *pebbleStore) readError(err error) error {
	if pebble.IsCorruptionError(err) {
		s.corrupt(err)
		return fmt.Errorf("%w: %w: %v", ErrDamaged, ErrHidden, err)
	}
	return err
}

// quarantine takes an entry that cannot be read out of the schedule, and keeps what there is
// of it under a key of its own. The next start of a rebuilt store makes it anew of its letter.
func (s *pebbleStore) quarantine(k Key, scheduled []byte, cause error) {
	s.alarm("entry "+k.String(), cause)
	b := s.db.NewBatch()
	raw, err := s.get(entryKey(k))
	if err == nil {
		b.Set(append([]byte{keyQuarantine}, entryKey(k)...), raw, nil) //nolint:errcheck // a batch in memory
	}
	if scheduled != nil {
		b.Delete(scheduled, nil) //nolint:errcheck
	}
	if err := s.commit(b); err != nil {
		s.log.Error("a damaged entry could not be set aside", "entry", k.String(), "error", err.Error())
	}
}
