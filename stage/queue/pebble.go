package queue

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// StoreOptions are those of OpenStore.
type StoreOptions struct {
	Reserve int64        // octets of free disk below which Put returns ErrFull
	Ballast int64        // octets of the file that is given up when the disk is full all the same
	Log     *slog.Logger // for alarms; nil is silence
	FS      vfs.FS       // nil is the operating system's
}

// The keys of the store. Domains have no octet 0.
//
//	V                                        version of this layout
//	C                                        the clock
//	L id                                     letter: envelope, header, small body; written once
//	E id domain                              entry
//	S class bucket domain 0 due id           schedule: an entry that waits for its attempt
//	D deadline id domain                     an entry whose age is looked at then
//	Z key                                    a damaged record, moved out of the way
//
// Numbers in keys are big-endian. A bucket is a due time in steps of 2^15 ms, so that what is
// due is found by destination, and a destination with any number of entries is passed over
// with one seek a bucket.
const (
	keyVersion    = 'V'
	keyClock      = 'C'
	keyLetter     = 'L'
	keyEntry      = 'E'
	keySchedule   = 'S'
	keyDeadline   = 'D'
	keyQuarantine = 'Z'
)

const layoutVersion = "1"

// pebbleStore is the embedded Store.
type pebbleStore struct {
	dir  string
	fs   vfs.FS
	log  *slog.Logger
	lock io.Closer
	db   *pebble.DB
	disk *disk

	fence  fence
	leases leases
	marks  [2]mark // of the schedule, by class
	sets   [64]sync.Mutex

	entries atomic.Int64
	damaged atomic.Int64
	rebuild atomic.Bool
	failing atomic.Int32 // background failures in a row
	stop    chan struct{}
	tasks   sync.WaitGroup
}

var _ Store = (*pebbleStore)(nil)

// OpenStore opens the embedded store in dir, which it makes when it is not there:
//
//	LOCK      held by the process that uses the spool
//	db/       the store
//	bodies/   a file a large body, named by its letter's ID
//	ballast   space to be given up when the disk is full
//	rebuild   there when damage was found that the next start is to repair
//
// A store that is damaged beyond what it can open is read record by record into a new one;
// the old one is kept beside it.
func OpenStore(dir string, o StoreOptions) (Store, error) {
	s, err := openStore(dir, o)
	if err != nil {
		return nil, fmt.Errorf("queue: spool %s: %w", dir, err)
	}
	return s, nil
}

func openStore(dir string, o StoreOptions) (_ *pebbleStore, err error) {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &pebbleStore{dir: dir, fs: o.FS, log: o.Log, stop: make(chan struct{})}
	s.fence.init()
	s.leases.held = map[Key]bool{}
	if err := s.makeDirs(); err != nil {
		return nil, err
	}
	s.lock, err = s.fs.Lock(s.path("LOCK"))
	if err != nil {
		return nil, fmt.Errorf("in use by another process: %w", err)
	}
	s.disk = newDisk(s, o)
	if err := s.openDB(); err != nil {
		return nil, errors.Join(err, s.lock.Close())
	}
	if err := s.beginOrRebuild(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// beginOrRebuild begins, and rebuilds first where opening passed over damage that the first
// read meets.
func (s *pebbleStore) beginOrRebuild() error {
	err := s.begin()
	if err == nil || s.fence.err() != nil || !isDamage(err) {
		return err
	}
	s.log.Error("ALARM: the store is damaged and is rebuilt", "spool", s.dir, "error", err.Error())
	if err := s.db.Close(); err != nil {
		s.log.Warn("closing the damaged store", "spool", s.dir, "error", err.Error())
	}
	if err := s.salvage(); err != nil {
		return err
	}
	return s.begin()
}

func (s *pebbleStore) path(elem ...string) string {
	return s.fs.PathJoin(append([]string{s.dir}, elem...)...)
}

// makeDirs makes the folders, and makes them last.
func (s *pebbleStore) makeDirs() error {
	for _, dir := range []string{s.dir, s.path("bodies")} {
		if err := s.fs.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	if err := syncDir(s.fs, s.fs.PathDir(s.dir)); err != nil {
		return err
	}
	return syncDir(s.fs, s.dir)
}

func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// openDB opens the database, and rebuilds it where it is damaged.
func (s *pebbleStore) openDB() error {
	_, err := s.fs.Stat(s.path("db"))
	_, errNew := s.fs.Stat(s.path("db.new"))
	if errors.Is(err, fs.ErrNotExist) && errNew == nil { // a crash in the midst of swap
		if err := s.swap(); err != nil {
			return err
		}
	}
	if _, err := s.fs.Stat(s.path("rebuild")); err == nil {
		s.log.Warn("the store was found damaged and is rebuilt", "spool", s.dir)
		return s.salvage()
	}
	behind, err := s.precheck()
	if err == nil {
		s.db, err = s.tryOpen("db")
	}
	if err == nil {
		return s.replay(behind)
	}
	if s.fence.err() == nil && isDamage(err) {
		s.log.Error("ALARM: the store is damaged and is rebuilt", "spool", s.dir, "error", err.Error())
		return s.salvage()
	}
	return err
}

// tryOpen opens the database in a folder of the spool. Damage can make the library panic.
func (s *pebbleStore) tryOpen(name string) (db *pebble.DB, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, r)
			if e, ok := r.(error); ok {
				err = fmt.Errorf("%w: %w", ErrDamaged, e)
			}
		}
	}()
	db, err = pebble.Open(s.path(name), s.options())
	if err == nil {
		err = s.fence.err()
	}
	return db, err
}

