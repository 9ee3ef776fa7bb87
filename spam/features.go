package spam

import (
	"math/bits"
	"slices"
)

// A family is a kind of features. Each has a weight of its own in the sum, whatever the number
// of features: a long text does not drown what the links say.
type family uint8

const (
	grams  family = iota // four octets of the normalised text each
	words                // words of the text, and pairs of them
	fields               // words of the header, with the field's name
	facts                // what the mail is and does, in phrases that people read
	marks                // the markup and the MIME structure
	routes               // where it came through: only for models that stay where they were trained
	families
)

// Sizes of the model's table and of what one message may add to a sum.
const (
	tableBits = 20
	tableSize = 1 << tableBits
	maxGrams  = 6000
	maxWords  = 6000
	moreGrams = 1500 // of the ends of long parts
	moreWords = 1500
	maxFields = 600
	maxFacts  = 64
	maxMarks  = 400
)

// features are the slots of the table that a message has, each once, by family.
type features struct {
	slots [families][]uint32
	seen  *[tableSize / 64]uint64
}

func newFeatures() *features {
	return &features{seen: new([tableSize / 64]uint64)}
}

// reset forgets the message before.
func (f *features) reset() {
	for g := range f.slots {
		for _, s := range f.slots[g] {
			f.seen[s/64] = 0
		}
		f.slots[g] = f.slots[g][:0]
	}
}

// add puts a slot in, and reports whether it was new.
func (f *features) add(g family, slot uint32) bool {
	if f.seen[slot/64]&(1<<(slot%64)) != 0 {
		return false
	}
	f.seen[slot/64] |= 1 << (slot % 64)
	f.slots[g] = append(f.slots[g], slot)
	return true
}

// A hash is a feature before it has found its slot.
type hash uint64

const prime = 0x9e3779b97f4a7c15

func newHash(g family) hash { return hash(g+1) * 0xd6e8feb86659fd93 }

func (h hash) octet(c byte) hash { return (h ^ hash(c)) * 0x100000001b3 }

func (h hash) text(s string) hash {
	for i := 0; i < len(s); i++ {
		h = h.octet(s[i])
	}
	return h
}

func (h hash) bytes(s []byte) hash {
	for _, c := range s {
		h = h.octet(c)
	}
	return h
}

func (h hash) with(o hash) hash { return hash(bits.RotateLeft64(uint64(h), 23)) ^ o*prime }

// slot mixes a hash down to a slot of the table.
func (h hash) slot() uint32 {
	x := uint64(h)
	x ^= x >> 32
	x *= prime
	return uint32(x >> (64 - tableBits))
}

func sortSlots(s []uint32) { slices.Sort(s) }
