package repo

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// commit makes the objects durable first and moves the branch last, under the lock file that
// git itself uses, so that a crash at any point leaves the branch at one commit or the other.
//
// There are three points at which it waits for the disk: the files, among them that which the
// branch is to become; the folders of the objects; the folder of the branch. Each of them syncs
// all at once, which costs a disk hardly more than one.
func (s *local) commit(ctx context.Context, base *Snapshot, changes []Change, l Limits) (*Snapshot, error) {
	repository, err := openRepository(s.path)
	if errors.Is(err, git.ErrRepositoryNotExists) {
		return s.commitFolder(ctx, base, changes, l)
	}
	if err != nil {
		return nil, err
	}
	store, ok := repository.Storer.(*filesystem.Storage)
	if !ok || base.Branch == "" || base.objects == nil {
		return nil, ErrRejected
	}
	dir := commonDir(store.Filesystem().Root())
	branch := plumbing.NewBranchReferenceName(base.Branch)
	if err := stillAt(store, branch, base); err != nil {
		return nil, err
	}
	g, err := newGraft(base, changes)
	if err != nil {
		return nil, err
	}
	files, err := s.files(filepath.Join(dir, "objects"), g)
	if err != nil {
		return nil, err
	}
	lock, err := lockRef(ctx, dir, branch)
	if err != nil {
		return nil, err
	}
	defer lock.release()
	if err := stillAt(store, branch, base); err != nil {
		return nil, err
	}
	if !base.ours {
		if err := syncBase(filepath.Join(dir, "objects"), base); err != nil {
			return nil, err
		}
	}
	if err := lock.move(g.id, files); err != nil {
		return nil, err
	}
	s.packSoon(repository, filepath.Join(dir, "objects"), files)
	follow(repository, branch, base, together(changes))
	return g.snapshot(base, changes)
}

func stillAt(store *filesystem.Storage, branch plumbing.ReferenceName, base *Snapshot) error {
	now, err := store.Reference(branch)
	if err != nil || now.Hash().String() != base.Version {
		return errors.Join(ErrMoved, err)
	}
	return nil
}

// commonDir returns where branches and objects are: a checkout made by git worktree has them
// elsewhere.
func commonDir(dir string) string {
	data, err := os.ReadFile(filepath.Join(dir, "commondir"))
	if err != nil {
		return dir
	}
	common := strings.TrimSpace(string(data))
	if filepath.IsAbs(common) {
		return common
	}
	return filepath.Join(dir, common)
}

// manyObjects is from where on a pack is cheaper to sync than single files.
const manyObjects = 12

// files returns the files that hold the new objects: one for each, or a pack and then its index,
// by which git knows a pack.
func (d *deflater) files(objects string, g *graft) ([]placing, error) {
	if len(g.objects) < manyObjects {
		var files []placing
		for _, o := range g.objects {
			packed, err := d.loose(o)
			if err != nil {
				return nil, err
			}
			files = append(files, placing{path: loosePath(objects, o.id), temporary: "tmp_obj_*", data: packed})
		}
		return files, nil
	}
	pack, index, name, err := packObjects(g.objects)
	if err != nil {
		return nil, err
	}
	name = filepath.Join(objects, "pack", name)
	return []placing{
		{path: name + ".pack", temporary: "tmp_pack_*", data: pack},
		{path: name + ".idx", temporary: "tmp_idx_*", data: index},
	}, nil
}
