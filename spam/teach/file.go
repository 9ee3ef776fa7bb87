package teach

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"stagecoach/mail"
	"stagecoach/spam"
)

// A file is a magic line and records, the newest last: length, CRC-32C, kind, time, digest,
// weight, slots, in little endian. Records are appended and synced. After a crash the last one
// may be torn: it is cut off, since nobody was told that it was there. When half of the records do
// not count any more the file is written anew beside the old one, synced, and renamed over it.
const (
	magic      = "stagecoach lessons 1\n"
	suffix     = ".lessons"
	headLength = 8
	bodyLength = 1 + 8 + 16 + 4
	maxFile    = 32 << 20
)

// Kinds of records.
const (
	kindSpam byte = iota + 1
	kindHam
	kindForget
	kindWrote
)

type record struct {
	kind   byte
	at     int64 // Unix seconds
	digest [16]byte
	weight float32
	packed []byte
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (r record) encode(dst []byte) []byte {
	body := make([]byte, 0, bodyLength+len(r.packed))
	body = append(body, r.kind)
	body = binary.LittleEndian.AppendUint64(body, uint64(r.at))
	body = append(body, r.digest[:]...)
	body = binary.LittleEndian.AppendUint32(body, math.Float32bits(r.weight))
	body = append(body, r.packed...)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(body)))
	dst = binary.LittleEndian.AppendUint32(dst, crc32.Checksum(body, castagnoli))
	return append(dst, body...)
}

// decode reads the first record, and returns its length, 0 when there is no whole one.
func decode(b []byte) (record, int) {
	if len(b) < headLength {
		return record{}, 0
	}
	n := int64(binary.LittleEndian.Uint32(b))
	if n < bodyLength || n > bodyLength+spam.MaxLesson || n > int64(len(b)-headLength) {
		return record{}, 0
	}
	body := b[headLength : headLength+n]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(b[4:]) {
		return record{}, 0
	}
	r := record{kind: body[0], at: int64(binary.LittleEndian.Uint64(body[1:]))}
	copy(r.digest[:], body[9:])
	r.weight = math.Float32frombits(binary.LittleEndian.Uint32(body[25:]))
	if w := float64(r.weight); math.IsNaN(w) || math.Abs(w) > 100 {
		return record{}, 0
	}
	r.packed = bytes.Clone(body[bodyLength:])
	return r, int(headLength + n)
}

// user returns what is in a user's file, from memory when the file has not changed.
func (s *Store) user(name string) (*user, error) {
	s.tick++
	path := s.path(name)
	info, err := os.Stat(path)
	size, mod := int64(0), time.Time{}
	switch {
	case err == nil:
		size, mod = info.Size(), info.ModTime()
	case !errors.Is(err, os.ErrNotExist):
		return nil, err
	}
	if u := s.open[name]; u != nil && u.size == size && u.mod.Equal(mod) {
		u.used = s.tick
		return u, nil
	}
	u := &user{known: map[[16]byte]int64{}, used: s.tick, mod: mod}
	if size > 0 {
		if err := u.load(path); err != nil {
			return nil, err
		}
	}
	s.evict()
	s.open[name] = u
	return u, nil
}

// evict makes room for one more user in memory.
func (s *Store) evict() {
	if len(s.open) < maxOpen {
		return
	}
	oldest := ""
	for name, u := range s.open {
		if oldest == "" || u.used < s.open[oldest].used {
			oldest = name
		}
	}
	delete(s.open, oldest)
}

func (u *user) load(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return err
	}
	rest, ok := bytes.CutPrefix(raw, []byte(magic))
	if !ok {
		if strings.HasPrefix(magic, string(raw)) { // torn at the very beginning
			u.size = 0
			return nil
		}
		return fmt.Errorf("%s is no file of lessons", path)
	}
	for len(rest) > 0 {
		r, n := decode(rest)
		if n == 0 {
			break
		}
		u.apply(r)
		rest = rest[n:]
	}
	u.size = int64(len(raw) - len(rest))
	return nil
}

