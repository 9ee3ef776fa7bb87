package hold

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"stagecoach/mail"
)

// Limits bound what is held for one user. Zero values mean the defaults.
type Limits struct {
	Mails int           // default 500
	Size  int64         // octets; default 200 MiB
	Age   time.Duration // how long a mail is kept; default 30 days
}

func (l Limits) withDefaults() Limits {
	if l.Mails <= 0 {
		l.Mails = 500
	}
	if l.Size <= 0 {
		l.Size = 200 << 20
	}
	if l.Age <= 0 {
		l.Age = 30 * 24 * time.Hour
	}
	return l
}

// ErrFull says that no more is held for a user.
var ErrFull = errors.New("as much is held for this user as may be")

// ErrNotHeld says that there is no such mail: it was released or deleted, or never was.
var ErrNotHeld = errors.New("no such mail is held")

// A Store is a folder of held mail, with a folder for each user and in it a file for each mail:
//
//	NAME/ID.held      a mail that is held
//	NAME/ID.release   one that is to be forwarded; it goes when the next stage has taken it
//	NAME/.new-*       one that is being written; nobody was told that it is there
//	NAME/told         of which mails the user was told
//	wake, digest      somebody wants that the service looks, or sends the digests, now
//
// A file appears and changes its state by one rename, and is synced, with its folder, before. A crash
// leaves it in one state or the other. A Store is safe for concurrent use, also by several processes.
type Store struct {
	Limits Limits

	dir string
	mu  sync.Mutex
}

// Open opens a folder, which it makes if need be.
func Open(dir string, l Limits) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("held mail: %w", err)
	}
	return &Store{Limits: l.withDefaults(), dir: dir}, nil
}

const (
	heldSuffix    = ".held"
	releaseSuffix = ".release"
	newPrefix     = ".new-"
	wakeFile      = "wake"
	digestFile    = "digest"
)

// stage writes a mail for a user, synced, under a name that does not count yet. What is there already
// counts for the limits.
func (s *Store) stage(user string, m *mail.Mail, at time.Time, v verdict) (*staged, error) {
	folder := filepath.Join(s.dir, folderOf(user))
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.room(folder, m.Message.Size()); err != nil {
		return nil, err
	}
	switch err := os.Mkdir(folder, 0o700); {
	case err == nil:
		if err := syncDir(s.dir); err != nil {
			return nil, err
		}
	case !errors.Is(err, fs.ErrExist):
		return nil, err
	}
	id, err := identify(user, m)
	if err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(folder, newPrefix+"*")
	if err != nil {
		return nil, err
	}
	err = errors.Join(writeItem(f, newItem(id, user, m, at, v), m.Message), f.Sync(), f.Close())
	if err != nil {
		os.Remove(f.Name())
		return nil, err
	}
	return &staged{store: s, folder: folder, file: f.Name(), id: id}, nil
}

// room says whether one more mail of this size may be held.
func (s *Store) room(folder string, size int64) error {
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	n := 0
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			continue // it went in the meantime
		}
		n++
		size += info.Size()
	}
	if n >= s.Limits.Mails || size > s.Limits.Size {
		return ErrFull
	}
	return nil
}

// A staged mail is on disk and does not count before commit.
type staged struct {
	store        *Store
	folder, file string
	id           string
}

// commit makes the mail count; it is durable when commit returns nil. One that is held already, or
// about to be released, stays as it is.
func (w *staged) commit() error {
	for _, suffix := range []string{heldSuffix, releaseSuffix} {
		if _, err := os.Stat(filepath.Join(w.folder, w.id+suffix)); err == nil {
			w.discard()
			return nil
		}
	}
	if err := os.Rename(w.file, filepath.Join(w.folder, w.id+heldSuffix)); err != nil {
		return err
	}
	return syncDir(w.folder)
}

func (w *staged) discard() { os.Remove(w.file) }

// folders returns the folders of all users who have one.
func (s *Store) folders() ([]string, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if e.IsDir() {
			out = append(out, filepath.Join(s.dir, e.Name()))
		}
	}
	return out, nil
}

