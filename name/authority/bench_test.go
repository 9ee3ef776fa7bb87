package authority

import (
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stagecoach/repo"
	"stagecoach/rfc/dns"
)

// BenchmarkServer answers queries over UDP on loopback; queries/s counts both the server and the
// clients, which run on the same cores.
func BenchmarkServer(b *testing.B) {
	_, at, _, _ := start(b, testFiles)
	wire, err := dns.NewQuery("www.example", dns.TypeA).Pack()
	if err != nil {
		b.Fatal(err)
	}
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	b.ResetTimer()
	for range 4 {
		wg.Go(func() {
			c, err := net.Dial("udp", at.String())
			if err != nil {
				b.Error(err)
				return
			}
			defer c.Close()
			buf := make([]byte, 1500)
			const window = 32
			for left.Add(-window) > -window {
				for range window {
					c.Write(wire)
				}
				for range window {
					c.SetReadDeadline(time.Now().Add(time.Second))
					if _, err := c.Read(buf); err != nil {
						break
					}
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "queries/s")
}

// both runs a benchmark of updates without signatures and with them.
func both(b *testing.B, run func(b *testing.B, set func(*Authority))) {
	b.Run("unsigned", func(b *testing.B) { run(b, func(*Authority) {}) })
	b.Run("signed", func(b *testing.B) { run(b, func(a *Authority) { a.Signing = &Signing{Dir: b.TempDir()} }) })
}

// BenchmarkUpdate is durable UPDATEs one after the other, each a commit.
func BenchmarkUpdate(b *testing.B) { both(b, benchmarkUpdate) }

func benchmarkUpdate(b *testing.B, set func(*Authority)) {
	_, at, _, _ := start(b, testFiles, set)
	c := client(at, dns.TCP, keyNamed(b, "personal._update.example"))
	for i := 0; b.Loop(); i++ {
		m := dns.NewUpdate("example")
		m.RemoveRRset(rrs(b, "u.example. 300 TXT x"))
		m.Insert(rrs(b, fmt.Sprintf("u.example. 300 TXT u%d", i)))
		if err := dns.Do(b.Context(), c, m); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "updates/s")
}

// BenchmarkSign makes all signatures of 10,000 names, and then finds them among those that were made.
func BenchmarkSign(b *testing.B) {
	text := "@ 60 SOA ns h 7 1 1 1 60\n@ 60 NS ns\nns 60 A 192.0.2.1\n"
	var hosts strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&hosts, "host%d 60 A 192.0.2.1\n", i)
	}
	z := zoneOf(b, "example", text+hosts.String())
	s := &Signing{Dir: b.TempDir()}
	var signed *Zone
	all := func(b *testing.B) {
		count := 0
		for range signed.each {
			count++
		}
		if count < 40_000 {
			b.Fatal(count)
		}
	}
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			var err error
			if signed, _, err = s.sign(z, nil, time.Now()); err != nil {
				b.Fatal(err)
			}
			all(b)
		}
	})
	b.Run("again", func(b *testing.B) {
		for b.Loop() {
			all(b)
		}
	})
}

// largeText is a zone of 100,000 names.
func largeText() string {
	var text strings.Builder
	text.WriteString("@ 60 SOA ns h 7 1 1 1 60\n@ 60 NS ns\nns 60 A 192.0.2.1\n")
	for i := range 100_000 {
		fmt.Fprintf(&text, "host%d 60 A 192.0.2.1\n", i)
	}
	return text.String()
}

// BenchmarkLargeZone loads 100,000 names and reports the memory that they take.
func BenchmarkLargeZone(b *testing.B) {
	text := largeText()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var z *Zone
	for b.Loop() {
		z = zoneOf(b, "example", text)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1e6, "MB")
	runtime.KeepAlive(z)
}

// BenchmarkUpdateLargeZone is durable UPDATEs of a zone of 100,000 names, one after the other.
func BenchmarkUpdateLargeZone(b *testing.B) { both(b, benchmarkUpdateLargeZone) }

func benchmarkUpdateLargeZone(b *testing.B, set func(*Authority)) {
	_, at, _, _ := start(b, map[string]string{"example": largeText(), "example._keys": testFiles["example._keys"]}, set, func(a *Authority) {
		r, err := repo.Open(a.Repo.(*repo.Remote).String(), repo.Options{Limits: repo.Limits{FileSize: 64 << 20, Total: 128 << 20}})
		if err != nil {
			b.Fatal(err)
		}
		a.Repo = r
	})
	c := client(at, dns.TCP, keyNamed(b, "personal._update.example"))
	for i := 0; b.Loop(); i++ {
		m := dns.NewUpdate("example")
		m.RemoveRRset(rrs(b, "host5000.example. 300 TXT x"))
		m.Insert(rrs(b, fmt.Sprintf("host5000.example. 300 TXT u%d", i)))
		if err := dns.Do(b.Context(), c, m); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkUpdates is durable UPDATEs by 32 clients at once.
func BenchmarkUpdates(b *testing.B) { both(b, benchmarkUpdates) }

func benchmarkUpdates(b *testing.B, set func(*Authority)) {
	_, at, _, _ := start(b, testFiles, set)
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	b.ResetTimer()
	for w := range 32 {
		wg.Go(func() {
			c := client(at, dns.TCP, keyNamed(b, "personal._update.example"))
			for i := left.Add(-1); i >= 0; i = left.Add(-1) {
				m := dns.NewUpdate("example")
				m.RemoveRRset(rrs(b, fmt.Sprintf("u%d.example. 300 TXT x", w)))
				m.Insert(rrs(b, fmt.Sprintf("u%d.example. 300 TXT u%d", w, i)))
				if err := dns.Do(b.Context(), c, m); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "updates/s")
}
