package repo

import (
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// A gitObject is one of git's: a blob, a tree or a commit, with its name.
type gitObject struct {
	id   plumbing.Hash
	kind plumbing.ObjectType
	data []byte
	path string // of the file or folder it was made for, so that its versions find each other
}

func newGitObject(kind plumbing.ObjectType, data []byte, path string) gitObject {
	return gitObject{plumbing.ComputeHash(kind, data), kind, data, path}
}

// A deflater compresses one thing after the other. Making a compressor costs more than a small
// object does, so that one is kept. Speed counts more than size: what is written here is packed
// later.
type deflater struct{ z *zlib.Writer }

func (d *deflater) deflate(parts ...[]byte) ([]byte, error) {
	var out bytes.Buffer
	if d.z == nil {
		z, err := zlib.NewWriterLevel(nil, zlib.BestSpeed)
		if err != nil {
			return nil, err
		}
		d.z = z
	}
	d.z.Reset(&out)
	for _, p := range parts {
		if _, err := d.z.Write(p); err != nil {
			return nil, err
		}
	}
	err := d.z.Close()
	return out.Bytes(), err
}

// loose returns the object as a file of its own holds it.
func (d *deflater) loose(o gitObject) ([]byte, error) {
	return d.deflate([]byte(o.kind.String()+" "+strconv.Itoa(len(o.data))+"\x00"), o.data)
}

// loosePath returns where a loose object stands below the folder of objects.
func loosePath(objects string, id plumbing.Hash) string {
	s := id.String()
	return filepath.Join(objects, s[:2], s[2:])
}

// readLoose reads a loose object and checks it against its name.
func readLoose(objects string, id plumbing.Hash) (gitObject, error) {
	f, err := os.Open(loosePath(objects, id))
	if err != nil {
		return gitObject{}, err
	}
	defer f.Close()
	z, err := zlib.NewReader(f)
	if err != nil {
		return gitObject{}, fmt.Errorf("object %s: %w", id, err)
	}
	all, err := io.ReadAll(z)
	if err != nil {
		return gitObject{}, fmt.Errorf("object %s: %w", id, err)
	}
	head, data, ok := bytes.Cut(all, []byte{0})
	name, size, spaced := strings.Cut(string(head), " ")
	kind, err := plumbing.ParseObjectType(name)
	if !ok || !spaced || err != nil || size != strconv.Itoa(len(data)) {
		return gitObject{}, fmt.Errorf("object %s is malformed", id)
	}
	if o := newGitObject(kind, data, ""); o.id == id {
		return o, nil
	}
	return gitObject{}, fmt.Errorf("object %s does not fit its name", id)
}

// looseObjects lists the loose objects.
func looseObjects(objects string) (map[plumbing.Hash]bool, error) {
	all := map[plumbing.Hash]bool{}
	for i := range 256 {
		folder := fmt.Sprintf("%02x", i)
		entries, err := os.ReadDir(filepath.Join(objects, folder))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, e := range entries {
			if id := folder + e.Name(); plumbing.IsHash(id) && len(id) == 40 {
				all[plumbing.NewHash(id)] = true
			}
		}
	}
	return all, nil
}
