package repo

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// A placing is a file on its way to its place. Until it is there it has a temporary name, one of
// those that git clears away when they are left over. It may have been written before.
type placing struct {
	path      string
	temporary string
	data      []byte
	file      *os.File
}

// place puts new files into their places, in their order, when all of them and the files besides
// are on disk: after a crash each is there as a whole or not at all, and after a nil error it is
// there.
func place(files []placing, besides ...*os.File) (err error) {
	defer func() {
		for _, p := range files {
			if p.file != nil {
				p.file.Close()
				os.Remove(p.file.Name())
			}
		}
	}()
	var folders []string
	open := besides
	for i := range files {
		p := &files[i]
		if folder := filepath.Dir(p.path); !slices.Contains(folders, folder) {
			folders = append(folders, folder)
		}
		if p.file == nil {
			if err := p.write(); err != nil {
				return err
			}
		}
		open = append(open, p.file)
	}
	if err := syncFiles(open); err != nil {
		return err
	}
	for i := range files {
		p := &files[i]
		if err := os.Rename(p.file.Name(), p.path); err != nil {
			return err
		}
		p.file.Close() //nolint:errcheck // it is synced
		p.file = nil
	}
	return syncLeft(folders)
}

func (p *placing) write() (err error) {
	folder := filepath.Dir(p.path)
	err = fs.ErrNotExist
	for try := 0; errors.Is(err, fs.ErrNotExist) && try < 10; try++ { // git removes folders that are empty
		if err := makeFolder(folder); err != nil {
			return err
		}
		p.file, err = os.CreateTemp(folder, p.temporary)
	}
	if err != nil {
		return err
	}
	if err := p.file.Chmod(0o444); err != nil {
		return err
	}
	_, err = p.file.Write(p.data)
	return err
}

func syncFiles(files []*os.File) error {
	var wg sync.WaitGroup
	errs := make([]error, len(files))
	for i, f := range files {
		wg.Go(func() { errs[i] = f.Sync() })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// syncBase makes durable what somebody else has written and a commit of ours rests on: git does
// not sync the objects that it keeps in files of their own, unless it is told to.
func syncBase(objects string, base *Snapshot) error {
	var paths []string
	note := func(id plumbing.Hash) {
		path := loosePath(objects, id)
		if _, err := os.Stat(path); err == nil {
			paths = append(paths, path, filepath.Dir(path))
		}
	}
	note(plumbing.NewHash(base.Version))
	for id, o := range base.objects.Trees {
		note(id)
		tree, err := object.DecodeTree(base.objects, o)
		if err != nil {
			return err
		}
		for _, e := range tree.Entries {
			if e.Mode != filemode.Dir {
				note(e.Hash)
			}
		}
	}
	slices.Sort(paths)
	for some := range slices.Chunk(slices.Compact(paths), 64) {
		if err := syncLeft(some); err != nil {
			return err
		}
	}
	return nil
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
func syncAll(paths []string) error { return errors.Join(syncEach(paths)...) }

// syncLeft is syncAll for objects that somebody may have packed meanwhile: what is gone is in a
// pack, which was synced before.
func syncLeft(paths []string) error {
	gone := func(err error) bool { return errors.Is(err, fs.ErrNotExist) }
	return errors.Join(slices.DeleteFunc(syncEach(paths), gone)...)
}

func syncEach(paths []string) []error {
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
	return errs
}
