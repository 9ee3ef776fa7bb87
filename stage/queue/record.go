package queue

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"
)

// Every value in the store is a record:
//
//	"SCQ" kind  version  payload length (4, big-endian)  CRC-32C (4, big-endian)  payload
//
// The checksum covers kind, version, length and payload. The payload is fields, each a tag
// (1 octet), a length (uvarint) and that many octets. A reader skips tags that it does not
// know, so that a spool can be read by the versions before and after the one that wrote it;
// a version it does not know it refuses. Numbers are uvarints, times nanoseconds since 1970.
const (
	recordMagic   = "SCQ"
	recordVersion = 1
	recordHead    = 3 + 1 + 1 + 4 + 4
)

// Kinds of records.
const (
	kindLetter = 'L'
	kindEntry  = 'E'
	kindClock  = 'C'
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A recordWriter appends fields to a record.
type recordWriter struct{ b []byte }

func newRecord(kind byte, capacity int) *recordWriter {
	w := &recordWriter{make([]byte, recordHead, recordHead+capacity)}
	copy(w.b, recordMagic)
	w.b[3], w.b[4] = kind, recordVersion
	return w
}

func (w *recordWriter) head(tag byte, n int) {
	w.b = append(w.b, tag)
	w.b = binary.AppendUvarint(w.b, uint64(n))
}

func (w *recordWriter) bytes(tag byte, v []byte) {
	if len(v) > 0 {
		w.head(tag, len(v))
		w.b = append(w.b, v...)
	}
}

func (w *recordWriter) text(tag byte, v string) {
	if v != "" {
		w.head(tag, len(v))
		w.b = append(w.b, v...)
	}
}

func (w *recordWriter) number(tag byte, v uint64) {
	if v != 0 {
		var buf [binary.MaxVarintLen64]byte
		w.bytes(tag, buf[:binary.PutUvarint(buf[:], v)])
	}
}

func (w *recordWriter) flag(tag byte, v bool) {
	if v {
		w.number(tag, 1)
	}
}

func (w *recordWriter) duration(tag byte, v time.Duration) { w.number(tag, uint64(max(v, 0))) }

func (w *recordWriter) time(tag byte, v time.Time) {
	if !v.IsZero() {
		w.number(tag, uint64(max(v.UnixNano(), 1)))
	}
}

// record ends a group of fields inside of another record.
func (w *recordWriter) record(tag byte, inner *recordWriter) { w.bytes(tag, inner.b[recordHead:]) }

// seal writes length and checksum, and returns the record.
func (w *recordWriter) seal() []byte {
	binary.BigEndian.PutUint32(w.b[5:], uint32(len(w.b)-recordHead))
	binary.BigEndian.PutUint32(w.b[9:], recordSum(w.b))
	return w.b
}

func recordSum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[3:9], castagnoli), castagnoli, b[recordHead:])
}

// openRecord checks a record and returns its payload.
func openRecord(kind byte, b []byte) ([]byte, error) {
	switch {
	case len(b) < recordHead || string(b[:3]) != recordMagic:
		return nil, fmt.Errorf("%w: no record", ErrDamaged)
	case int64(binary.BigEndian.Uint32(b[5:])) != int64(len(b)-recordHead):
		return nil, fmt.Errorf("%w: wrong length", ErrDamaged)
	case binary.BigEndian.Uint32(b[9:]) != recordSum(b):
		return nil, fmt.Errorf("%w: wrong checksum", ErrDamaged)
	case b[3] != kind:
		return nil, fmt.Errorf("%w: a record of kind %q, not %q", ErrDamaged, b[3], kind)
	case b[4] != recordVersion:
		return nil, fmt.Errorf("%w: version %d is not known", ErrDamaged, b[4])
	}
	return b[recordHead:], nil
}

// A field is one field of a payload.
type field struct {
	tag   byte
	value []byte
}

// eachField calls f for the fields of a payload until it fails.
func eachField(p []byte, f func(field) error) error {
	for len(p) > 0 {
		n, k := binary.Uvarint(p[1:])
		if k <= 0 || n > uint64(len(p)-1-k) {
			return fmt.Errorf("%w: a field runs over the end", ErrDamaged)
		}
		at := 1 + k
		if err := f(field{p[0], p[at : at+int(n)]}); err != nil {
			return err
		}
		p = p[at+int(n):]
	}
	return nil
}

func (f field) text() string { return string(f.value) }

func (f field) number() uint64 {
	n, k := binary.Uvarint(f.value)
	if k <= 0 {
		return 0
	}
	return n
}

func (f field) flag() bool              { return f.number() != 0 }
func (f field) duration() time.Duration { return time.Duration(f.number() &^ (1 << 63)) }

func (f field) time() time.Time {
	return time.Unix(0, int64(f.number()&^(1<<63)))
}
