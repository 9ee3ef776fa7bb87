package queue

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"stagecoach/mail"
)

// BenchmarkPut measures durable takings on the real disk, with writers that wait for each.
func BenchmarkPut(b *testing.B) {
	for _, size := range []int{4 << 10, 10 << 10} {
		for _, writers := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("size=%d/writers=%d", size, writers), func(b *testing.B) {
				q, err := Open(b.TempDir(), testSettings())
				if err != nil {
					b.Fatal(err)
				}
				defer q.Close()
				raw := "From: a@from.example\r\nTo: b@to.example\r\nSubject: x\r\n\r\n" + strings.Repeat("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n", size/64)
				b.SetBytes(int64(len(raw)))
				var n atomic.Int64
				var g sync.WaitGroup
				cpu := cpuTime()
				b.ResetTimer()
				for range writers {
					g.Go(func() {
						for n.Add(1) <= int64(b.N) {
							m := &mail.Mail{Message: mail.NewMessage([]byte(raw))}
							m.Envelope.From = mail.MustParseAddress("a@from.example")
							m.Envelope.To = []mail.Recipient{{Address: mail.MustParseAddress("b@to.example")}}
							if err := q.Handle(context.Background(), m); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				g.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "mails/s")
				b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/float64(b.N), "cpu-µs/op")
			})
		}
	}
}

// cpuTime is what the process has used of the processors, which a busy machine does not
// distort as it does the wall clock.
func cpuTime() time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// BenchmarkBacklog fills a queue whose only destination stands still, and reports the memory
// that the backlog takes, and how fast it is delivered from disk afterwards.
func BenchmarkBacklog(b *testing.B) {
	const mails = 200_000
	q, err := Open(b.TempDir(), testSettings())
	if err != nil {
		b.Fatal(err)
	}
	defer q.Close()
	heap := func() float64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc) / (1 << 20)
	}
	before := heap()
	raw := "Subject: x\r\n\r\n" + strings.Repeat("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n", 32)
	var n atomic.Int64
	var g sync.WaitGroup
	begin := time.Now()
	for range 64 {
		g.Go(func() {
			for i := n.Add(1); i <= mails; i = n.Add(1) {
				m := &mail.Mail{Message: mail.NewMessage([]byte(raw))}
				m.Envelope.To = []mail.Recipient{{Address: mail.MustParseAddress(fmt.Sprintf("b@to%d.example", i%10))}}
				if err := q.Handle(context.Background(), m); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	g.Wait()
	b.ReportMetric(mails/time.Since(begin).Seconds(), "accepted/s")
	b.ReportMetric(heap()-before, "MiB-heap")
	s := &counter{}
	q.Courier = s
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan struct{})
	begin = time.Now()
	go func() { q.Run(ctx); close(done) }()
	for s.n.Load() < mails {
		time.Sleep(10 * time.Millisecond)
	}
	b.ReportMetric(mails/time.Since(begin).Seconds(), "delivered/s")
	cancel()
	<-done
}

// A counter is a courier that only counts.
type counter struct{ n atomic.Int64 }

func (c *counter) Carry(_ context.Context, m *mail.Mail) []error {
	c.n.Add(int64(len(m.Envelope.To)))
	return make([]error, len(m.Envelope.To))
}
