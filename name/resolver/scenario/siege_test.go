package scenario

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"stagecoach/name/resolver"
	"stagecoach/rfc/dns"
)

// honest is the world that the sieges have in common.
const honest = `
-- zone org. 1.0.1.1 sign=nsec --
-- zone honest.org. 1.0.2.1 sign=nsec3 --
* A 192.0.2.1
-- zone victim.org. 1.0.2.2 --
www A 192.0.2.2
`

// siegeTime is how long a siege lasts: SIEGE, or for R6 and R8 long enough for silent servers to
// pile up questions.
func siegeTime(t *testing.T, name string) time.Duration {
	text := os.Getenv("SIEGE")
	switch {
	case text == "" && strings.HasPrefix(name, "R6"), text == "" && strings.HasPrefix(name, "R8"):
		return time.Second
	case text == "":
		return 400 * time.Millisecond
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// siegeMemory is by how much the heap may grow, however long a siege lasts, with a cache of
// siegeCache.
const (
	siegeCache  = 16 << 20
	siegeMemory = 48 << 20
)

// TestSieges holds R1 to R13 against a hundred hostile questions a second: the p99 of honest ones
// less than doubles; a hostile one costs no more than 40 packets, 12 signatures and 40 hashes, and
// memory stays bounded. Where SIEGE says how long it lasts, which takes a machine of its own, CPU is
// bounded too; otherwise the CPU that is logged includes what the attacker's servers cost.
func TestSieges(t *testing.T) {
	for name, text := range sieges {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, err := load([]byte(honest + text + "-- steps --\n"))
				if err != nil {
					t.Fatal(err)
				}
				p.resolver.CacheBytes = siegeCache
				p.ask(t, "warm", 100*time.Millisecond)
				calm := p.ask(t, "before", 2*time.Second)
				var wg sync.WaitGroup
				before, used := p.resolver.Stats(), cpu()
				d, heap := siegeTime(t, name), heapSize()
				wg.Go(func() { p.attack(d) })
				siege := p.ask(t, "during", d)
				wg.Wait()
				after, took := p.resolver.Stats(), cpu()-used
				if asked := p.world.take(); os.Getenv("SIEGE") != "" {
					took -= p.replay(asked)
				}
				grown := heapSize() - heap
				report(t, calm, siege, before, after, took, int(d/hostileEvery), grown)
				time.Sleep(time.Minute)
				synctest.Wait()
				if p.world.wrong != nil {
					t.Error(p.world.wrong)
				}
				if s := p.resolver.Stats(); s.InWork != 0 || s.UnderWay != 0 {
					t.Errorf("left in work: %d questions, %d queries", s.InWork, s.UnderWay)
				}
			})
		})
	}
}

func report(t *testing.T, calm, siege []time.Duration, before, after resolver.Stats, took time.Duration, hostile int, grown int64) {
	t.Helper()
	p99 := func(d []time.Duration) time.Duration {
		slices.Sort(d)
		return d[len(d)*99/100]
	}
	packets := float64(after.Queries-before.Queries-uint64(len(siege))) / float64(hostile)
	cost := took / time.Duration(hostile+len(siege))
	t.Logf("p99 %v, then %v; %.1f packets and %v of CPU a hostile question; the heap grew by %d KiB", p99(calm), p99(siege), packets, cost.Round(time.Microsecond), grown>>10)
	if grown > siegeMemory {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
	if os.Getenv("SIEGE") != "" && cost > 20*time.Millisecond {
		t.Errorf("%v of CPU a hostile question", cost)
	}
	if p99(siege) >= 2*p99(calm) {
		t.Errorf("p99 went from %v to %v", p99(calm), p99(siege))
	}
	each := func(before, after uint64) float64 { return float64(after-before) / float64(hostile+len(siege)) }
	signatures, hashes := each(before.Signatures, after.Signatures), each(before.Hashes, after.Hashes)
	if packets > 40 || signatures > 12 || hashes > 40 {
		t.Errorf("%.1f packets, %.1f signatures and %.1f hashes a hostile question", packets, signatures, hashes)
	}
}

// ask puts twenty honest questions a second, for names that are not known, and returns how
// long each took.
func (p *play) ask(t *testing.T, prefix string, d time.Duration) []time.Duration {
	var mu sync.Mutex
	var took []time.Duration
	var wg sync.WaitGroup
	for i := range int(d / (50 * time.Millisecond)) {
		wg.Go(func() {
			start := time.Now()
			_, err := dns.Addrs(context.Background(), p.resolver, fmt.Sprintf("%s%d.honest.org", prefix, i))
			mu.Lock()
			defer mu.Unlock()
			took = append(took, time.Since(start))
			if err != nil {
				t.Errorf("an honest question: %v", err)
			}
		})
		time.Sleep(50 * time.Millisecond)
	}
	wg.Wait()
	return took
}

// hostileEvery is the pause between hostile questions.
const hostileEvery = 10 * time.Millisecond

// attack puts a hundred hostile questions a second.
func (p *play) attack(d time.Duration) {
	var wg sync.WaitGroup
	for i := range int(d / hostileEvery) {
		wg.Go(func() {
			q := dns.NewQuery(fmt.Sprintf("a.b.c.d.e.f.x%d.evil.org", i), dns.TypeA)
			p.resolver.Exchange(context.Background(), q) //nolint:errcheck // whatever comes of it
		})
		time.Sleep(hostileEvery)
	}
	wg.Wait()
}

// replay puts the queries of a siege to its servers again, and returns what CPU they take.
func (p *play) replay(asked []asked) time.Duration {
	used := cpu()
	for _, a := range asked {
		q := dns.NewQuery(a.name, a.t)
		q.SetEdns0(dns.UDPSize, true)
		wire, err := q.Pack()
		if err != nil {
			continue
		}
		p.world.serve(context.Background(), a.server, wire, a.tcp)
	}
	p.world.take()
	return cpu() - used
}

// heapSize is what is reachable now.
func heapSize() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u) //nolint:errcheck // it does not fail
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
