package spam

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math"

	"stagecoach/mail"
)

// A Lesson is one mail that somebody taught: what of it is remembered, and how strongly.
type Lesson struct {
	Digest [16]byte // of the mail, however it came
	Weight float64  // positive for spam; it may have decayed
	Packed []byte   // slots; opaque
}

// MaxLesson is the length that Packed may have.
const MaxLesson = 16 << 10

// Lesson returns what is to be remembered of a mail so that it, and mail like it, is judged to
// be spam or good: as much as is lacking given what was taught before. Known lessons of the
// same mail must not be among them.
func (j *Judge) Lesson(m *mail.Message, spam bool, before []Lesson) (Lesson, error) {
	r, err := j.reader(m, nil, true)
	if err != nil {
		return Lesson{}, err
	}
	defer j.readers.Put(r)
	odds := j.odds(r) + recall(r, before)
	want := math.Log(j.Model.meta.Yes/(1-j.Model.meta.Yes)) + lessonMargin
	lack := max(want-odds, 0)
	if !spam {
		want = math.Log(j.Model.meta.No/(1-j.Model.meta.No)) - lessonMargin
		lack = min(want-odds, 0)
	}
	lack = max(min(lack, maxLack), -maxLack)
	l := Lesson{Digest: digest(m, r)}
	s := r.f.slots
	s[grams] = nil
	s[routes] = s[routes][:min(len(s[routes]), maxFields)]
	var length float64
	for g := range s {
		v := float64(value(family(g), len(s[g])))
		length += v * v * float64(len(s[g])) * likeness(family(g))
	}
	if length > 0 {
		l.Weight = lack / length
	}
	l.Packed = pack(&s, spam).packed
	r.f.slots = s // sorted now, and without the grams: the bitmap is cleared whole
	*r.f.seen = [tableSize / 64]uint64{}
	if len(l.Packed) > MaxLesson {
		return Lesson{}, errors.New("spam: the mail has too many features to be remembered")
	}
	return l, nil
}

const (
	lessonMargin = 4.0  // beyond the threshold
	maxLack      = 18.0 // what one lesson may add to a sum
)

// Digest returns what a mail is known by: whom it says it is from, its Message-ID, and its text.
func (j *Judge) Digest(m *mail.Message) ([16]byte, error) {
	r, err := j.reader(m, nil, false)
	if err != nil {
		return [16]byte{}, err
	}
	defer j.readers.Put(r)
	return digest(m, r), nil
}

func digest(m *mail.Message, r *reader) [16]byte {
	h := sha256.New()
	for _, name := range []string{"Message-ID", "From", "Date"} {
		v := m.Header.Value(name)
		h.Write(binary.AppendUvarint(nil, uint64(len(v))))
		h.Write([]byte(v))
	}
	h.Write(r.text)
	var out [16]byte
	copy(out[:], h.Sum(nil))
	return out
}

// Recall returns what lessons say of a mail, as Reason.Weight does: positive for spam.
func (j *Judge) Recall(m *mail.Message, lessons []Lesson) (float64, error) {
	if len(lessons) == 0 {
		return 0, nil
	}
	r, err := j.reader(m, nil, true)
	if err != nil {
		return 0, err
	}
	defer j.readers.Put(r)
	return recall(r, lessons), nil
}

// recall adds up what lessons say of the mail that r has read.
func recall(r *reader, lessons []Lesson) float64 {
	var total float64
	for _, l := range lessons {
		total += l.Weight * overlap(r, l.Packed)
	}
	return total
}

// likeness is how much a family counts when two mails are compared. A mail that comes back from a
// user has been through more servers than when it first came.
func likeness(g family) float64 {
	if g == routes {
		return 0.1
	}
	return 1
}

// overlap is the inner product of a mail and a lesson. Bytes that are no lesson have none.
func overlap(r *reader, b []byte) float64 {
	var total float64
	for g := range families {
		n, k := binary.Uvarint(b)
		if k <= 0 || n > maxWords+moreWords {
			return 0
		}
		b = b[k:]
		slot, common := uint64(0), 0
		for range n {
			d, k := binary.Uvarint(b)
			if k <= 0 {
				return 0
			}
			b = b[k:]
			slot += d
			if slot < tableSize && r.f.seen[slot/64]&(1<<(slot%64)) != 0 {
				common++
			}
		}
		if common > 0 {
			total += float64(common) * float64(value(g, int(n))) * float64(value(g, len(r.f.slots[g]))) * likeness(g)
		}
	}
	return total
}
