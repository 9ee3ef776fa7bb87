package queue

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"stagecoach/mail"
)

func fullLetter(t testing.TB) *Letter {
	m := newMail("1", "a@from.example", "x@one.example", "jürgen@two.example")
	m.Envelope.To[0].Notify, m.Envelope.To[0].Original = mail.NotifySuccess|mail.NotifyDelay, "rfc822;y@one.example"
	m.Envelope.Body, m.Envelope.UTF8, m.Envelope.RequireTLS = mail.Body8BitMIME, true, true
	m.Envelope.Return, m.Envelope.ID = mail.ReturnHeaders, "id;1"
	l := &Letter{
		ID: newID(time.Now()), Envelope: m.Envelope, Accepted: time.Unix(1e9, 5), Born: 7, Due: 8, Deadline: 9,
		Trace: "t1", Verified: true, Report: true, Size: m.Message.Size(),
	}
	if err := l.encode(m.Message); err != nil {
		t.Fatal(err)
	}
	return l
}

func TestLetterKeepsAll(t *testing.T) {
	l := fullLetter(t)
	got, err := decodeLetter(slices.Clone(l.record))
	if err != nil {
		t.Fatal(err)
	}
	same := []cmp.Option{cmp.AllowUnexported(Letter{}, mail.Address{}), cmpopts.EquateEmpty()}
	if diff := cmp.Diff(l, got, same...); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if want := newMail("1", "", "x@one.example").Message.String(); got.inMemory().String() != want {
		t.Errorf("message %q", got.inMemory())
	}
}

func TestEntryKeepsAll(t *testing.T) {
	e := fullLetter(t).entries()[0]
	e.Attempts, e.LastAttempt, e.LastError = 3, time.Unix(2e9, 0), "451"
	e.Held, e.Damaged, e.Noticed = true, true, true
	e.Recipients[0].Code, e.Recipients[0].Status, e.Recipients[0].Reply, e.Recipients[0].Host, e.Recipients[0].Cause = 451, "4.0.0", "r", "h", "c"
	got, err := decodeEntry(e.encode())
	if err != nil {
		t.Fatal(err)
	}
	e.stored = e.places()
	if diff := cmp.Diff(e, got, cmp.AllowUnexported(Entry{}, Target{}, places{}, mail.Address{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Every changed bit and every cut of a record is noticed.
func TestRecordDamage(t *testing.T) {
	l := fullLetter(t)
	for i := range len(l.record) * 8 {
		b := slices.Clone(l.record)
		b[i/8] ^= 1 << (i % 8)
		if _, err := decodeLetter(b); !errors.Is(err, ErrDamaged) {
			t.Fatalf("bit %d: %v", i, err)
		}
	}
	for n := range l.record {
		if _, err := decodeLetter(l.record[:n]); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut at %d: %v", n, err)
		}
	}
}

// A record of the next version with fields that we do not know is read.
func TestUnknownFields(t *testing.T) {
	w := newRecord(kindClock, 64)
	w.time(tagWall, time.Unix(1e9, 0))
	w.text(200, "of the future")
	w.duration(tagRan, 5)
	c, err := decodeClock(w.seal())
	if err != nil || c.Ran != 5 || !c.Wall.Equal(time.Unix(1e9, 0)) {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestID(t *testing.T) {
	last := ""
	for i := range 1000 {
		id := newID(time.UnixMilli(1e12 + int64(i)))
		back, err := ParseID(id.String())
		if err != nil || back != id || id.String() <= last {
			t.Fatalf("%v after %s, back %v, %v", id, last, back, err)
		}
		last = id.String()
	}
}

func TestKeys(t *testing.T) {
	k := Key{newID(time.Now()), "one.example"}
	p := places{due: 123456789 * time.Millisecond, deadline: 5}
	slot, ok := parseSlot(slotKey(k, p))
	if !ok || slot.id != k.ID || slot.domain != k.Domain || slot.due != p.due || slot.class != classRetry || slot.bucket != bucketOf(p.due) {
		t.Errorf("%+v", slot)
	}
	if bytes.Compare(slotKey(k, p), slot.behind()) >= 0 || bytes.Compare(slot.behind(), slotKey(Key{k.ID, "one.examplf"}, p)) >= 0 {
		t.Error("behind is not behind")
	}
	if back, d, ok := parseDeadlineKey(deadlineKey(k, 5)); !ok || back != k || d != 5 {
		t.Errorf("%v %v", back, d)
	}
	if back, ok := parseEntryKey(entryKey(k)); !ok || back != k {
		t.Errorf("%v", back)
	}
}

func FuzzRecord(f *testing.F) {
	l := fullLetter(f)
	f.Add(l.record[recordHead:])
	f.Add(l.entries()[0].encode()[recordHead:])
	f.Fuzz(func(t *testing.T, payload []byte) {
		for _, kind := range []byte{kindLetter, kindEntry, kindClock} {
			w := newRecord(kind, len(payload))
			w.b = append(w.b, payload...)
			b := w.seal()
			switch kind {
			case kindLetter:
				if l, err := decodeLetter(b); err == nil {
					l.entries()
					l.inMemory()
				}
			case kindEntry:
				if e, err := decodeEntry(b); err == nil {
					again, err := decodeEntry(e.encode())
					if err != nil || again.Key != e.Key || len(again.Recipients) != len(e.Recipients) {
						t.Errorf("%+v becomes %+v, %v", e, again, err)
					}
				}
			case kindClock:
				decodeClock(b) //nolint:errcheck // it must not panic
			}
		}
		decodeLetter(payload) //nolint:errcheck
		readLog(bytes.NewReader(payload), 1, func([]byte, bool) {})
		eachOp(payload, func(op) {}) //nolint:errcheck
		carve(payload, func([]byte) {})
	})
}