// apply makes a record count.
func (u *user) apply(r record) {
	u.records++
	if r.kind == kindWrote {
		if len(u.known) >= MaxKnown {
			u.dropKnown()
		}
		u.known[r.digest] = r.at
		return
	}
	u.lessons = slices.DeleteFunc(u.lessons, func(o record) bool { return o.digest == r.digest })
	if r.kind == kindForget {
		return
	}
	u.lessons = append(u.lessons, r)
	if len(u.lessons) > MaxLessons {
		u.lessons = slices.Clone(u.lessons[len(u.lessons)-MaxLessons:])
	}
}

// dropKnown forgets the older half of the correspondents.
func (u *user) dropKnown() {
	times := make([]int64, 0, len(u.known))
	for _, at := range u.known {
		times = append(times, at)
	}
	slices.Sort(times)
	middle := times[len(times)/2]
	for id, at := range u.known {
		if at <= middle {
			delete(u.known, id)
		}
	}
}

// append makes a record durable, and count.
func (s *Store) append(name string, u *user, r record) error {
	path := s.path(name)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	fresh := u.size == 0
	var b []byte
	if fresh {
		b = append(b, magic...)
	}
	b = r.encode(b)
	if err := f.Truncate(u.size); err != nil { // a torn record, or nothing
		return err
	}
	if _, err := f.WriteAt(b, u.size); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if fresh {
		if err := syncDir(s.dir); err != nil {
			return err
		}
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	u.size, u.mod = u.size+int64(len(b)), info.ModTime()
	u.apply(r)
	if live := len(u.lessons) + len(u.known); u.records > 2*live+64 {
		return s.compact(path, u)
	}
	return nil
}

// compact writes the file anew with what counts.
func (s *Store) compact(path string, u *user) error {
	b := []byte(magic)
	for id, at := range u.known {
		if s.now().Unix()-at >= int64(KnownFor.Seconds()) {
			delete(u.known, id)
		}
	}
	for _, id := range slices.SortedFunc(keys(u.known), func(x, y [16]byte) int {
		return int(min(max(u.known[x]-u.known[y], -1), 1))*2 + bytes.Compare(x[:], y[:])
	}) {
		b = record{kind: kindWrote, at: u.known[id], digest: id}.encode(b)
	}
	for _, r := range u.lessons {
		b = r.encode(b)
	}
	if err := replace(path, b); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	u.size, u.mod, u.records = int64(len(b)), info.ModTime(), len(u.lessons)+len(u.known)
	return nil
}

// replace puts a file in the place of another in one step that survives a crash.
func replace(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func keys(m map[[16]byte]int64) func(func([16]byte) bool) {
	return func(yield func([16]byte) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Export writes a user's file as it is; Import reads it.
func (s *Store) Export(name string, w io.Writer) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, err := s.user(name)
	if err != nil {
		return err
	}
	b := []byte(magic)
	for _, r := range u.lessons {
		b = r.encode(b)
	}
	_, err = w.Write(b)
	return err
}

// Import adds the lessons of an exported file to a user's, and returns how many there were. One
// of a mail that was taught already replaces it.
func (s *Store) Import(name string, in io.Reader) (int, error) {
	raw, err := io.ReadAll(io.LimitReader(in, maxFile))
	if err != nil {
		return 0, err
	}
	rest, ok := bytes.CutPrefix(raw, []byte(magic))
	if !ok {
		return 0, errors.New("this is no file of lessons")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	unlock, err := s.lock()
	if err != nil {
		return 0, err
	}
	defer unlock()
	u, err := s.user(name)
	if err != nil {
		return 0, err
	}
	n := 0
	for len(rest) > 0 {
		r, k := decode(rest)
		if k == 0 {
			return n, errors.New("the file is damaged")
		}
		rest = rest[k:]
		if r.kind != kindSpam && r.kind != kindHam {
			continue
		}
		if err := s.append(name, u, r); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

func addressDigest(a mail.Address) [16]byte {
	sum := sha256.Sum256([]byte(strings.ToLower(a.String())))
	return [16]byte(sum[:16])
}

// escape makes a file name of an address: one that is no folder, and no other address's.
func escape(name string) string { return strings.ReplaceAll(url.QueryEscape(name), ".", "%2E") }

func unescape(file string) string {
	name, err := url.QueryUnescape(file)
	if err != nil {
		return file
	}
	return name
}
