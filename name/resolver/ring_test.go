package resolver

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"stagecoach/rfc/dns"
)

// TestRing holds a small ring to a map: what it has is what was put there last, nothing comes back
// that was removed, and what is missing made room.
func TestRing(t *testing.T) {
	const size = 8 << 10
	r := &ring{data: make([]byte, size), table: make([]byte, size/perPlace*8)}
	seed := maphash.MakeSeed()
	rnd := rand.New(rand.NewPCG(1, 2))
	now := time.Now().UnixNano()
	model := map[key]string{}
	random := func() key {
		return key{strings.Repeat("a", rnd.IntN(30)) + strconv.Itoa(rnd.IntN(200)) + ".org.", uint16(rnd.IntN(3))}
	}
	for i := range 40_000 {
		k := random()
		hash := hashOf(seed, k)
		switch rnd.IntN(10) {
		case 0:
			r.remove(hash, k)
			delete(model, k)
		case 1, 2, 3, 4:
			text := fmt.Sprint(i, strings.Repeat("x", rnd.IntN(100)))
			e := &entry{wire: []byte(text), zone: "org.", stored: now, ttl: time.Hour}
			if i%7 == 0 {
				e.why = dns.ExtendedError{Code: 3, Text: "why " + text}
			}
			r.put(hash, k, e.record(hash, k))
			model[k] = text
		default:
			e, ok := r.look(hash, k, now, 0, false, nil)
			if want, put := model[k]; ok && (!put || string(e.wire) != want || e.zone != "org." || e.why.Text != "" && e.why.Text != "why "+want) {
				t.Fatalf("%v is %q, put as %q", k, e.wire, want)
			}
		}
		if i%5000 == 0 {
			r.check(t)
		}
	}
	removed := r.removeIf(func(k key) bool { return k.t == 1 })
	r.check(t)
	if removed == 0 || r.removeIf(func(k key) bool { return k.t == 1 }) != 0 || r.count == 0 || r.lost == 0 {
		t.Errorf("%d removed, %d left, %d lost", removed, r.count, r.lost)
	}
}

// check finds all records by their keys, and adds them up.
func (r *ring) check(t *testing.T) {
	t.Helper()
	count, used := 0, 0
	for left, at := r.full, r.head; left > 0; {
		n := r.size(at)
		if r.data[at+4]&isLive != 0 {
			count, used = count+1, used+n
			if _, have := r.find(r.hash(at), r.key(at)); have != at {
				t.Fatalf("the record at %d is found at %d", at, have)
			}
		}
		left -= n
		if at += n; at == len(r.data) {
			at = 0
		}
	}
	places := 0
	for i := range len(r.table) / 8 {
		if at, _ := r.at(i); at >= 0 {
			places++
		}
	}
	if count != r.count || used != r.used || places != count || r.full > len(r.data) {
		t.Fatalf("%d records of %d octets in %d places, counted as %d of %d", count, used, places, r.count, r.used)
	}
}

// TestRingKeepsWhatIsUsed has one entry among many be looked at all the time.
func TestRingKeepsWhatIsUsed(t *testing.T) {
	const size = 512 << 10
	c := newCache(size)
	put := func(name string) {
		k := key{name, dns.TypeA}
		c.put(&found{key: k, answer: []dns.RR{dns.MustParseRR(name + " 3600 A 192.0.2.1")}, zone: ".", security: Insecure, stored: time.Now(), ttl: time.Hour})
	}
	put("popular.org.")
	for i := range 12_000 {
		put(fmt.Sprintf("n%d.org.", i))
		if f := c.get(key{"popular.org.", dns.TypeA}, time.Now(), 0); f == nil {
			t.Fatalf("gone after %d", i)
		}
	}
	if n, used, lost := c.size(); lost == 0 || used > size || n < size/200 {
		t.Errorf("%d entries of %d octets, %d made room", n, used, lost)
	}
}

// TestCacheMemory fills a cache several times over: the memory of the process grows by its size, and
// hardly more.
func TestCacheMemory(t *testing.T) {
	const limit = 8 << 20
	if _, err := os.Stat("/proc/self/statm"); err != nil {
		t.Skip(err)
	}
	c := newCache(limit)
	runtime.GC()
	before := resident(t)
	for i := range 100_000 {
		k := key{fmt.Sprintf("host-%d.some.example.org.", i), dns.TypeA}
		rr := &dns.ARecord{Hdr: dns.Header{Name: k.name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 3600}, A: []byte{192, 0, 2, 1}}
		c.put(&found{key: k, answer: []dns.RR{rr}, zone: "example.org.", security: Insecure, stored: time.Now(), ttl: time.Hour})
	}
	grown := resident(t) - before
	n, used, lost := c.size()
	t.Logf("%d entries of %d octets, %d made room; the process grew by %d MiB", n, used/n, lost, grown>>20)
	if lost == 0 || used > limit || n < limit/200 || grown > limit+32<<20 { // what the test itself leaves lying about included
		t.Error("the cache is not bounded by its size, or takes less")
	}
	runtime.KeepAlive(c)
}

func resident(t *testing.T) int {
	t.Helper()
	raw, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(raw))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}
