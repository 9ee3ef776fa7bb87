package repo

import (
	"context"
	"fmt"
	"io"
	"path"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/storage/memory"
)

// readCommit reads the files of a commit.
func readCommit(ctx context.Context, objects storer.EncodedObjectStorer, branch string, id plumbing.Hash, l Limits) (*Snapshot, error) {
	commit, err := object.GetCommit(objects, id)
	if err != nil {
		return nil, fmt.Errorf("commit %s: %w", id, err)
	}
	g := newGatherer(l)
	if err := g.walk(ctx, objects, commit.TreeHash, "", 0); err != nil {
		return nil, fmt.Errorf("commit %s: %w", id, err)
	}
	kept := memory.NewStorage()
	o, err := objects.EncodedObject(plumbing.CommitObject, id)
	if err == nil {
		_, err = kept.SetEncodedObject(o)
	}
	if err == nil {
		err = keepTrees(objects, kept, commit.TreeHash)
	}
	if err != nil {
		return nil, fmt.Errorf("commit %s: %w", id, err)
	}
	return &Snapshot{Version: id.String(), Branch: branch, Files: g.files, objects: kept}, nil
}

func (g *gatherer) walk(ctx context.Context, objects storer.EncodedObjectStorer, id plumbing.Hash, folder string, depth int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	tree, err := object.GetTree(objects, id)
	if err != nil {
		return fmt.Errorf("folder %q: %w", folder, err)
	}
	for _, e := range tree.Entries {
		name := e.Name
		if folder != "" {
			name = folder + "/" + e.Name
		}
		// A name with a slash in it would reach into another folder.
		if path.Base(e.Name) != e.Name {
			return fmt.Errorf("%q is no name of a file", e.Name)
		}
		if err := g.enter(name, depth); err != nil {
			return err
		}
		switch e.Mode {
		case filemode.Dir:
			err = g.walk(ctx, objects, e.Hash, name, depth+1)
		case filemode.Regular, filemode.Executable, filemode.Deprecated:
			err = g.addBlob(objects, e.Hash, name)
		default: // a symbolic link or a submodule
			err = fmt.Errorf("%s: %w", name, ErrFileKind)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (g *gatherer) addBlob(objects storer.EncodedObjectStorer, id plumbing.Hash, name string) error {
	size, err := objects.EncodedObjectSize(id)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := g.room(name, size); err != nil {
		return err
	}
	blob, err := object.GetBlob(objects, id)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	r, err := blob.Reader()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer r.Close()
	data := make([]byte, size)
	if _, err := io.ReadFull(r, data); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	g.files[name] = data
	return nil
}
