package main

import (
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"testing"
	"time"

	"stagecoach/lab/traffic"
	"stagecoach/rfc/smtp"
)

// A slowness is a client that stops hurrying at some place: what it says first, and of which
// it then says one octet a second.
type slowness struct {
	first []string
	then  string
}

func (w *world) slowness(n int) slowness {
	begin := []string{"EHLO slow.example", "MAIL FROM:<x@plain.example>", "RCPT TO:<ann@" + w.domain + ">"}
	return []slowness{
		{nil, "EHLO slow.example "},
		{begin, "RCPT TO:<bob@"},
		{append(slices.Clip(begin), "DATA"), "From: x@plain.example\r\n"},
		{append(slices.Clip(begin), "BDAT 1000000\r\nFrom: x@plain.example"), "x"},
	}[n%4]
}

// slowClients opens n of them, from many addresses. push has each say one octet more, and
// counts those that are still heard.
func slowClients(t *testing.T, w *world, address string, n int) (push func() (heard int)) {
	t.Helper()
	clients := make([]*attacker, n)
	var all sync.WaitGroup
	for worker := range 16 {
		all.Go(func() {
			for i := worker; i < n; i += 16 {
				a, _, err := attack(t.Context(), stranger(1000+i/10), address, nil)
				if err != nil {
					t.Error(err)
					return
				}
				for _, line := range w.slowness(i).first[:max(0, len(w.slowness(i).first)-1)] {
					a.say(line)
				}
				if f := w.slowness(i).first; len(f) > 0 { // BDAT has no reply yet
					fmt.Fprint(a.conn, f[len(f)-1]+"\r\n")
				}
				a.conn.SetDeadline(time.Time{})
				clients[i] = a
			}
		})
	}
	all.Wait()
	t.Cleanup(func() {
		for _, a := range clients {
			if a != nil {
				a.close()
			}
		}
	})
	pushes := 0
	return func() (heard int) {
		for i, a := range clients {
			if a == nil {
				continue
			}
			text := w.slowness(i).then
			if _, err := a.conn.Write([]byte{text[pushes%len(text)]}); err == nil {
				heard++
			}
		}
		pushes++
		return heard
	}
}

// honest has so many clients send so many mails each, and returns how long each mail took.
func honest(t *testing.T, w *world, clients, mails int) traffic.Latencies {
	t.Helper()
	var mu sync.Mutex
	var took traffic.Latencies
	var all sync.WaitGroup
	for c := range clients {
		all.Go(func() {
			a, _, err := attack(t.Context(), stranger(c), w.mx(), nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer a.close()
			a.say("EHLO honest.example")
			for range mails {
				start := time.Now()
				r := a.all("MAIL FROM:<dora@plain.example>", "RCPT TO:<ann@"+w.domain+">", "DATA", plain("dora@plain.example", "ann", "x")+".")
				if r.code != 250 {
					t.Error(r)
					return
				}
				mu.Lock()
				took = append(took, time.Since(start))
				mu.Unlock()
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	all.Wait()
	slices.Sort(took)
	return took
}

// S31: clients that send an octet a second cost memory that is bounded, and hold nobody up.
func TestSlowClients(t *testing.T) {
	w := testWorld(t)
	sink, err := w.NewSink("sink.example")
	if err != nil {
		t.Fatal(err)
	}
	w.cheapLogin(t, "ann@"+sink.Domain)
	pid, _ := serveProcess(t, w, func(c *config) {
		c.Verify.GreetDelay, c.Log.Level = 0, "warn"
		c.Limits.MaxConnections = 1000
	})
	const clients, mails, slow = 10, 20, 500
	idle := honest(t, w, clients, mails)
	before, err := traffic.UsageOf(pid)
	if err != nil {
		t.Fatal(err)
	}
	push := slowClients(t, w, w.mx(), slow)
	stop := make(chan struct{})
	var pushing sync.WaitGroup
	pushing.Go(func() {
		for tick := time.NewTicker(time.Second); ; {
			push()
			select {
			case <-tick.C:
			case <-stop:
				tick.Stop()
				return
			}
		}
	})
	time.Sleep(time.Second)
	attacked := honest(t, w, clients, mails)
	after, err := traffic.UsageOf(pid)
	close(stop)
	pushing.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if heard := push(); heard < slow*9/10 {
		t.Errorf("only %d of %d slow clients were still there: they were no trouble", heard, slow)
	}
	t.Logf("p99 of honest mail: %v idle, %v with %d slow clients; median %v and %v; %d kB resident a slow client",
		idle.Quantile(0.99), attacked.Quantile(0.99), slow, idle.Quantile(0.5), attacked.Quantile(0.5), (after.RSS-before.RSS)/slow>>10)
	if limit := 5*idle.Quantile(0.99) + 200*time.Millisecond; attacked.Quantile(0.99) > limit {
		t.Errorf("p99 rose from %v to %v", idle.Quantile(0.99), attacked.Quantile(0.99))
	}
	if rise := after.RSS - before.RSS; rise > slow*100<<10 && !raceDetector() {
		t.Errorf("memory rose by %d MB", rise>>20)
	}
	if _, err := sink.Wait(soon(t), 2*clients*mails); err != nil {
		t.Error(err)
	}
}

// raceDetector reports whether this is a build with the race detector, which takes memory of its own.
func raceDetector() bool {
	info, _ := debug.ReadBuildInfo()
	return info != nil && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// S31: whoever is slow is heard until the time for a command, or for all of a mail, is over,
// however regularly an octet comes.
func TestSlowClientsEnd(t *testing.T) {
	t.Parallel()
	w := testWorld(t)
	p, err := newProcess(t.Context(), runOptions{Log: logOptions{Level: "none"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.shutdown() })
	address := w.at(25)
	s := &smtp.Server{Name: w.host, Domain: w.domain, Limits: smtp.Limits{Command: 2 * time.Second, Transaction: 3 * time.Second}}
	if err := p.server("mx", s, []string{address}, nil); err != nil {
		t.Fatal(err)
	}
	const slow = 80
	push := slowClients(t, w, address, slow)
	if heard := push(); heard != slow {
		t.Errorf("%d of %d are heard at first", heard, slow)
	}
	heard := slow
	for range 120 { // a write finds out only after the reset that the one before caused
		time.Sleep(100 * time.Millisecond)
		if heard = push(); heard == 0 {
			return
		}
	}
	t.Errorf("%d of %d slow clients are still heard", heard, slow)
}
