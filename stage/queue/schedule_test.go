package queue

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"stagecoach/mail"
	"stagecoach/rfc/dsn"
)

// A mail that nobody takes: the attempts of five days, the notice of the delay and the end.
func TestFiveDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := openTest(t, vfs.NewMem(), testSettings())
		defer q.Close()
		begin := time.Now()
		var attempts []time.Duration
		var mu sync.Mutex
		q.Courier = &sink{answer: func(*mail.Mail, mail.Recipient) error {
			mu.Lock()
			defer mu.Unlock()
			attempts = append(attempts, time.Since(begin))
			return mail.Defer(451, "4.7.1", "come again")
		}}
		var reports []string
		q.Reports = mail.HandlerFunc(func(_ context.Context, m *mail.Mail) error {
			_, to, err := dsn.Parse(m.Message)
			mu.Lock()
			defer mu.Unlock()
			reports = append(reports, fmt.Sprintf("%s %s after %v, %v", to[0].Action, to[0].Status, time.Since(begin).Round(time.Hour), err))
			return nil
		})
		if err := q.Handle(t.Context(), newMail("1", "a@from.example", "x@slow.example")); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 6*24*time.Hour)
		defer cancel()
		if err := q.Run(ctx); err != nil {
			t.Fatal(err)
		}
		checkAttempts(t, attempts)
		if len(reports) != 2 || reports[0] != "delayed 4.7.1 after 4h0m0s, <nil>" || reports[1] != "failed 4.4.7 after 120h0m0s, <nil>" {
			t.Errorf("reports: %q", reports)
		}
		if n := len(entriesOf(t, q)); n != 0 {
			t.Errorf("%d entries left", n)
		}
	})
}

func checkAttempts(t *testing.T, at []time.Duration) {
	t.Helper()
	if len(at) < 30 || len(at) > 50 || at[0] > time.Second {
		t.Fatalf("%d attempts: %v", len(at), at)
	}
	want := 5 * time.Minute
	for i := range at[1:] {
		wait := at[i+1] - at[i]
		if wait < want*8/10-time.Second || wait > want*12/10+2*time.Second {
			t.Errorf("wait %d is %v, want %v and a fifth", i, wait, want)
		}
		want = min(2*want, 4*time.Hour)
	}
}

// The wall clock leaps in both directions, and the machine is off for a month: no mail is
// given up before its time, and none is tried without a pause.
func TestClockLeaps(t *testing.T) {
	for _, leap := range []time.Duration{time.Hour, -time.Hour, 10 * 365 * 24 * time.Hour, -10 * 365 * 24 * time.Hour} {
		begin := time.Now()
		wall := time.Duration(0)
		now := func() time.Time { // what time.Now gives after the clock was set
			return time.Now().Add(wall)
		}
		c := newClock(now, ClockState{}, 4*time.Hour)
		saved := c.state()
		age, tick := c.age(), c.tick()
		saved.Wall = saved.Wall.Add(-leap) // as a restart after the leap sees it
		c2 := newClock(now, saved, 4*time.Hour)
		if d := c2.age() - age; d < 0 || d > time.Since(begin)+time.Second {
			t.Errorf("leap %v: the age leaps by %v", leap, d)
		}
		if d := c2.tick() - tick; d < 0 || d > 5*time.Hour+time.Second {
			t.Errorf("leap %v: the schedule leaps by %v", leap, d)
		}
	}
}

