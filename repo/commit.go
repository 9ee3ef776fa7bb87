package repo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/storage/memory"
)

// What Commit says of a change that cannot be made; errors.Is finds them.
var (
	ErrMoved    = errors.New("the repository has changed since it was read")
	ErrRejected = errors.New("the repository does not take the change")
)

// A Change is what one commit does to the files.
type Change struct {
	Files   map[string][]byte // new contents by path; nil removes the file
	Message string            // subject, and after an empty line the body
	Name    string            // of author and committer
	Email   string
	When    time.Time
}

// Commit adds one commit for each change to what base holds, in their order, and returns the
// files as they are then. All of them are made or none. When it returns without an error they
// are durable: synced to disk in a repository on this machine, taken by the server of a far
// one. ErrMoved means that somebody else was faster and nothing was done: fetch, apply the
// changes to what is there now, and commit again. After any other error the commits may or may
// not have been made; the next Fetch tells.
//
// In a plain folder the files are replaced one by one, and nothing keeps Message and Name. In
// a checkout the working folder follows, but for files with changes of their own.
func (r *Remote) Commit(ctx context.Context, base *Snapshot, changes ...Change) (*Snapshot, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	for _, c := range changes {
		if err := c.check(); err != nil {
			return nil, fmt.Errorf("%s: %w", r.at, err)
		}
	}
	w, ok := r.source.(committer)
	if !ok || len(changes) == 0 {
		return nil, fmt.Errorf("%s: %w", r.at, ErrRejected)
	}
	s, err := w.commit(ctx, base, changes, r.limits)
	if err != nil {
		return nil, fmt.Errorf("%s: commit: %w", r.at, err)
	}
	r.last = s
	return s, nil
}

// A committer is a source that can be written to.
type committer interface {
	commit(ctx context.Context, base *Snapshot, changes []Change, l Limits) (*Snapshot, error)
}

var (
	_ committer = (*local)(nil)
	_ committer = far{}
)

func (c Change) check() error {
	for name := range c.Files {
		if !fs.ValidPath(name) || name == "." || strings.HasPrefix(name, ".git/") || name == ".git" {
			return fmt.Errorf("%q is no path of a file", name)
		}
	}
	if strings.ContainsAny(c.Name+c.Email, "<>\n\x00") || strings.Contains(c.Message, "\x00") {
		return errors.New("the author or the message cannot stand in a commit")
	}
	return nil
}

// apply returns the files of base after the changes.
func apply(base *Snapshot, changes []Change) map[string][]byte {
	files := maps.Clone(base.Files)
	for _, c := range changes {
		for path, data := range c.Files {
			if data == nil {
				delete(files, path)
			} else {
				files[path] = data
			}
		}
	}
	return files
}

// A graft is commits as objects: those that are new, the last commit last.
type graft struct {
	id      plumbing.Hash // of the last commit
	objects []gitObject
	store   overlay
}

// An overlay finds trees and commits that were just made, and else those of the repository.
type overlay struct {
	storer.EncodedObjectStorer
	made map[plumbing.Hash]plumbing.EncodedObject
}

func (o overlay) EncodedObject(t plumbing.ObjectType, id plumbing.Hash) (plumbing.EncodedObject, error) {
	if m, ok := o.made[id]; ok {
		return m, nil
	}
	return o.EncodedObjectStorer.EncodedObject(t, id)
}

// newGraft makes the objects for changes on top of base.
func newGraft(base *Snapshot, changes []Change) (*graft, error) {
	g := &graft{id: plumbing.NewHash(base.Version), store: overlay{base.objects, map[plumbing.Hash]plumbing.EncodedObject{}}}
	for _, c := range changes {
		parent, err := object.GetCommit(g.store, g.id)
		if err != nil {
			return nil, err
		}
		tree, err := g.tree(parent.TreeHash, "", c.Files)
		if err != nil {
			return nil, err
		}
		if tree == plumbing.ZeroHash {
			if tree, err = g.add(&object.Tree{}, ""); err != nil {
				return nil, err
			}
		}
		who := object.Signature{Name: c.Name, Email: c.Email, When: c.When}
		g.id, err = g.add(&object.Commit{
			Author: who, Committer: who, Message: c.Message, TreeHash: tree, ParentHashes: []plumbing.Hash{g.id},
		}, "")
		if err != nil {
			return nil, err
		}
	}
	return g, nil
}