// options are for a store of many writes that are soon deleted: a large memory table, so
// that most mail is delivered before it would be written a second time; no compression,
// since the texts are small and short-lived; blocks of one message each, so that damage on
// the disk hits few.
func (s *pebbleStore) options() *pebble.Options {
	o := &pebble.Options{
		FS:                          s.disk.fs,
		CacheSize:                   16 << 20,
		FormatMajorVersion:          pebble.FormatWALSyncChunks,
		MemTableSize:                64 << 20,
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       1000,
		LBaseMaxBytes:               256 << 20,
		MaxOpenFiles:                500,
		BytesPerSync:                1 << 20,
		Logger:                      pebbleLog{s},
		EventListener: &pebble.EventListener{
			BackgroundError: s.background,
			FlushEnd:        func(info pebble.FlushInfo) { s.worked(info.Err) },
			CompactionEnd:   func(info pebble.CompactionInfo) { s.worked(info.Err) },
			DataCorruption:  func(info pebble.DataCorruptionInfo) { s.corrupt(info.Details) },
		},
	}
	for i := range o.Levels {
		o.Levels[i].BlockSize = 4 << 10
	}
	o.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionNone })
	return o
}

// begin does what every start does: it checks the version of the layout, removes bodies
// without a letter, and counts.
func (s *pebbleStore) begin() error {
	v, closer, err := s.db.Get([]byte{keyVersion})
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		b := s.db.NewBatch()
		b.Set([]byte{keyVersion}, []byte(layoutVersion), nil) //nolint:errcheck // a batch in memory
		if err := s.commit(b); err != nil {
			return err
		}
	case err != nil:
		return err
	default:
		version := string(v)
		closer.Close()
		if version != layoutVersion {
			return fmt.Errorf("its layout has version %q, this program knows %q", version, layoutVersion)
		}
	}
	if err := s.removeOrphans(); err != nil {
		return err
	}
	s.tasks.Add(1)
	snapshot := s.db.NewSnapshot()
	go func() {
		defer s.tasks.Done()
		s.count(snapshot)
	}()
	return s.disk.begin()
}

// count adds the entries that were there at the start.
func (s *pebbleStore) count(snapshot *pebble.Snapshot) {
	defer snapshot.Close()
	it, err := snapshot.NewIter(&pebble.IterOptions{LowerBound: []byte{keyEntry}, UpperBound: []byte{keyEntry + 1}})
	if err != nil {
		return
	}
	defer it.Close()
	n := 0
	for ok := it.First(); ok; ok = it.Next() {
		if n++; n%1000 == 0 {
			select {
			case <-s.stop:
				return
			default:
				s.entries.Add(1000)
			}
		}
	}
	s.entries.Add(int64(n % 1000))
}

// Close closes the store. A fenced store is not written to any more: it stays locked until
// the process ends, since the library may still be at work.
func (s *pebbleStore) Close() error {
	close(s.stop)
	s.tasks.Wait()
	if !s.fence.raise(errors.New("closed")) { // who comes late finds a closed door
		return nil
	}
	return errors.Join(s.db.Close(), s.lock.Close())
}

// Health reports the state of the store.
func (s *pebbleStore) Health() Health {
	return Health{
		Fenced:  s.fence.err(),
		Full:    s.disk.short(),
		Damaged: s.damaged.Load(),
		Entries: s.entries.Load(),
		Rebuild: s.rebuild.Load(),
	}
}

// Clock returns the saved clock, or a new one.
func (s *pebbleStore) Clock() (ClockState, error) {
	b, err := s.get([]byte{keyClock})
	if errors.Is(err, ErrNoEntry) {
		return ClockState{}, nil
	}
	if err == nil {
		var c ClockState
		if c, err = decodeClock(b); err == nil {
			return c, nil
		}
	}
	if errors.Is(err, ErrDamaged) { // mail lives longer then; better than no mail at all
		s.alarm("the saved clock", err)
		return ClockState{}, nil
	}
	return ClockState{}, err
}

// SetClock saves the clock with the next sync; it does not ask for one.
func (s *pebbleStore) SetClock(c ClockState) error {
	b := s.db.NewBatch()
	b.Set([]byte{keyClock}, c.encode(), nil) //nolint:errcheck // a batch in memory
	return s.apply(b, pebble.NoSync)
}