// One domain holds a backlog and stands still; mail for another that comes behind it is
// delivered at once, from memory and from disk.
func TestFairness(t *testing.T) {
	s := testSettings()
	s.Window, s.Concurrency, s.PerDestination = 200, 40, 10
	q := openTest(t, vfs.NewMem(), s)
	defer q.Close()
	var most, active atomic.Int64
	block := make(chan struct{})
	out := &sink{}
	out.answer = func(_ *mail.Mail, to mail.Recipient) error {
		if to.Domain() != "slow.example" {
			return nil
		}
		n := active.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		<-block
		active.Add(-1)
		return mail.Defer(451, "4.2.0", "slow")
	}
	q.Courier = out
	handle := func(n int, domain string) {
		if err := q.Handle(t.Context(), newMail(fmt.Sprint(n), "a@from.example", "x@"+domain)); err != nil {
			t.Error(err)
		}
	}
	var g sync.WaitGroup
	for w := range 16 {
		g.Go(func() {
			for n := range 200 {
				handle(w*200+n, "slow.example")
			}
		})
	}
	g.Wait()
	for n := range 50 { // behind it, on disk
		handle(n, fmt.Sprintf("d%d.example", n))
	}
	stop := running(t, q)
	eventually(t, "what stood behind the backlog", func() bool { return out.count() == 50 })
	for n := range 50 { // and fresh
		handle(100+n, "fresh.example")
	}
	eventually(t, "fresh mail", func() bool { return out.count() == 100 })
	if most.Load() > 10 {
		t.Errorf("%d deliveries to one destination at a time, want 10 at the most", most.Load())
	}
	close(block)
	stop()
	if size, _, _ := q.window.load(); size != 0 {
		t.Errorf("%d tasks left in the window", size)
	}
}

// The destination that cannot be reached is given a pause, and is found again.
func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := openTest(t, vfs.NewMem(), testSettings())
		defer q.Close()
		var attempts atomic.Int64
		var up atomic.Bool
		out := &sink{answer: func(*mail.Mail, mail.Recipient) error {
			attempts.Add(1)
			if up.Load() {
				return nil
			}
			return mail.Defer(451, "4.4.1", "cannot be reached")
		}}
		q.Courier = out
		for n := range 500 {
			if err := q.Handle(t.Context(), newMail(fmt.Sprint(n), "a@from.example", "x@down.example")); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- q.Run(ctx) }()
		time.Sleep(2 * time.Hour)
		if n := attempts.Load(); n > 80 {
			t.Errorf("%d attempts in two hours of silence", n)
		}
		up.Store(true)
		time.Sleep(10 * time.Minute)
		if n := out.count(); n < 450 {
			t.Errorf("%d of 500 delivered ten minutes after it is back", n)
		}
		cancel()
		<-done
	})
}

// Run ends in time although a delivery does not, and the mail is kept.
func TestStop(t *testing.T) {
	fs := vfs.NewMem()
	q := openTest(t, fs, testSettings())
	begun := make(chan struct{})
	q.Courier = courierFunc(func(ctx context.Context, m *mail.Mail) []error {
		close(begun)
		<-ctx.Done()
		return []error{ctx.Err()}
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx) }()
	if err := q.Handle(t.Context(), newMail("1", "a@from.example", "x@good.example")); err != nil {
		t.Fatal(err)
	}
	<-begun
	cancel()
	begin := time.Now()
	if err := <-done; err != nil || time.Since(begin) > 5*time.Second {
		t.Errorf("Run ends after %v with %v", time.Since(begin), err)
	}
	if all := entriesOf(t, q); len(all) != 1 || all[0].Attempts != 0 {
		t.Errorf("entries: %v", all)
	}
	q.Close()
	q = openTest(t, fs, testSettings())
	out := &sink{}
	q.Courier = out
	defer q.Close()
	defer running(t, q)()
	eventually(t, "delivery after the restart", func() bool { return out.count() == 1 })
}

type courierFunc func(context.Context, *mail.Mail) []error

func (f courierFunc) Carry(ctx context.Context, m *mail.Mail) []error { return f(ctx, m) }

// A courier that panics or miscounts delivers nothing and stops nothing.
func TestBadCourier(t *testing.T) {
	var n atomic.Int64
	q := openTest(t, vfs.NewMem(), testSettings())
	defer q.Close()
	q.Courier = courierFunc(func(_ context.Context, m *mail.Mail) []error {
		switch n.Add(1) {
		case 1:
			panic("a bug")
		case 2:
			return nil
		}
		return []error{nil}
	})
	q.settings.FirstRetry = time.Millisecond
	defer running(t, q)()
	if err := q.Handle(t.Context(), newMail("1", "a@from.example", "x@good.example")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the third attempt", func() bool { return q.Stats().Delivered == 1 && q.Stats().Entries == 0 })
}
