package repo

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
)

// Packs that are larger than this stay as they are, so that none is written again and again.
const (
	maxMerged     = 200_000 // objects
	maxMergedSize = 1 << 30
)

// A packFile is a pack on disk with its index.
type packFile struct {
	path  string // without ending
	size  int64
	count int

	entries []packEntry // when its index was read
	sum     []byte      // of the pack
}

// mergePacks makes one pack of the smaller ones, such that of those that are left each has at least
// twice as many objects as all smaller ones together. Packs that git has made something special of,
// such as a bitmap, are left alone.
func mergePacks(ctx context.Context, objects string) error {
	packs, err := packsOf(filepath.Join(objects, "pack"))
	if err != nil {
		return err
	}
	var some []packFile
	seen := map[plumbing.Hash]bool{}
	count, size := 0, int64(0)
	for _, p := range packs {
		if len(some) > 0 && p.count > 2*count || count+p.count > maxMerged || size+p.size > maxMergedSize {
			break
		}
		if err := p.readIndex(); err != nil {
			return ifStillThere(err)
		}
		if p.addTo(seen) {
			some, count, size = append(some, p), count+p.count, size+p.size
		}
	}
	if len(some) < 2 {
		return nil
	}
	err = writePack(objects, count, func(p *packWriter) error {
		for _, source := range some {
			if err := errors.Join(p.append(source), ctx.Err()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return ifStillThere(err)
	}
	for _, p := range some { // without the pack its index counts for nothing
		for _, ending := range []string{".pack", ".idx", ".rev"} {
			os.Remove(p.path + ending) //nolint:errcheck // what it holds is in the new one too
		}
	}
	return nil
}

// packsOf lists the packs that may be merged, the smallest first.
func packsOf(folder string) ([]packFile, error) {
	if _, err := os.Stat(filepath.Join(folder, "multi-pack-index")); err == nil {
		return nil, nil // it names them
	}
	names, err := filepath.Glob(filepath.Join(folder, "pack-*.idx"))
	if err != nil {
		return nil, err
	}
	var packs []packFile
	for _, name := range names {
		p := packFile{path: name[:len(name)-len(".idx")]}
		info, err := os.Stat(p.path + ".pack")
		if err != nil || p.isSpecial() {
			continue
		}
		p.size = info.Size()
		if p.count, err = countOf(name); err != nil {
			continue
		}
		packs = append(packs, p)
	}
	slices.SortFunc(packs, func(a, b packFile) int { return cmp.Or(cmp.Compare(a.count, b.count), cmp.Compare(a.path, b.path)) })
	return packs, nil
}

func (p packFile) isSpecial() bool {
	return slices.ContainsFunc([]string{".keep", ".bitmap", ".promisor", ".mtimes"}, func(ending string) bool {
		_, err := os.Stat(p.path + ending)
		return err == nil
	})
}

// Places in an index of version 2.
const (
	indexHead   = 8
	indexNames  = indexHead + 256*4
	indexObject = 20 + 4 + 4 // name, checksum, offset
)

// countOf reads how many objects an index lists.
func countOf(path string) (int, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var head [indexNames]byte
	if _, err := io.ReadFull(f, head[:]); err != nil {
		return 0, err
	}
	if string(head[:indexHead]) != "\xfftOc\x00\x00\x00\x02" {
		return 0, fmt.Errorf("%s is no index of version 2", path)
	}
	return int(binary.BigEndian.Uint32(head[indexNames-4:])), nil
}

func (p *packFile) readIndex() error {
	data, err := os.ReadFile(p.path + ".idx")
	if err != nil {
		return err
	}
	if len(data) != indexNames+p.count*indexObject+40 {
		return fmt.Errorf("%s.idx is not as long as it should be", p.path)
	}
	if sum := sha1.Sum(data[:len(data)-20]); !bytes.Equal(sum[:], data[len(data)-20:]) {
		return fmt.Errorf("%s.idx is damaged", p.path)
	}
	names, crcs := data[indexNames:], data[indexNames+20*p.count:]
	places := crcs[4*p.count:]
	p.entries = make([]packEntry, p.count)
	for i := range p.entries {
		p.entries[i] = packEntry{plumbing.Hash(names[20*i : 20*i+20]), binary.BigEndian.Uint32(crcs[4*i:]), binary.BigEndian.Uint32(places[4*i:])}
	}
	p.sum = data[len(data)-40 : len(data)-20]
	return nil
}

// addTo adds the names of the objects, unless one is there: a pack has each once.
func (p *packFile) addTo(seen map[plumbing.Hash]bool) bool {
	if slices.ContainsFunc(p.entries, func(e packEntry) bool { return seen[e.id] }) {
		return false
	}
	for _, e := range p.entries {
		seen[e.id] = true
	}
	return true
}

// append writes all of another pack. What its entries say of each other is in terms of their
// distance or of names, so that they can stand elsewhere as they are.
func (p *packWriter) append(from packFile) error {
	const head = 12 // of a pack
	shift := uint32(p.at - head)
	for _, e := range from.entries {
		e.at += shift
		p.entries = append(p.entries, e)
	}
	f, err := os.Open(from.path + ".pack")
	if err != nil {
		return err
	}
	defer f.Close()
	check := sha1.New()
	if _, err := io.CopyN(check, f, head); err != nil {
		return err
	}
	if _, err := io.Copy(writerFunc(p.write), io.TeeReader(io.LimitReader(f, from.size-head-sha1.Size), check)); err != nil {
		return err
	}
	var end [sha1.Size]byte
	if _, err := io.ReadFull(f, end[:]); err != nil {
		return err
	}
	if !bytes.Equal(end[:], from.sum) || !bytes.Equal(check.Sum(nil), from.sum) {
		return fmt.Errorf("%s.pack is damaged", from.path)
	}
	return nil
}

type writerFunc func([]byte) error

func (f writerFunc) Write(b []byte) (int, error) {
	if err := f(b); err != nil {
		return 0, err
	}
	return len(b), nil
}
