package queue

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"stagecoach/mail"
	"stagecoach/rfc/dsn"
)

// A ledger is what the world knows of a run: what was acknowledged, and what arrived.
type ledger struct {
	mu      sync.Mutex
	acked   []string
	arrived []string // recipient + " " + name, or "report " + Message-ID + " " + name
}

func (l *ledger) ack(name string) {
	l.mu.Lock()
	l.acked = append(l.acked, name)
	l.mu.Unlock()
}

func (l *ledger) ackedNow() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.acked...)
}

func (l *ledger) arrivedNow() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.arrived...)
}

// scripted is a world with three kinds of domains: good.example takes, slow.example takes at
// the second attempt, bad.example refuses for good.
func (l *ledger) scripted() *sink {
	tried := map[string]bool{}
	return &sink{answer: func(m *mail.Mail, to mail.Recipient) error {
		l.mu.Lock()
		defer l.mu.Unlock()
		name := m.Message.Header.Value("X-N")
		if dsn.Is(&m.Message.Header) {
			original := strings.TrimSuffix(strings.TrimPrefix(m.Message.Header.Value("In-Reply-To"), "<"), "@test.example>")
			l.arrived = append(l.arrived, "report "+m.Message.Header.Value("Message-ID")+" "+original)
			return nil
		}
		switch key := to.String() + " " + name; {
		case to.Domain() == "bad.example":
			return mail.Reject(550, "5.1.1", "no such user")
		case to.Domain() == "slow.example" && !tried[key]:
			tried[key] = true
			return mail.Defer(451, "4.7.1", "greylisted")
		default:
			l.arrived = append(l.arrived, key)
			return nil
		}
	}}
}

var crashRecipients = []string{"x@good.example", "y@slow.example", "z@bad.example"}

func crashSettings() Settings {
	s := testSettings()
	s.FirstRetry, s.MaxRetry, s.DelayAfter = time.Millisecond, 10*time.Millisecond, -1
	return s
}

// crashMail is the n-th mail of the scenario; the last has a body of its own file.
func crashMail(n int) *mail.Mail {
	m := newMail(fmt.Sprint(n), "a@from.example", crashRecipients...)
	if n == 3 {
		raw := m.Message.String() + strings.Repeat("large body\r\n", 30000)
		m.Message = mail.NewMessage([]byte(raw))
	}
	return m
}

// play runs the scenario: take four mails over, deliver, defer and bounce, until all is done
// or the queue fails.
func play(t *testing.T, fs vfs.FS, l *ledger) error {
	q, err := openOn(fs, crashSettings())
	if err != nil {
		return err
	}
	q.Courier = l.scripted()
	stop := running(t, q)
	for n := range 4 {
		if err := q.Handle(t.Context(), crashMail(n)); err == nil {
			l.ack(fmt.Sprint(n))
		} else if r := mail.RefusalOf(err); r.Code != 451 && r.Code != 452 {
			t.Errorf("mail %d: %v", n, err)
		}
	}
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end) && q.Healthy() == nil && q.Stats().Entries > 0; {
		time.Sleep(time.Millisecond)
	}
	stop()
	closed := make(chan error, 1)
	go func() { closed <- q.Close() }()
	select {
	case err := <-closed:
		return err
	case <-time.After(5 * time.Second):
		t.Error("Close hangs")
		return nil
	}
}

// A crash is a disk as it may be found after a crash, and what the world knew then.
type crash struct {
	op      int
	what    string
	disk    *vfs.MemFS
	acked   []string
	arrived []string
	crashes int // on the way here
}

// check starts on a crashed disk, runs until all is done, and compares with the ledger.
func (c *crash) check(t *testing.T, fs vfs.FS) {
	t.Helper()
	l := &ledger{}
	q, err := openOn(fs, crashSettings())
	if err != nil {
		t.Errorf("crash at op %d (%s): Open: %v", c.op, c.what, err)
		return
	}
	q.Courier = l.scripted()
	stop := running(t, q)
	end := time.Now().Add(10 * time.Second)
	for !isEmpty(t, q) && time.Now().Before(end) {
		time.Sleep(200 * time.Microsecond)
	}
	stop()
	if left := entriesOf(t, q); len(left) > 0 {
		t.Errorf("crash at op %d (%s): %d entries never end, such as %s: due %v of %v, attempts %d, held %v, damaged %v: %s", c.op, c.what, len(left), left[0].Key, left[0].Due, q.clock.tick(), left[0].Attempts, left[0].Held, left[0].Damaged, left[0].LastError)
	}
	if err := q.Close(); err != nil {
		t.Errorf("crash at op %d (%s): Close: %v", c.op, c.what, err)
	}
	c.compare(t, slices.Concat(c.arrived, l.arrivedNow()))
}

func isEmpty(t *testing.T, q *Queue) bool { return len(entriesOf(t, q)) == 0 }

func (c *crash) compare(t *testing.T, arrived []string) {
	t.Helper()
	times := map[string]int{}
	reports := map[string]map[string]bool{}
	for _, a := range arrived {
		if w := strings.Fields(a); w[0] == "report" {
			if reports[w[2]] == nil {
				reports[w[2]] = map[string]bool{}
			}
			reports[w[2]][w[1]] = true
			continue
		}
		times[a]++
	}
	for _, name := range c.acked {
		for _, to := range crashRecipients[:2] {
			if times[to+" "+name] == 0 {
				t.Errorf("crash at op %d (%s): mail %s for %s was acknowledged and is lost", c.op, c.what, name, to)
			}
		}
		if n := len(reports[name]); n != 1 {
			t.Errorf("crash at op %d (%s): %d reports about mail %s", c.op, c.what, n, name)
		}
	}
	for a, n := range times {
		if n > 1+c.crashes {
			t.Errorf("crash at op %d (%s): %s arrived %d times", c.op, c.what, a, n)
		}
	}
}

