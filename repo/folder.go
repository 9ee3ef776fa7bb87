package repo

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
)

// together is what the changes come to.
func together(changes []Change) Change {
	all := Change{Files: map[string][]byte{}}
	for _, c := range changes {
		maps.Copy(all.Files, c.Files)
	}
	return all
}

// follow brings the working folder of a checkout up to the new commit. It is a courtesy: the
// commit stands whether or not it succeeds.
func follow(repository *git.Repository, branch plumbing.ReferenceName, base *Snapshot, c Change) {
	work, err := repository.Worktree()
	if err != nil {
		return // a bare repository
	}
	head, err := repository.Storer.Reference(plumbing.HEAD)
	if err != nil || head.Target() != branch {
		return
	}
	root := work.Filesystem.Root()
	for path, data := range c.Files {
		at := filepath.Join(root, filepath.FromSlash(path))
		have, err := os.ReadFile(at)
		if err != nil && !errors.Is(err, fs.ErrNotExist) || !bytes.Equal(have, base.Files[path]) {
			continue // the owner is at work on it
		}
		if data == nil {
			work.Remove(path) //nolint:errcheck // see above
			continue
		}
		if replaceFile(at, data, 0o644) == nil {
			work.Add(path) //nolint:errcheck // see above
		}
	}
}

// commitFolder writes into a plain folder.
func (s *local) commitFolder(ctx context.Context, base *Snapshot, changes []Change, l Limits) (*Snapshot, error) {
	now, err := readFolder(ctx, s.path, l, nil)
	if err != nil {
		return nil, err
	}
	if now.Version != base.Version {
		return nil, ErrMoved
	}
	root, err := filepath.EvalSymlinks(s.path)
	if err != nil {
		return nil, err
	}
	next := apply(base, changes)
	for path := range together(changes).Files {
		at := filepath.Join(root, filepath.FromSlash(path))
		data, stays := next[path]
		switch {
		case !stays:
			if err = os.Remove(at); errors.Is(err, fs.ErrNotExist) {
				err = nil
			}
		default:
			if err = os.MkdirAll(filepath.Dir(at), 0o777); err == nil {
				err = replaceFile(at, data, 0o644)
			}
		}
		if err != nil {
			return nil, err
		}
	}
	made := &Snapshot{Files: next}
	made.Version = contentVersion(made)
	return made, nil
}
