package resolver

import (
	"encoding/binary"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"stagecoach/rfc/dns"
)

// A ring keeps entries one behind the other in memory of a fixed size, without a pointer between
// them. New ones take the place of the oldest; what was looked at since it was written is written
// once more instead (the clock algorithm). A table of hashes says where an entry lies.
//
// A record is a multiple of 8 octets, numbers with the low octet first: its length (4), flags (1),
// kind (1), security (1), 0, the hash of its key (8), when it was stored (8), its TTL in milliseconds
// (4), hits (2), type (2), the lengths of the part that is not of DNSSEC (2) and how many records
// that has (2), of the name (2), where in the name that of the zone begins (2), of the error (2) and
// of the message (2); then the name, the error (its code first) and the message.
type ring struct {
	mu    sync.Mutex
	data  []byte
	table []byte // places of 8 octets: half of a hash, and where the record lies by 8, plus 1
	head  int    // the oldest record
	tail  int    // where the next one goes
	full  int    // octets between them, with what was removed
	count int
	used  int // octets of what was not removed
	lost  uint64
	spare []byte
}

const (
	recordHead = 44
	// perPlace is how many octets of data there are for one place in the table, fewer than the
	// smallest entry takes.
	perPlace = 64
	// maxRewrites bounds how many entries one new one may have written again.
	maxRewrites = 64
)

// flags of a record.
const (
	isLive     = 1 << iota // not removed
	isUsed                 // looked at since it was written
	isFetching             // being fetched ahead
)

var little = binary.LittleEndian

func (r *ring) size(at int) int { return int(little.Uint32(r.data[at:])) }

// place returns the place in the table where the search for a hash begins.
func (r *ring) place(hash uint64) int {
	return int(uint64(uint32(hash)) * uint64(len(r.table)/8) >> 32)
}

func (r *ring) next(place int) int {
	if place++; place == len(r.table)/8 {
		return 0
	}
	return place
}

// at returns where the record of a place lies, -1 for none, and half of its hash.
func (r *ring) at(place int) (at int, half uint32) {
	return (int(little.Uint32(r.table[8*place:])) - 1) * 8, little.Uint32(r.table[8*place+4:])
}

func (r *ring) set(place, at int, hash uint64) {
	little.PutUint32(r.table[8*place:], uint32(at/8+1))
	little.PutUint32(r.table[8*place+4:], uint32(hash>>32))
}

// find returns the place and record of a key, -1 for none.
func (r *ring) find(hash uint64, k key) (place, at int) {
	for place = r.place(hash); ; place = r.next(place) {
		at, half := r.at(place)
		if at < 0 {
			return -1, -1
		}
		if half == uint32(hash>>32) && r.holds(at, k) {
			return place, at
		}
	}
}

func (r *ring) holds(at int, k key) bool {
	d := r.data[at:]
	n := int(little.Uint16(d[36:]))
	return n == len(k.name) && little.Uint16(d[30:]) == k.t && string(d[recordHead:recordHead+n]) == k.name
}

func (r *ring) hash(at int) uint64 { return little.Uint64(r.data[at+8:]) }

// placeOf returns the place of a record.
func (r *ring) placeOf(at int) int {
	for place := r.place(r.hash(at)); ; place = r.next(place) {
		if have, _ := r.at(place); have == at {
			return place
		}
	}
}

// drop removes the record of a place, and moves up those that had to go further for it.
func (r *ring) drop(place int) {
	at, _ := r.at(place)
	r.data[at+4] &^= isLive
	r.count--
	r.used -= r.size(at)
	hole := place
	for i := r.next(place); ; i = r.next(i) {
		at, _ := r.at(i)
		if at < 0 {
			break
		}
		// It may move where the hole is not before the place that its search begins at.
		home := r.place(r.hash(at))
		if hole <= i && (home <= hole || home > i) || hole > i && home <= hole && home > i {
			r.set(hole, at, r.hash(at))
			hole = i
		}
	}
	clear(r.table[8*hole : 8*hole+8])
}

// write appends a record in the place of the oldest ones, and reports whether there was room.
func (r *ring) write(hash uint64, record []byte) bool {
	if len(record) > len(r.data)/8 {
		return false
	}
	for rewrites := 0; ; {
		switch gap := len(r.data) - r.tail; {
		case r.count >= len(r.table)/8*7/8, len(r.data)-r.full < min(gap, len(record)):
			r.evict(&rewrites)
		case gap < len(record):
			little.PutUint32(r.data[r.tail:], uint32(gap))
			r.data[r.tail+4] = 0
			r.full += gap
			r.tail = 0
		default:
			r.append(hash, record)
			return true
		}
	}
}

// append writes a record where there is room for it.
func (r *ring) append(hash uint64, record []byte) {
	at := r.tail
	copy(r.data[at:], record)
	r.full += len(record)
	r.used += len(record)
	r.count++
	if r.tail += len(record); r.tail == len(r.data) {
		r.tail = 0
	}
	place := r.place(hash)
	for {
		if have, _ := r.at(place); have < 0 {
			break
		}
		place = r.next(place)
	}
	r.set(place, at, hash)
}

