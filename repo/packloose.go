package repo

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// packLoose puts the loose objects that the tips need into a pack, the versions of a file as
// differences to a later one, and takes them away when that is durable.
func packLoose(ctx context.Context, objects string, tips []plumbing.Hash) error {
	all, err := looseObjects(objects)
	if err != nil || len(all) < manyObjects {
		return err
	}
	w := &looseWalk{ctx: ctx, objects: objects, loose: all}
	if err := w.from(tips); err != nil {
		return ifStillThere(err)
	}
	if len(w.found) < manyObjects {
		return nil
	}
	err = writePack(objects, len(w.found), func(p *packWriter) error {
		kin := families{}
		for _, kind := range []plumbing.ObjectType{plumbing.CommitObject, plumbing.TreeObject, plumbing.BlobObject} {
			for _, f := range w.found {
				if f.kind != kind {
					continue
				}
				o, err := readLoose(objects, f.id)
				if err != nil {
					return err
				}
				o.path = f.path
				if err := errors.Join(kin.add(p, o), ctx.Err()); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return ifStillThere(err)
	}
	for _, f := range w.found {
		os.Remove(loosePath(objects, f.id)) //nolint:errcheck // it is in the pack too
	}
	return nil
}

// ifStillThere passes over that something has gone: somebody else has packed it.
func ifStillThere(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// A looseWalk finds loose objects with the paths that they were made for, the newest first.
type looseWalk struct {
	ctx     context.Context
	objects string
	loose   map[plumbing.Hash]bool // those that were not found yet
	found   []gitObject            // without data
}

// take reads an object if it is loose and was not found yet.
func (w *looseWalk) take(id plumbing.Hash, at string) (gitObject, bool, error) {
	if !w.loose[id] {
		return gitObject{}, false, w.ctx.Err()
	}
	delete(w.loose, id)
	o, err := readLoose(w.objects, id)
	if err != nil {
		return o, false, err
	}
	w.found = append(w.found, gitObject{id: id, kind: o.kind, path: at})
	return o, true, nil
}

// from goes back from the tips as far as commits are loose.
func (w *looseWalk) from(tips []plumbing.Hash) error {
	for len(tips) > 0 {
		id := tips[0]
		tips = tips[1:]
		o, ok, err := w.take(id, "")
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if o.kind != plumbing.CommitObject { // a tag stands for another object
			if name, ok := strings.CutPrefix(firstLine(o.data), "object "); ok && o.kind == plumbing.TagObject {
				tips = append(tips, plumbing.NewHash(name))
			}
			w.found = w.found[:len(w.found)-1]
			continue
		}
		parents, err := w.commit(o.data)
		if err != nil {
			return err
		}
		tips = append(tips, parents...)
	}
	return nil
}

// commit takes the tree of a commit and returns its parents. They come first in its text.
func (w *looseWalk) commit(text []byte) (parents []plumbing.Hash, err error) {
	for line := range bytes.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), " ")
		switch key {
		case "tree":
			if err := w.tree(plumbing.NewHash(value), ""); err != nil {
				return nil, err
			}
		case "parent":
			parents = append(parents, plumbing.NewHash(value))
		default:
			return parents, nil
		}
	}
	return parents, nil
}

func firstLine(text []byte) string {
	line, _, _ := bytes.Cut(text, []byte("\n"))
	return string(line)
}

func (w *looseWalk) tree(id plumbing.Hash, at string) error {
	o, ok, err := w.take(id, at)
	if err != nil || !ok {
		return err
	}
	for rest := o.data; len(rest) > 0; {
		head, after, ok := bytes.Cut(rest, []byte{0})
		mode, name, spaced := strings.Cut(string(head), " ")
		if !ok || !spaced || len(after) < len(id) {
			return fmt.Errorf("tree %s is malformed", id)
		}
		entry := plumbing.Hash(after[:len(id)])
		rest = after[len(id):]
		if mode == "40000" {
			err = w.tree(entry, path.Join(at, name))
		} else {
			err = w.blob(entry, path.Join(at, name))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *looseWalk) blob(id plumbing.Hash, at string) error {
	if w.loose[id] {
		delete(w.loose, id)
		w.found = append(w.found, gitObject{id: id, kind: plumbing.BlobObject, path: at})
	}
	return w.ctx.Err()
}

// writePack makes a pack of so many objects, durably.
func writePack(objects string, count int, write func(*packWriter) error) error {
	folder := filepath.Join(objects, "pack")
	if err := makeFolder(folder); err != nil {
		return err
	}
	removeLeftovers(folder)
	f, err := os.CreateTemp(folder, "tmp_pack_*")
	if err != nil {
		return err
	}
	pack := placing{file: f}
	index, name, err := fillPack(f, count, write)
	if err == nil {
		err = f.Chmod(0o444)
	}
	if err != nil {
		f.Close()
		os.Remove(f.Name())
		return err
	}
	pack.path = filepath.Join(folder, name+".pack")
	return place([]placing{pack, {path: filepath.Join(folder, name+".idx"), temporary: "tmp_idx_*", data: index}})
}

func fillPack(f io.Writer, count int, write func(*packWriter) error) (index []byte, name string, err error) {
	out := bufio.NewWriterSize(f, 1<<16)
	p, err := newPackWriter(out, count)
	if err == nil {
		err = write(p)
	}
	if err != nil {
		return nil, "", err
	}
	if index, name, err = p.finish(); err != nil {
		return nil, "", err
	}
	return index, name, out.Flush()
}

// removeLeftovers removes what a process that died has not finished, as git gc does.
func removeLeftovers(folder string) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && strings.HasPrefix(e.Name(), "tmp_") && time.Since(info.ModTime()) > 24*time.Hour {
			os.Remove(filepath.Join(folder, e.Name())) //nolint:errcheck // git gc will
		}
	}
}
