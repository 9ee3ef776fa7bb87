package scenario

import (
	"context"
	"fmt"
	"slices"
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

// sieges are worlds in which "N.evil.org" is worth a question to an attacker.
var sieges = map[string]string{
	"phantom domains": `-- zone evil.org. 1.0.3.1 --
-- script 1.0.3.1 --
match *
  clear
  noaa
  phantom 8
`,
	"NXNSAttack": `-- zone evil.org. 1.0.3.1 --
-- script 1.0.3.1 --
match *
  clear
  noaa
  many 60 authority QNAME 3600 NS n#.QNAME.victim.org.
`,
	"CAMP": `-- zone evil.org. 1.0.3.1 --
-- script 1.0.3.1 --
match *
  clear
  rcode NOERROR
  answer QNAME 0 CNAME x.QNAME
`,
	"KeyTrap": `-- zone evil.org. 1.0.3.1 sign=nsec alg=p384 --
* A 192.0.2.1
-- script 1.0.3.1 --
match *.evil.org. A
  repeat 100
`,
	"NSEC3": `-- zone evil.org. 1.0.3.1 sign=nsec3 iterations=150 salt=aabbccdd --
a A 192.0.2.1
`,
}

// siegeTime is long enough for silent servers to pile up questions, and short for KeyTrap.
const siegeTime = time.Second

// TestSieges holds R6 to R8: while a hundred hostile questions a second come, the p99 of honest
// ones less than doubles; a hostile one costs no more than 40 packets, 12
// signatures and 40 hashes. The CPU that is logged includes what the attacker's servers cost.
func TestSieges(t *testing.T) {
	for name, text := range sieges {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, err := load([]byte(honest + text + "-- steps --\n"))
				if err != nil {
					t.Fatal(err)
				}
				p.ask(t, "warm", 100*time.Millisecond)
				calm := p.ask(t, "before", 2*time.Second)
				var wg sync.WaitGroup
				before, used := p.resolver.Stats(), cpu()
				wg.Go(func() { p.attack(siegeTime) })
				siege := p.ask(t, "during", siegeTime)
				wg.Wait()
				after, took := p.resolver.Stats(), cpu()-used
				report(t, calm, siege, before, after, took)
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

func report(t *testing.T, calm, siege []time.Duration, before, after resolver.Stats, took time.Duration) {
	t.Helper()
	const hostile = int(siegeTime / (10 * time.Millisecond))
	p99 := func(d []time.Duration) time.Duration {
		slices.Sort(d)
		return d[len(d)*99/100]
	}
	packets := float64(after.Queries-before.Queries-uint64(len(siege))) / float64(hostile)
	cost := took / time.Duration(hostile+len(siege))
	t.Logf("p99 %v, then %v; %.1f packets and %v of CPU a hostile question", p99(calm), p99(siege), packets, cost)
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

// attack puts a hundred hostile questions a second.
func (p *play) attack(d time.Duration) {
	var wg sync.WaitGroup
	for i := range int(d / (10 * time.Millisecond)) {
		wg.Go(func() {
			q := dns.NewQuery(fmt.Sprintf("a.b.c.d.e.f.x%d.evil.org", i), dns.TypeA)
			p.resolver.Exchange(context.Background(), q) //nolint:errcheck // whatever comes of it
		})
		time.Sleep(10 * time.Millisecond)
	}
	wg.Wait()
}

func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u) //nolint:errcheck // it does not fail
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