// crashes plays the scenario, and crashes before every change of the file system: with
// nothing kept that was not synced, and with a random part of it.
func crashes(t *testing.T, disk *vfs.MemFS, l *ledger, run func(vfs.FS)) (all []*crash) {
	var mu sync.Mutex
	op := 0
	hook := errorfs.InjectorFunc(func(o errorfs.Op) error {
		if o.Kind.ReadOrWrite() != errorfs.OpIsWrite {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		op++
		for seed := range uint64(2) {
			acked := l.ackedNow()
			cfg := vfs.CrashCloneCfg{}
			if seed > 0 {
				cfg = vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(seed, uint64(op)))}
			}
			clone := disk.CrashClone(cfg)
			all = append(all, &crash{op, fmt.Sprintf("%v %s, seed %d", o.Kind, o.Path, seed), clone, acked, l.arrivedNow(), 1})
		}
		return nil
	})
	run(errorfs.Wrap(disk, hook))
	mu.Lock()
	defer mu.Unlock()
	return all
}

func TestCrashAnywhere(t *testing.T) {
	disk := vfs.NewCrashableMem()
	l := &ledger{}
	all := crashes(t, disk, l, func(fs vfs.FS) {
		if err := play(t, fs, l); err != nil {
			t.Fatal(err)
		}
	})
	if len(l.acked) != 4 {
		t.Fatalf("%d of 4 mails taken", len(l.acked))
	}
	t.Logf("%d crashes", len(all))
	var g sync.WaitGroup
	turn := make(chan struct{}, 4)
	for i, c := range all {
		turn <- struct{}{}
		g.Go(func() {
			defer func() { <-turn }()
			if i%20 != 7 { // compound: crash again at every operation of the recovery
				c.check(t, c.disk)
				return
			}
			again := &ledger{arrived: slices.Clone(c.arrived), acked: slices.Clone(c.acked)}
			for _, c2 := range crashes(t, c.disk, again, func(fs vfs.FS) { c.recover(t, fs, again) }) {
				c2.what, c2.crashes = c.what+", then "+c2.what, 2
				c2.check(t, c2.disk)
			}
		})
	}
	g.Wait()
}

// recover opens a crashed disk and does its work, for crashes in the midst of it.
func (c *crash) recover(t *testing.T, fs vfs.FS, l *ledger) {
	q, err := openOn(fs, crashSettings())
	if err != nil {
		t.Errorf("crash at op %d (%s): Open: %v", c.op, c.what, err)
		return
	}
	q.Courier = l.scripted()
	stop := running(t, q)
	end := time.Now().Add(10 * time.Second)
	for !isEmpty(t, q) && time.Now().Before(end) {
		time.Sleep(200 * time.Microsecond)
	}
	stop()
	q.Close()
}

// Every n-th change of the file system fails, once or from then on, until a run is untouched.
func TestFailingDisk(t *testing.T) {
	for _, cause := range []error{syscall.EIO, syscall.ENOSPC} {
		for _, lasting := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v/lasting=%v", cause, lasting), func(t *testing.T) {
				t.Parallel()
				step := 1
				if testing.Short() {
					step = 7
				}
				n := 1
				for ; failAt(t, n, cause, lasting); n += step {
					if t.Failed() || n > 5000 {
						t.Fatalf("stopped at n = %d", n)
					}
				}
				if n < 50 {
					t.Errorf("untouched at n = %d: the scenario is too small", n)
				}
				t.Logf("untouched at n = %d", n)
			})
		}
	}
}

// failAt plays the scenario with a failure at the n-th write, and then looks whether what was
// acknowledged is there for a sound disk after a power cut. It returns false when no write
// failed.
func failAt(t *testing.T, n int, cause error, lasting bool) (failed bool) {
	disk := vfs.NewCrashableMem()
	l := &ledger{}
	var mu sync.Mutex
	op, what := 0, ""
	fs := errorfs.Wrap(disk, errorfs.InjectorFunc(func(o errorfs.Op) error {
		if o.Kind.ReadOrWrite() != errorfs.OpIsWrite {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		if op++; op == n || lasting && op > n {
			if what == "" {
				what = fmt.Sprintf("%v %s", o.Kind, o.Path)
			}
			failed = true
			return cause
		}
		return nil
	}))
	err := play(t, fs, l)
	mu.Lock() // the library of a fenced store may still be at work
	defer mu.Unlock()
	if err != nil && !failed && !errors.Is(err, io.EOF) {
		t.Errorf("n = %d: %v without a failure", n, err)
	}
	acked := l.ackedNow()
	t.Logf("n = %d (%s): %d acknowledged, %v", n, what, len(acked), err)
	c := &crash{n, fmt.Sprintf("%v at %s", cause, what), disk.CrashClone(vfs.CrashCloneCfg{}), acked, l.arrivedNow(), 1}
	c.check(t, c.disk)
	return failed
}