// List returns what is held for a user, the oldest first. user is an address in small letters. Files
// that cannot be read are told of in the error, beside the others.
func (s *Store) List(user string) ([]Item, error) {
	return readFolder(filepath.Join(s.dir, folderOf(user)))
}

// All returns what is held for everyone, by user.
func (s *Store) All() ([]Item, error) {
	folders, err := s.folders()
	var out []Item
	for _, f := range folders {
		items, e := readFolder(f)
		out, err = append(out, items...), errors.Join(err, e)
	}
	return out, err
}

func readFolder(folder string) ([]Item, error) {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var out []Item
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), heldSuffix) && !strings.HasSuffix(e.Name(), releaseSuffix) {
			continue
		}
		it, bad := readItem(filepath.Join(folder, e.Name()))
		if bad != nil && !errors.Is(bad, fs.ErrNotExist) {
			err = errors.Join(err, bad)
		}
		if bad == nil {
			out = append(out, it)
		}
	}
	slices.SortFunc(out, func(a, b Item) int {
		if c := a.At.Compare(b.At); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out, err
}

// Find returns the mail with this ID, of whatever user.
func (s *Store) Find(id string) (Item, error) {
	if !isID(id) {
		return Item{}, ErrNotHeld
	}
	folders, err := s.folders()
	if err != nil {
		return Item{}, err
	}
	for _, f := range folders {
		for _, suffix := range []string{heldSuffix, releaseSuffix} {
			it, err := readItem(filepath.Join(f, id+suffix))
			if !errors.Is(err, fs.ErrNotExist) {
				return it, err
			}
		}
	}
	return Item{}, ErrNotHeld
}

// Release has the service forward a mail. It is durable when Release returns, and may be repeated.
func (s *Store) Release(it Item) error {
	folder := filepath.Join(s.dir, folderOf(it.User))
	err := os.Rename(filepath.Join(folder, it.ID+heldSuffix), filepath.Join(folder, it.ID+releaseSuffix))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(filepath.Join(folder, it.ID+releaseSuffix)); err == nil {
			return nil
		}
		return ErrNotHeld
	}
	if err != nil {
		return err
	}
	return errors.Join(syncDir(folder), s.touch(wakeFile))
}

// keep undoes Release.
func (s *Store) keep(it Item) error {
	folder := filepath.Join(s.dir, folderOf(it.User))
	if err := os.Rename(filepath.Join(folder, it.ID+releaseSuffix), filepath.Join(folder, it.ID+heldSuffix)); err != nil {
		return err
	}
	return syncDir(folder)
}

// Delete removes a mail for good.
func (s *Store) Delete(it Item) error {
	folder := filepath.Join(s.dir, folderOf(it.User))
	found := false
	for _, suffix := range []string{heldSuffix, releaseSuffix} {
		switch err := os.Remove(filepath.Join(folder, it.ID+suffix)); {
		case err == nil:
			found = true
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	if !found {
		return ErrNotHeld
	}
	return syncDir(folder)
}

// AskDigest has the service send the digests now, to those for whom something is new.
func (s *Store) AskDigest() error { return errors.Join(s.touch(digestFile), s.touch(wakeFile)) }

func (s *Store) touch(name string) error {
	f, err := os.OpenFile(filepath.Join(s.dir, name), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// take removes a mark, and reports whether it was there.
func (s *Store) take(name string) bool { return os.Remove(filepath.Join(s.dir, name)) == nil }

// maxWriting is how long nobody needs to write a mail.
const maxWriting = time.Hour

// clean removes what crashes left half written.
func (s *Store) clean(now time.Time) error {
	folders, err := s.folders()
	for _, folder := range folders {
		left, e := filepath.Glob(filepath.Join(folder, newPrefix+"*"))
		err = errors.Join(err, e)
		for _, file := range left {
			if info, e := os.Stat(file); e == nil && now.Sub(info.ModTime()) > maxWriting {
				err = errors.Join(err, os.Remove(file))
			}
		}
	}
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
