package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// Create makes a bare repository at path, whose folder only its owner can enter. Its branch is
// main, HEAD names that, and the first change is its first commit. It appears whole and
// durable, or not at all; where anything is at path already, the error is fs.ErrExist and
// nothing changes.
func Create(ctx context.Context, path string, first Change) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: create: %w", path, err)
		}
	}()
	if err := first.check(); err != nil {
		return err
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(err, fs.ErrExist)
	}
	parent := filepath.Dir(path)
	made, err := os.MkdirTemp(parent, ".new-repository-*") // nobody else can enter it
	if err != nil {
		return err
	}
	defer os.RemoveAll(made)
	if err := createIn(ctx, made, first); err != nil {
		return err
	}
	if err := syncTree(made); err != nil {
		return err
	}
	// Where somebody else was faster, what they made is not empty and cannot be replaced.
	if err := os.Rename(made, path); err != nil {
		return err
	}
	return syncAll([]string{parent})
}

func createIn(ctx context.Context, dir string, first Change) error {
	repository, err := git.PlainInitWithOptions(dir, &git.PlainInitOptions{
		Bare: true, InitOptions: git.InitOptions{DefaultBranch: plumbing.Main},
	})
	if err != nil {
		return err
	}
	store, ok := repository.Storer.(*filesystem.Storage)
	if !ok {
		return ErrRejected
	}
	g := &graft{store: overlay{store, map[plumbing.Hash]plumbing.EncodedObject{}}}
	tree, err := g.tree(plumbing.ZeroHash, "", first.Files)
	if err == nil && tree == plumbing.ZeroHash {
		tree, err = g.add(&object.Tree{}, "")
	}
	if err != nil {
		return err
	}
	who := object.Signature{Name: first.Name, Email: first.Email, When: first.When}
	if g.id, err = g.add(&object.Commit{Author: who, Committer: who, Message: first.Message, TreeHash: tree}, ""); err != nil {
		return err
	}
	files, err := new(deflater).files(filepath.Join(dir, "objects"), g)
	if err != nil {
		return err
	}
	lock, err := lockRef(ctx, dir, plumbing.Main)
	if err != nil {
		return err
	}
	defer lock.release()
	return lock.move(g.id, files)
}

// syncTree syncs every file and folder below a folder.
func syncTree(dir string) error {
	var paths []string
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		paths = append(paths, path)
		return err
	})
	if err != nil {
		return err
	}
	return syncAll(paths)
}