// evict takes the oldest record away, or writes it again where it was used.
func (r *ring) evict(rewrites *int) {
	at, n := r.head, r.size(r.head)
	flags := r.data[at+4]
	again := flags&isLive != 0 && flags&isUsed != 0 && *rewrites < maxRewrites
	if again {
		*rewrites++
		r.spare = append(r.spare[:0], r.data[at:at+n]...)
		r.spare[4] &^= isUsed
	}
	if flags&isLive != 0 {
		r.drop(r.placeOf(at))
	}
	r.full -= n
	if r.head += n; r.head == len(r.data) {
		r.head = 0
	}
	switch {
	case again && len(r.data)-r.tail >= n && len(r.data)-r.full >= n:
		r.append(little.Uint64(r.spare[8:]), r.spare)
	case flags&isLive != 0:
		r.lost++
	}
}

// put keeps a record instead of what is there for its key.
func (r *ring) put(hash uint64, k key, record []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if place, at := r.find(hash, k); place >= 0 {
		if n := r.size(at); len(record) <= n && n-len(record) < perPlace { // as when an answer was validated
			copy(r.data[at:], record)
			little.PutUint32(r.data[at:], uint32(n))
			return
		}
		r.drop(place)
	}
	r.write(hash, record)
}

func (r *ring) remove(hash uint64, k key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if place, _ := r.find(hash, k); place >= 0 {
		r.drop(place)
	}
}

// removeIf removes what f says, and returns how much it was.
func (r *ring) removeIf(f func(key) bool) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for left, at := r.full, r.head; left > 0; {
		size := r.size(at)
		if r.data[at+4]&isLive != 0 && f(r.key(at)) {
			r.drop(r.placeOf(at))
			n++
		}
		left -= size
		if at += size; at == len(r.data) {
			at = 0
		}
	}
	return n
}

func (r *ring) key(at int) key {
	n := int(little.Uint16(r.data[at+36:]))
	return key{string(r.data[at+recordHead : at+recordHead+n]), little.Uint16(r.data[at+30:])}
}

// look appends the message of an entry to out, if it is fresh at now, or stale for less than the
// given time. It counts as a hit if the caller says so.
func (r *ring) look(hash uint64, k key, now int64, stale time.Duration, hit bool, out []byte) (e entry, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, at := r.find(hash, k)
	if at < 0 {
		return e, false
	}
	d := r.data[at:]
	d[4] |= isUsed
	e.stored = int64(little.Uint64(d[16:]))
	e.ttl = time.Duration(little.Uint32(d[24:])) * time.Millisecond
	if now >= e.stored+int64(e.ttl)+int64(max(stale, 0)) {
		return e, false
	}
	e.hits = little.Uint16(d[28:])
	if hit && e.hits < 1<<16-1 {
		e.hits++
		little.PutUint16(d[28:], e.hits)
	}
	e.kind, e.security = kind(d[5]), Security(d[6])
	e.short, e.shortCount = little.Uint16(d[32:]), little.Uint16(d[34:])
	e.zone = k.name[little.Uint16(d[38:]):]
	d = d[recordHead+len(k.name) : r.size(at)]
	head := r.data[at:]
	if n := little.Uint16(head[40:]); n > 0 {
		e.why = dns.ExtendedError{Code: little.Uint16(d), Text: string(d[2:n])}
		d = d[n:]
	}
	e.wire = append(out, d[:little.Uint16(head[42:])]...)
	return e, true
}

// claim reports whether nobody fetches the entry ahead yet; that is the caller's then.
func (r *ring) claim(hash uint64, k key, claimed bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, at := r.find(hash, k)
	if at < 0 || claimed == (r.data[at+4]&isFetching != 0) {
		return false
	}
	r.data[at+4] ^= isFetching
	return true
}

// record lays an entry out; nil for one that has no room in a record.
func (e *entry) record(hash uint64, k key) []byte {
	why := 0
	if e.why != (dns.ExtendedError{}) {
		why = 2 + len(e.why.Text)
	}
	zoneAt := len(k.name) - len(e.zone)
	if zoneAt < 0 || k.name[zoneAt:] != e.zone || len(k.name) > 1<<16-1 || why > 1<<16-1 || len(e.wire) > 1<<16-1 {
		return nil
	}
	n := (recordHead + len(k.name) + why + len(e.wire) + 7) &^ 7
	d := slices.Grow([]byte(nil), n)
	d = little.AppendUint32(d, uint32(n))
	d = append(d, isLive, byte(e.kind), byte(e.security), 0)
	d = little.AppendUint64(d, hash)
	d = little.AppendUint64(d, uint64(e.stored))
	d = little.AppendUint32(d, uint32(min(e.ttl.Milliseconds(), 1<<32-1)))
	for _, x := range []int{0, int(k.t), int(e.short), int(e.shortCount), len(k.name), zoneAt, why, len(e.wire)} {
		d = little.AppendUint16(d, uint16(x))
	}
	d = append(d, k.name...)
	if why > 0 {
		d = append(little.AppendUint16(d, e.why.Code), e.why.Text...)
	}
	return append(d, e.wire...)[:n]
}

func hashOf(seed maphash.Seed, k key) uint64 {
	// The type takes part by way of a multiplication that spreads it over all bits.
	return maphash.String(seed, k.name) ^ uint64(k.t)*0x9e3779b97f4a7c15
}
