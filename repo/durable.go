package repo

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// commit makes the objects durable first and moves the branch last, under the lock file that
// git itself uses, so that a crash at any point leaves the branch at one commit or the other.
func (s local) commit(ctx context.Context, base *Snapshot, changes []Change, l Limits) (*Snapshot, error) {
	repository, err := git.PlainOpenWithOptions(s.path, &git.PlainOpenOptions{EnableDotGitCommonDir: true})
	if errors.Is(err, git.ErrRepositoryNotExists) {
		return s.commitFolder(ctx, base, changes, l)
	}
	if err != nil {
		return nil, err
	}
	store, ok := repository.Storer.(*filesystem.Storage)
	if !ok || base.Branch == "" {
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
	if err := g.write(dir); err != nil {
		return nil, err
	}
	unlock, move, err := lockRef(ctx, dir, branch)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := stillAt(store, branch, base); err != nil {
		return nil, err
	}
	if err := move(g.id); err != nil {
		return nil, err
	}
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

// lockRef takes the lock of a branch and returns how to move the branch, which is done once.
func lockRef(ctx context.Context, dir string, branch plumbing.ReferenceName) (unlock func(), move func(plumbing.Hash) error, err error) {
	path := filepath.Join(dir, filepath.FromSlash(branch.String()))
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return nil, nil, err
	}
	lock := path + ".lock"
	f, err := openLock(ctx, lock)
	if err != nil {
		return nil, nil, err
	}
	moved := false
	unlock = func() {
		f.Close()
		if !moved {
			os.Remove(lock)
		}
	}
	move = func(id plumbing.Hash) error {
		if _, err := f.WriteString(id.String() + "\n"); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
		if err := os.Rename(lock, path); err != nil {
			return err
		}
		moved = true
		return syncAll([]string{filepath.Dir(path)})
	}
	return unlock, move, nil
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

// manyObjects is from where on a pack is cheaper to sync than single files.
const manyObjects = 12

// write makes the objects durable. A pack is written here and not by the library, which would
// read the indexes of all packs first.
func (g *graft) write(dir string) error {
	objects := filepath.Join(dir, "objects")
	if len(g.objects) < manyObjects {
		return writeObjects(objects, g.objects)
	}
	pack, err := g.pack()
	if err != nil {
		return err
	}
	index, err := indexOf(pack)
	if err != nil {
		return err
	}
	folder := filepath.Join(objects, "pack")
	if err := os.Mkdir(folder, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	// The name of a pack is its last 20 octets, a hash over the rest. The index comes last: it
	// is by that that git knows a pack.
	name := filepath.Join(folder, "pack-"+hex.EncodeToString(pack[len(pack)-20:]))
	if err := placeFile(name+".pack", pack, 0o444); err != nil {
		return err
	}
	if err := placeFile(name+".idx", index, 0o444); err != nil {
		return err
	}
	return syncAll([]string{folder, objects})
}

func indexOf(pack []byte) ([]byte, error) {
	w := new(idxfile.Writer)
	p, err := packfile.NewParser(packfile.NewScanner(bytes.NewReader(pack)), w)
	if err != nil {
		return nil, err
	}
	if _, err := p.Parse(); err != nil {
		return nil, err
	}
	index, err := w.Index()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	_, err = idxfile.NewEncoder(&out).Encode(index)
	return out.Bytes(), err
}

// writeObjects writes loose objects, each under the name that is its hash. They are synced all
// at once, which costs a disk hardly more than one.
func writeObjects(objects string, all []plumbing.EncodedObject) error {
	folders := map[string]bool{objects: true}
	var wg sync.WaitGroup
	errs := make([]error, len(all))
	for i, o := range all {
		id := o.Hash().String()
		path := filepath.Join(objects, id[:2], id[2:])
		if _, err := os.Stat(path); err == nil {
			continue
		}
		if err := os.Mkdir(filepath.Dir(path), 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		folders[filepath.Dir(path)] = true
		wg.Go(func() {
			packed, err := looseObject(o)
			if err == nil {
				err = placeFile(path, packed, 0o444)
			}
			errs[i] = err
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return syncAll(slices.Collect(maps.Keys(folders)))
}

func looseObject(o plumbing.EncodedObject) ([]byte, error) {
	var packed bytes.Buffer
	z := zlib.NewWriter(&packed)
	if _, err := io.WriteString(z, o.Type().String()+" "+strconv.FormatInt(o.Size(), 10)+"\x00"); err != nil {
		return nil, err
	}
	r, err := o.Reader()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if _, err := io.Copy(z, r); err != nil {
		return nil, err
	}
	err = z.Close()
	return packed.Bytes(), err
}

// replaceFile puts data in place of what is at path: after a crash there is the one or the
// other, and after a nil error there is data.
func replaceFile(path string, data []byte, mode fs.FileMode) error {
	if err := placeFile(path, data, mode); err != nil {
		return err
	}
	return syncAll([]string{filepath.Dir(path)})
}

// placeFile is replaceFile but for the folder, which the caller syncs.
func placeFile(path string, data []byte, mode fs.FileMode) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if err := f.Chmod(mode); err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// syncAll syncs files and folders at once.
func syncAll(paths []string) error {
	var wg sync.WaitGroup
	errs := make([]error, len(paths))
	for i, path := range paths {
		wg.Go(func() {
			d, err := os.Open(path)
			if err == nil {
				err = d.Sync()
				d.Close()
			}
			errs[i] = err
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

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
func (s local) commitFolder(ctx context.Context, base *Snapshot, changes []Change, l Limits) (*Snapshot, error) {
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
