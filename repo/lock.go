package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// A refLock is the lock of a branch, as git takes it.
type refLock struct {
	file  *os.File
	path  string // of the branch
	moved bool
}

// lockRef takes the lock of a branch.
func lockRef(ctx context.Context, dir string, branch plumbing.ReferenceName) (*refLock, error) {
	path := filepath.Join(dir, filepath.FromSlash(branch.String()))
	if err := makeFolder(filepath.Dir(path)); err != nil {
		return nil, err
	}
	f, err := openLock(ctx, path+".lock")
	if err != nil {
		return nil, err
	}
	return &refLock{file: f, path: path}, nil
}

// makeFolder makes a folder and those above it, durably.
func makeFolder(path string) error {
	err := os.Mkdir(path, 0o777)
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil
	case errors.Is(err, fs.ErrNotExist):
		if err := makeFolder(filepath.Dir(path)); err != nil {
			return err
		}
		if err = os.Mkdir(path, 0o777); err == nil {
			err = syncAll([]string{filepath.Dir(path)})
		}
	case err == nil:
		err = syncAll([]string{filepath.Dir(path)})
	}
	return err
}

// move places the files and puts the branch at id, which is done once.
func (l *refLock) move(id plumbing.Hash, files []placing) error {
	if _, err := l.file.WriteString(id.String() + "\n"); err != nil {
		return err
	}
	if err := place(files, l.file); err != nil {
		return err
	}
	if err := os.Rename(l.path+".lock", l.path); err != nil {
		return err
	}
	l.moved = true
	return syncAll([]string{filepath.Dir(l.path)})
}

func (l *refLock) release() {
	l.file.Close()
	if !l.moved {
		os.Remove(l.path + ".lock")
	}
}

// staleLock is the age at which a lock that no living process of ours holds is taken to be of
// a dead one. Git holds its locks for an instant.
const staleLock = 5 * time.Second

func openLock(ctx context.Context, lock string) (*os.File, error) {
	for {
		f, err := os.OpenFile(lock, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if err == nil {
			return f, hold(f)
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		if removeStale(lock) {
			continue
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%s is locked: %w", lock, ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// removeStale removes a stale lock, and sees that it is no other by then.
func removeStale(lock string) bool {
	f, err := os.OpenFile(lock, os.O_WRONLY, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || time.Since(info.ModTime()) <= staleLock || hold(f) != nil {
		return false
	}
	now, err := os.Stat(lock)
	return err == nil && os.SameFile(info, now) && os.Remove(lock) == nil
}
