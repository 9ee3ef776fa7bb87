package repo

import (
	"bytes"
	"cmp"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash"
	"hash/crc32"
	"io"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
)

// A packWriter writes a pack of version 2 (gitformat-pack) and keeps what its index needs.
type packWriter struct {
	deflater
	out     io.Writer
	sum     hash.Hash
	at      int64
	count   int // of objects that were announced
	entries []packEntry
}

type packEntry struct {
	id  plumbing.Hash
	crc uint32
	at  uint32
}

// maxPack is up to where the index needs no offsets of 64 bits.
const maxPack = 1<<31 - 1

var errPackSize = errors.New("the pack would be too large")

func newPackWriter(out io.Writer, count int) (*packWriter, error) {
	p := &packWriter{out: out, sum: sha1.New(), count: count}
	head := binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), uint32(count))
	return p, p.write(head)
}

func (p *packWriter) write(b []byte) error {
	if p.at += int64(len(b)); p.at > maxPack {
		return errPackSize
	}
	p.sum.Write(b)
	_, err := p.out.Write(b)
	return err
}

// entry writes what stands for an object.
func (p *packWriter) entry(id plumbing.Hash, raw []byte) error {
	p.entries = append(p.entries, packEntry{id, crc32.ChecksumIEEE(raw), uint32(p.at)})
	return p.write(raw)
}

// add writes an object; if base is one that was written and the difference is small, as that.
// It reports whether it did so.
func (p *packWriter) add(o gitObject, base *gitObject) (asDelta bool, err error) {
	kind, data, head := o.kind, o.data, []byte(nil)
	if base != nil && base.kind == o.kind {
		if d := diff(base.data, o.data); len(d) < len(o.data)/2 {
			kind, data, head, asDelta = plumbing.REFDeltaObject, d, base.id[:], true
		}
	}
	packed, err := p.deflate(data)
	if err != nil {
		return false, err
	}
	raw := append(entryHeader(kind, len(data)), head...)
	return asDelta, p.entry(o.id, append(raw, packed...))
}

// entryHeader is the type and the length of an entry.
func entryHeader(kind plumbing.ObjectType, size int) []byte {
	first := byte(kind)<<4 | byte(size&0x0f)
	size >>= 4
	var b []byte
	for size > 0 {
		b = append(b, first|0x80)
		first = byte(size & 0x7f)
		size >>= 7
	}
	return append(b, first)
}

// finish ends the pack and returns its index and the name of both without their endings.
func (p *packWriter) finish() (index []byte, name string, err error) {
	if len(p.entries) != p.count {
		return nil, "", errors.New("a pack of another number of objects than announced")
	}
	sum := p.sum.Sum(nil)
	if _, err := p.out.Write(sum); err != nil {
		return nil, "", err
	}
	return packIndex(p.entries, sum), "pack-" + hex.EncodeToString(sum), nil
}

// packIndex returns an index of version 2.
func packIndex(entries []packEntry, packSum []byte) []byte {
	slices.SortFunc(entries, func(a, b packEntry) int {
		return cmp.Or(bytes.Compare(a.id[:], b.id[:]), cmp.Compare(a.at, b.at))
	})
	out := make([]byte, 0, 1032+28*len(entries)+40)
	out = append(out, "\xfftOc\x00\x00\x00\x02"...)
	for first, i := 0, 0; first < 256; first++ {
		for i < len(entries) && int(entries[i].id[0]) <= first {
			i++
		}
		out = binary.BigEndian.AppendUint32(out, uint32(i))
	}
	for _, e := range entries {
		out = append(out, e.id[:]...)
	}
	for _, e := range entries {
		out = binary.BigEndian.AppendUint32(out, e.crc)
	}
	for _, e := range entries {
		out = binary.BigEndian.AppendUint32(out, e.at)
	}
	out = append(out, packSum...)
	sum := sha1.Sum(out)
	return append(out, sum[:]...)
}

// maxDepth is how many deltas lie between an object and one that is whole: each costs who reads.
const maxDepth = 50

// A family is objects of one kind that were made for one path. Each is written as the difference
// to the one before.
type family struct {
	last  *gitObject
	depth int
}

type families map[string]*family

func (f families) add(p *packWriter, o gitObject) error {
	key := o.kind.String() + " " + o.path
	have := f[key]
	if have == nil || o.kind == plumbing.CommitObject {
		have = &family{}
	}
	base := have.last
	if have.depth >= maxDepth {
		base = nil
	}
	asDelta, err := p.add(o, base)
	next := &family{last: &o}
	if asDelta {
		next.depth = have.depth + 1
	}
	f[key] = next
	return err
}

// packObjects returns objects as a pack in memory, each once.
func packObjects(objects []gitObject) (pack, index []byte, name string, err error) {
	seen := map[plumbing.Hash]bool{}
	var once []gitObject
	for _, o := range objects {
		if !seen[o.id] {
			seen[o.id] = true
			once = append(once, o)
		}
	}
	var out bytes.Buffer
	p, err := newPackWriter(&out, len(once))
	if err != nil {
		return nil, nil, "", err
	}
	kin := families{}
	for _, o := range once {
		if err := kin.add(p, o); err != nil {
			return nil, nil, "", err
		}
	}
	index, name, err = p.finish()
	return out.Bytes(), index, name, err
}
