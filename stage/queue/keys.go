package queue

import (
	"bytes"
	"encoding/binary"
	"time"
)

const bucketBits = 15 // of milliseconds: 32.768 s

func letterKey(id ID) []byte { return append([]byte{keyLetter}, id[:]...) }

func entryKey(k Key) []byte {
	b := make([]byte, 0, 17+len(k.Domain))
	b = append(b, keyEntry)
	b = append(b, k.ID[:]...)
	return append(b, k.Domain...)
}

func parseEntryKey(b []byte) (k Key, ok bool) {
	if len(b) < 17 {
		return k, false
	}
	copy(k.ID[:], b[1:17])
	k.Domain = string(b[17:])
	return k, true
}

func deadlineKey(k Key, deadline time.Duration) []byte {
	b := make([]byte, 0, 25+len(k.Domain))
	b = append(b, keyDeadline)
	b = binary.BigEndian.AppendUint64(b, uint64(deadline))
	b = append(b, k.ID[:]...)
	return append(b, k.Domain...)
}

func parseDeadlineKey(b []byte) (k Key, deadline time.Duration, ok bool) {
	if len(b) < 25 {
		return k, 0, false
	}
	copy(k.ID[:], b[9:25])
	k.Domain = string(b[25:])
	return k, time.Duration(binary.BigEndian.Uint64(b[1:])), true
}

// The classes of the schedule.
const (
	classFresh = 0 // never tried
	classRetry = 1
)

func class(fresh bool) int {
	if fresh {
		return classFresh
	}
	return classRetry
}

func bucketOf(due time.Duration) uint32 { return uint32(due.Milliseconds() >> bucketBits) }

func bucketStart(b uint32) time.Duration {
	return time.Duration(b) << bucketBits * time.Millisecond
}

// A slot is one place in the schedule.
type slot struct {
	class  int
	bucket uint32
	domain string
	due    time.Duration
	id     ID
}

func bucketKey(class int, bucket uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{keySchedule, byte(class)}, bucket)
}

func slotKey(k Key, p places) []byte {
	b := make([]byte, 0, 6+len(k.Domain)+25)
	b = append(b, keySchedule, byte(class(p.fresh)))
	b = binary.BigEndian.AppendUint32(b, bucketOf(p.due))
	b = append(append(b, k.Domain...), 0)
	b = binary.BigEndian.AppendUint64(b, uint64(p.due))
	return append(b, k.ID[:]...)
}

func parseSlot(b []byte) (s slot, ok bool) {
	if len(b) < 6+25 {
		return s, false
	}
	s.class, s.bucket = int(b[1]), binary.BigEndian.Uint32(b[2:])
	end := bytes.IndexByte(b[6:], 0)
	if end < 0 || len(b) != 6+end+25 {
		return s, false
	}
	s.domain = string(b[6 : 6+end])
	rest := b[6+end+1:]
	s.due = time.Duration(binary.BigEndian.Uint64(rest))
	copy(s.id[:], rest[8:])
	return s, true
}

// behind returns the key behind all slots of the slot's domain in its bucket.
func (s slot) behind() []byte {
	return append(append(bucketKey(s.class, s.bucket), s.domain...), 1)
}
