package repo

import (
	"encoding/binary"
	"slices"
)

// How far is looked for where two versions go on alike, and how many octets must be alike there.
const (
	deltaWindow = 16 << 10
	deltaAnchor = 16
	maxDetours  = 512 // how many times that is looked for, which bounds the work
)

// diff returns a delta in the form of git's packs that makes to of from (gitformat-pack, section
// "Deltified representation"). It is made for versions of one file that differ in a few places,
// and takes hardly longer than a comparison; where they differ in more it gets long, never wrong.
func diff(from, to []byte) []byte {
	d := binary.AppendUvarint(nil, uint64(len(from)))
	d = binary.AppendUvarint(d, uint64(len(to)))
	i, j, detours := 0, 0, 0
	for j < len(to) {
		n := alike(from[i:], to[j:])
		if n >= deltaAnchor || n > 0 && j+n == len(to) {
			d = appendCopy(d, i, n)
			i, j = i+n, j+n
			continue
		}
		skip, add := len(from)-i, len(to)-j
		if detours++; detours <= maxDetours {
			skip, add = resume(from[i:], to[j:])
		}
		d = appendInsert(d, to[j:j+add])
		i, j = i+skip, j+add
	}
	return d
}

// alike returns how many octets two texts have in common at their beginning.
func alike(a, b []byte) int {
	n := min(len(a), len(b))
	const block = 4096
	i := 0
	for i+block <= n && string(a[i:i+block]) == string(b[i:i+block]) {
		i += block
	}
	for i < n && a[i] == b[i] {
		i++
	}
	return i
}

// resume finds where two texts that differ go on alike. If that is nowhere near, it is at their
// common end.
func resume(a, b []byte) (skip, add int) {
	for _, window := range []int{deltaWindow / 64, deltaWindow} {
		at := map[[deltaAnchor]byte]int{}
		for i := min(len(a), window) - deltaAnchor; i >= 0; i-- {
			at[[deltaAnchor]byte(a[i:])] = i
		}
		for j := 0; j+deltaAnchor <= min(len(b), window); j++ {
			if i, ok := at[[deltaAnchor]byte(b[j:])]; ok {
				return i, j
			}
		}
	}
	n := 0
	for n < min(len(a), len(b)) && a[len(a)-1-n] == b[len(b)-1-n] {
		n++
	}
	if n < deltaAnchor {
		return len(a), len(b)
	}
	return len(a) - n, len(b) - n
}

// appendCopy writes instructions to copy n octets from offset on.
func appendCopy(d []byte, offset, n int) []byte {
	const most = 1<<24 - 1
	for n > 0 {
		size := min(n, most)
		op := len(d)
		d = append(d, 0x80)
		for k := range 4 {
			if b := byte(offset >> (8 * k)); b != 0 {
				d[op] |= 1 << k
				d = append(d, b)
			}
		}
		for k := range 3 {
			if b := byte(size >> (8 * k)); b != 0 {
				d[op] |= 0x10 << k
				d = append(d, b)
			}
		}
		offset, n = offset+size, n-size
	}
	return d
}

func appendInsert(d, text []byte) []byte {
	for part := range slices.Chunk(text, 0x7f) {
		d = append(append(d, byte(len(part))), part...)
	}
	return d
}
