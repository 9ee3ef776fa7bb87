package repo

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/storer"
)

// local is a path on this machine.
type local struct {
	path string
	deflater
	tidier
}

func (s *local) fetch(ctx context.Context, branch string, l Limits, last *Snapshot) (*Snapshot, error) {
	repository, err := openRepository(s.path)
	if errors.Is(err, git.ErrRepositoryNotExists) {
		if branch != "" {
			return nil, fmt.Errorf("a plain folder, or none: %w", ErrNoBranch)
		}
		return readFolder(ctx, s.path, l, last)
	}
	if err != nil {
		return nil, err
	}
	name, commit, err := pickBranch(refsOf(repository.Storer), branch)
	if err != nil {
		return nil, err
	}
	if last != nil && last.Version == commit.String() && last.Branch == name {
		return last, nil
	}
	read, err := readCommit(ctx, repository.Storer, name, commit, l)
	for try := 0; err != nil && try < 3 && mayHaveMoved(ctx, err); try++ {
		if repository, err = openRepository(s.path); err == nil {
			read, err = readCommit(ctx, repository.Storer, name, commit, l)
		}
	}
	return read, err
}

func openRepository(path string) (*git.Repository, error) {
	return git.PlainOpenWithOptions(path, &git.PlainOpenOptions{EnableDotGitCommonDir: true})
}

// mayHaveMoved reports whether an object was not found that may be in another pack by now: the
// library looks only once which packs there are.
func mayHaveMoved(ctx context.Context, err error) bool {
	return ctx.Err() == nil && !errors.Is(err, ErrLimit) && !errors.Is(err, ErrFileKind)
}

// refs answers what a reference points to: a commit, or the name of another reference.
type refs func(name plumbing.ReferenceName) (*plumbing.Reference, bool, error)

func refsOf(s storer.ReferenceStorer) refs {
	return func(name plumbing.ReferenceName) (*plumbing.Reference, bool, error) {
		ref, err := s.Reference(name)
		if errors.Is(err, plumbing.ErrReferenceNotFound) {
			return nil, false, nil
		}
		return ref, err == nil, err
	}
}

// pickBranch finds the commit to read: of the branch that was named, else of what HEAD
// names, else of main or master. A repository may have a HEAD that names no branch yet.
func pickBranch(get refs, branch string) (name string, commit plumbing.Hash, err error) {
	var candidates []plumbing.ReferenceName
	if branch != "" {
		candidates = append(candidates, plumbing.NewBranchReferenceName(branch))
	} else {
		head, ok, err := get(plumbing.HEAD)
		switch {
		case err != nil:
			return "", plumbing.ZeroHash, err
		case ok && head.Type() == plumbing.HashReference:
			return "", head.Hash(), nil
		case ok:
			candidates = append(candidates, head.Target())
		}
		candidates = append(candidates, plumbing.Main, plumbing.Master)
	}
	for _, c := range candidates {
		ref, ok, err := get(c)
		if err != nil {
			return "", plumbing.ZeroHash, err
		}
		if ok && ref.Type() == plumbing.HashReference {
			return c.Short(), ref.Hash(), nil
		}
	}
	if branch != "" {
		return "", plumbing.ZeroHash, fmt.Errorf("%s: %w", branch, ErrNoBranch)
	}
	return "", plumbing.ZeroHash, ErrEmpty
}

// readFolder reads a plain folder. Its version is a hash over names and contents.
func readFolder(ctx context.Context, path string, l Limits, last *Snapshot) (*Snapshot, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	g := newGatherer(l)
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil || name == "." {
			return err
		}
		return g.addEntry(root, name, d)
	})
	if err != nil {
		return nil, err
	}
	s := &Snapshot{Files: g.files}
	s.Version = contentVersion(s)
	if last != nil && last.Version == s.Version {
		return last, nil
	}
	return s, nil
}

func (g *gatherer) addEntry(root *os.Root, name string, d fs.DirEntry) error {
	if err := g.enter(name, strings.Count(name, "/")); err != nil {
		return err
	}
	if d.IsDir() {
		return nil
	}
	if !d.Type().IsRegular() {
		return fmt.Errorf("%s: %w", name, ErrFileKind)
	}
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, g.limits.FileSize+1))
	if err != nil {
		return err
	}
	g.files[name] = data
	return g.room(name, int64(len(data)))
}

func contentVersion(s *Snapshot) string {
	h := sha256.New()
	var n [8]byte
	put := func(b []byte) {
		binary.BigEndian.PutUint64(n[:], uint64(len(b)))
		h.Write(n[:])
		h.Write(b)
	}
	for _, name := range s.Names() {
		put([]byte(name))
		put(s.Files[name])
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}
