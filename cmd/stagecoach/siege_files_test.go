package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"stagecoach/lab/peer"
	"stagecoach/lab/traffic"
)

// D10: a process that may have 64 files meets 500 clients: it lets some in and has the others
// wait, does not spin, and is itself again when they have gone.
func TestFewFiles(t *testing.T) {
	t.Parallel()
	prlimit := peer.Need(t, "prlimit")[0]
	w := testWorld(t)
	sink, err := w.NewSink("sink.example")
	if err != nil {
		t.Fatal(err)
	}
	w.cheapLogin(t, "ann@"+sink.Domain)
	pid, log := serveProcess(t, w, func(c *config) { c.Verify.GreetDelay, c.Log.Level = 0, "info" }, prlimit, "--nofile=64:64")

	early := w.mustAttack(t, stranger(700), w.mx()) // who was there before the flood
	early.say("EHLO honest.example")

	type answer struct {
		a  *attacker
		ok bool
	}
	answers := make(chan answer)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	for i := range 500 {
		go func() {
			a, err := wait(ctx, stranger(i), w.mx())
			answers <- answer{a, err == nil}
		}()
	}
	var clients []*attacker
	let := 0
	for range 500 {
		answer := <-answers
		clients = append(clients, answer.a)
		if answer.ok {
			let++
		}
	}
	// Turning clients away is work; that they are there must be none.
	before, err := traffic.UsageOf(pid)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	time.Sleep(time.Second)
	after, err := traffic.UsageOf(pid)
	if err != nil {
		t.Fatal(err)
	}
	share := float64(after.CPU-before.CPU) / float64(time.Since(start))
	complaints := strings.Count(log.String(), "accepting a connection")
	t.Logf("%d of 500 clients were let in; %.0f%% of a CPU, %d lines in the log", let, 100*share, complaints)
	if complaints > 3 {
		t.Errorf("the log has %d lines about it", complaints)
	}
	if let < 10 || let > 22 {
		t.Errorf("%d clients were let in", let)
	}
	if share > 0.2 {
		t.Errorf("it took %.0f%% of a CPU", 100*share)
	}
	const taken = 20
	for i := range taken { // an edge has a third of the files, so the service has the others
		if r := send(early, w, i*50<<10); r.code != 250 {
			t.Errorf("mail %d while the edge is full: %s", i, r)
		}
	}
	for _, a := range clients {
		if a != nil {
			a.close()
		}
	}
	a := w.mustAttackSoon(t, stranger(600), w.mx())
	a.say("EHLO honest.example")
	for i := range 20 {
		if r := send(a, w, i*50<<10); r.code != 250 {
			t.Fatalf("mail %d after the flood: %s\n%.4000s", i, r, log)
		}
	}
	if _, err := sink.Wait(soon(t), 20+taken); err != nil {
		t.Errorf("%v\n%s", err, log)
	}
}

// send sends a mail to Ann with a body of a size.
func send(a *attacker, w *world, size int) reply {
	text := plain("dora@plain.example", "ann", "x") + strings.Repeat(strings.Repeat("y", 78)+"\r\n", size/80)
	return a.all("MAIL FROM:<dora@plain.example>", "RCPT TO:<ann@"+w.domain+">", "DATA", text+".")
}

// wait connects and waits for a greeting for as long as ctx lasts. The connection stands in
// any case, unless there was none.
func wait(ctx context.Context, from netip.Addr, to string) (*attacker, error) {
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
	conn, err := d.DialContext(ctx, "tcp", to)
	if err != nil {
		return nil, err
	}
	a := &attacker{conn, bufio.NewReader(conn)}
	if until, ok := ctx.Deadline(); ok {
		conn.SetDeadline(until)
	}
	greeting, err := a.reply()
	if err == nil && greeting.code != 220 {
		err = fmt.Errorf("turned away: %s", greeting)
	}
	return a, err
}