// tree adds the tree at id, the folder of a name, with the files changed, and the trees below that
// change with it.
func (g *graft) tree(id plumbing.Hash, at string, files map[string][]byte) (plumbing.Hash, error) {
	entries := map[string]object.TreeEntry{}
	if id != plumbing.ZeroHash {
		tree, err := object.GetTree(g.store, id)
		if err != nil {
			return id, err
		}
		for _, e := range tree.Entries {
			entries[e.Name] = e
		}
	}
	below := map[string]map[string][]byte{}
	for name, data := range files {
		folder, rest, nested := strings.Cut(name, "/")
		if nested {
			if below[folder] == nil {
				below[folder] = map[string][]byte{}
			}
			below[folder][rest] = data
			continue
		}
		if err := g.file(entries, at, name, data); err != nil {
			return id, err
		}
	}
	for folder, files := range below {
		if err := g.folder(entries, at, folder, files); err != nil {
			return id, err
		}
	}
	if len(entries) == 0 {
		return plumbing.ZeroHash, nil
	}
	return g.add(sortedTree(entries), at)
}

func (g *graft) file(entries map[string]object.TreeEntry, at, name string, data []byte) error {
	if data == nil {
		delete(entries, name)
		return nil
	}
	if e, ok := entries[name]; ok && e.Mode == filemode.Dir {
		return fmt.Errorf("%s is a folder", name)
	}
	blob := newGitObject(plumbing.BlobObject, data, path.Join(at, name))
	g.objects = append(g.objects, blob)
	mode := filemode.Regular
	if e, ok := entries[name]; ok {
		mode = e.Mode
	}
	entries[name] = object.TreeEntry{Name: name, Mode: mode, Hash: blob.id}
	return nil
}

func (g *graft) folder(entries map[string]object.TreeEntry, at, name string, files map[string][]byte) error {
	id := plumbing.ZeroHash
	if e, ok := entries[name]; ok {
		if e.Mode != filemode.Dir {
			return fmt.Errorf("%s is no folder", name)
		}
		id = e.Hash
	}
	tree, err := g.tree(id, path.Join(at, name), files)
	if err != nil {
		return err
	}
	if tree == plumbing.ZeroHash {
		delete(entries, name)
	} else {
		entries[name] = object.TreeEntry{Name: name, Mode: filemode.Dir, Hash: tree}
	}
	return nil
}

// sortedTree puts entries in git's order, in which a folder counts as if its name ended in a
// slash.
func sortedTree(entries map[string]object.TreeEntry) *object.Tree {
	key := func(e object.TreeEntry) string {
		if e.Mode == filemode.Dir {
			return e.Name + "/"
		}
		return e.Name
	}
	list := slices.SortedFunc(maps.Values(entries), func(a, b object.TreeEntry) int {
		return strings.Compare(key(a), key(b))
	})
	return &object.Tree{Entries: list}
}

// encoder is a commit or a tree.
type encoder interface {
	Encode(o plumbing.EncodedObject) error
}

func (g *graft) add(e encoder, at string) (plumbing.Hash, error) {
	o := &plumbing.MemoryObject{}
	if err := e.Encode(o); err != nil {
		return plumbing.ZeroHash, err
	}
	r, err := o.Reader()
	if err != nil {
		return plumbing.ZeroHash, err
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	id := o.Hash()
	g.objects = append(g.objects, gitObject{id, o.Type(), data, at})
	g.store.made[id] = o
	return id, nil
}

// snapshot returns what the repository holds after the graft, with the trees and the commit in
// memory, so that another change can follow.
func (g *graft) snapshot(base *Snapshot, changes []Change) (*Snapshot, error) {
	kept := memory.NewStorage()
	if _, err := kept.SetEncodedObject(g.store.made[g.id]); err != nil {
		return nil, err
	}
	commit, err := object.GetCommit(kept, g.id)
	if err != nil {
		return nil, err
	}
	if err := keepTrees(g.store, kept, commit.TreeHash); err != nil {
		return nil, err
	}
	return &Snapshot{Version: g.id.String(), Branch: base.Branch, Files: apply(base, changes), objects: kept, ours: true}, nil
}

// keepTrees copies a tree and those below it.
func keepTrees(from storer.EncodedObjectStorer, to *memory.Storage, id plumbing.Hash) error {
	o, err := from.EncodedObject(plumbing.TreeObject, id)
	if err != nil {
		return err
	}
	if _, err := to.SetEncodedObject(o); err != nil {
		return err
	}
	tree, err := object.DecodeTree(to, o)
	if err != nil {
		return err
	}
	for _, e := range tree.Entries {
		if e.Mode == filemode.Dir {
			if err := keepTrees(from, to, e.Hash); err != nil {
				return err
			}
		}
	}
	return nil
}
