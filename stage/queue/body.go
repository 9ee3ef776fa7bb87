package queue

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"stagecoach/mail"
)

// writeBody stores a large body under its letter's ID, synced with its folder, before the
// batch that refers to it. A crash in between leaves an orphan, which the next start removes.
func (s *pebbleStore) writeBody(l *Letter, m *mail.Message) error {
	f, err := s.fs.Create(s.bodyPath(l.ID), vfs.WriteCategoryUnspecified)
	if err != nil {
		return fullOr(err)
	}
	sum := crc32.New(castagnoli)
	// The sum comes first: Write of a vfs.File may change the buffer that it is given.
	n, err := io.Copy(io.MultiWriter(sum, f), m.NewReader())
	if err != nil || n != m.Body.Size() {
		if err == nil {
			err = io.ErrUnexpectedEOF
		}
		err = errors.Join(fullOr(err), f.Close())
		s.removeFile(l.ID)
		return err
	}
	if err := errors.Join(f.Sync(), f.Close(), syncDir(s.fs, s.path("bodies"))); err != nil {
		s.raise(fmt.Errorf("body %s: %w", l.ID, err))
		return s.fence.err()
	}
	l.file = &bodyFile{size: n, sum: sum.Sum32()}
	return nil
}

func (s *pebbleStore) bodyPath(id ID) string { return s.path("bodies", id.String()) }

// fullOr makes a full disk ErrFull.
func fullOr(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}

// removeBody removes the file of a letter that is no more. Its failure costs space, and the
// next start tries again.
func (s *pebbleStore) removeBody(l *Letter) {
	if l.file != nil && l.Size > largeBody {
		s.removeFile(l.ID)
	}
}

func (s *pebbleStore) removeFile(id ID) {
	if err := s.fs.Remove(s.bodyPath(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("a body could not be removed", "file", s.bodyPath(id), "error", err)
	}
}

// openBody opens a large body after it has been checked from end to end: half of a message
// must not be on its way when the damage is met.
func (s *pebbleStore) openBody(l *Letter) (vfs.File, error) {
	f, err := s.fs.Open(s.bodyPath(l.ID), vfs.SequentialReadsOption)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: its body is not there", ErrDamaged)
	}
	if err != nil {
		return nil, err
	}
	sum := crc32.New(castagnoli)
	n, err := io.Copy(sum, io.NewSectionReader(f, 0, l.file.size+1))
	switch {
	case errors.Is(err, syscall.EIO):
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	case err == nil && (n != l.file.size || sum.Sum32() != l.file.sum):
		err = fmt.Errorf("%w: its body has a wrong checksum", ErrDamaged)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// removeOrphans removes the bodies that no letter refers to. It runs before anything is
// taken.
func (s *pebbleStore) removeOrphans() error {
	names, err := s.fs.List(s.path("bodies"))
	if err != nil {
		return err
	}
	for _, name := range names {
		id, err := ParseID(name)
		if err != nil {
			continue // not ours
		}
		if _, err := s.get(letterKey(id)); errors.Is(err, ErrNoEntry) {
			s.removeFile(id)
		}
	}
	return nil
}
