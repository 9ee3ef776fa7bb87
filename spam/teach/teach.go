// Package teach remembers what users taught the spam filter, each for himself.
//
// What a user taught is a list of lessons, which are added to the judgement of the common model
// for mail to this user and for nobody else's. The list is bounded and fades, so that a mistake of
// last year does not last; a lesson is on disk when Teach returns.
package teach

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"stagecoach/mail"
	"stagecoach/spam"
)

// What is remembered of one user.
const (
	MaxLessons = 400  // the oldest go first
	MaxKnown   = 4000 // correspondents
	HalfLife   = 180 * 24 * time.Hour
	KnownFor   = 2 * 365 * 24 * time.Hour // a correspondent, after the last mail to him
	maxOpen    = 256                      // users in memory
)

// Everyone is the user whose lessons count for all: those of the operator.
const Everyone = "everyone"

// ErrTaught says that this mail was taught before, the same way.
var ErrTaught = errors.New("this mail was taught already")

// A Store is a folder with a file for each user. It is safe for concurrent use, also by several
// processes.
type Store struct {
	Now func() time.Time // nil: time.Now

	dir  string
	mu   sync.Mutex
	open map[string]*user
	tick int64
}

// Open opens a folder, which it makes if need be.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("what users taught: %w", err)
	}
	return &Store{dir: dir, open: map[string]*user{}}, nil
}

func (s *Store) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

// A user is what is in one file.
type user struct {
	lessons []record           // the oldest first
	known   map[[16]byte]int64 // correspondents, and when they were written to
	size    int64              // of the file, when it was read
	mod     time.Time          // of the file
	records int                // in the file, those that do not count any more included
	used    int64
}

// Teach remembers that a mail is spam or good, for one user. A mail that was taught the other way
// is taught anew; one that was taught the same way is ErrTaught.
func (s *Store) Teach(name string, j *spam.Judge, m *mail.Message, isSpam bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	unlock, err := s.lock()
	if err != nil {
		return err
	}
	defer unlock()
	u, err := s.user(name)
	if err != nil {
		return err
	}
	id, err := j.Digest(m)
	if err != nil {
		return err
	}
	rest := slices.Clone(u.lessons)
	if i := slices.IndexFunc(rest, func(r record) bool { return r.digest == id }); i >= 0 {
		if (rest[i].kind == kindSpam) == isSpam {
			return ErrTaught
		}
		rest = slices.Delete(rest, i, i+1)
	}
	l, err := j.Lesson(m, isSpam, s.fade(rest))
	if err != nil {
		return err
	}
	r := record{kind: kindHam, at: s.now().Unix(), digest: l.Digest, weight: float32(l.Weight), packed: l.Packed}
	if isSpam {
		r.kind = kindSpam
	}
	return s.append(name, u, r)
}

// Forget takes back what was taught of a mail, and reports whether there was anything.
func (s *Store) Forget(name string, j *spam.Judge, m *mail.Message) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	unlock, err := s.lock()
	if err != nil {
		return false, err
	}
	defer unlock()
	u, err := s.user(name)
	if err != nil {
		return false, err
	}
	id, err := j.Digest(m)
	if err != nil {
		return false, err
	}
	if !slices.ContainsFunc(u.lessons, func(r record) bool { return r.digest == id }) {
		return false, nil
	}
	return true, s.append(name, u, record{kind: kindForget, at: s.now().Unix(), digest: id})
}

// Lessons returns what counts for a user's mail: what the user taught, and what the operator did.
func (s *Store) Lessons(name string) ([]spam.Lesson, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []spam.Lesson
	for _, n := range []string{Everyone, name} {
		u, err := s.user(n)
		if err != nil {
			return nil, err
		}
		out = append(out, s.fade(u.lessons)...)
		if name == Everyone {
			break
		}
	}
	return out, nil
}

// fade returns lessons with the weight that is left of them.
func (s *Store) fade(records []record) []spam.Lesson {
	now := s.now().Unix()
	out := make([]spam.Lesson, 0, len(records))
	for _, r := range records {
		age := float64(max(now-r.at, 0)) / HalfLife.Seconds()
		out = append(out, spam.Lesson{Digest: r.digest, Weight: float64(r.weight) * math.Exp2(-age), Packed: r.packed})
	}
	return out
}

// Wrote remembers that a user wrote to somebody.
func (s *Store) Wrote(name string, to ...mail.Address) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	unlock, err := s.lock()
	if err != nil {
		return err
	}
	defer unlock()
	u, err := s.user(name)
	if err != nil {
		return err
	}
	now := s.now().Unix()
	for _, a := range to {
		id := addressDigest(a)
		if at, ok := u.known[id]; ok && now-at < int64((30*24*time.Hour).Seconds()) {
			continue
		}
		if err := s.append(name, u, record{kind: kindWrote, at: now, digest: id}); err != nil {
			return err
		}
	}
	return nil
}

// Knows reports whether a user has written to somebody.
func (s *Store) Knows(name string, a mail.Address) bool { return s.Familiar(name, a) > 0 }

// Familiar says how well a user knows somebody to whom he wrote: 1 at once, half of it after half of
// KnownFor, and 0 after that time or when he never wrote.
func (s *Store) Familiar(name string, a mail.Address) float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, err := s.user(name)
	if err != nil {
		return 0
	}
	at, ok := u.known[addressDigest(a)]
	if !ok {
		return 0
	}
	return min(max(1-float64(s.now().Unix()-at)/KnownFor.Seconds(), 0), 1)
}

// Stat is what is remembered of one user.
type Stat struct {
	User           string
	Spam, Ham      int
	Correspondents int
	Bytes          int64
}

// Stats returns what is remembered, by user.
func (s *Store) Stats() ([]Stat, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	files, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	var out []Stat
	for _, f := range files {
		name, ok := strings.CutSuffix(f.Name(), suffix)
		if !ok {
			continue
		}
		name = unescape(name)
		u, err := s.user(name)
		if err != nil {
			return nil, err
		}
		st := Stat{User: name, Correspondents: len(u.known), Bytes: u.size}
		for _, r := range u.lessons {
			if r.kind == kindSpam {
				st.Spam++
			} else {
				st.Ham++
			}
		}
		out = append(out, st)
	}
	return out, nil
}

// ForgetAll removes all that is remembered of a user.
func (s *Store) ForgetAll(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	unlock, err := s.lock()
	if err != nil {
		return err
	}
	defer unlock()
	delete(s.open, name)
	if err := os.Remove(s.path(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return syncDir(s.dir)
}

func (s *Store) path(name string) string { return filepath.Join(s.dir, escape(name)+suffix) }
