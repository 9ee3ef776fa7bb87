package main

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// S14: who guesses at names gets few answers, on a connection and in an hour, and no other
// command tells more.
func TestHarvesting(t *testing.T) {
	t.Parallel()
	w := testWorld(t)
	serveWith(t, w, func(c *config) { c.Verify.GreetDelay, c.Log.Level = 0, "none" })
	harvester, other := stranger(1), stranger(2)
	answers, connections := 0, 0
	for connections < 50 {
		a, greeting, err := attack(t.Context(), harvester, w.mx(), nil)
		if err != nil || greeting.code != 220 {
			break
		}
		connections++
		a.all("EHLO siege.example", "MAIL FROM:<x@plain.example>")
		here := 0
		for i := range 1000 {
			r := a.say(fmt.Sprintf("RCPT TO:<guess%d.%d@%s>", connections, i, w.domain))
			if r.code != 550 {
				break
			}
			here++
		}
		if here > 20 {
			t.Errorf("%d answers on one connection", here)
		}
		answers += here
		a.close()
	}
	if answers > 100 || answers < 50 {
		t.Errorf("%d answers to one address", answers)
	}
	if a, greeting, err := attack(t.Context(), harvester, w.mx(), nil); err == nil {
		if greeting.code != 421 {
			t.Errorf("the harvester comes again: %s", greeting)
		}
		a.close()
	}
	a := w.mustAttack(t, other, w.mx())
	if r := a.all("EHLO siege.example", "MAIL FROM:<x@plain.example>", "RCPT TO:<ann@"+w.domain+">"); r.code != 250 {
		t.Errorf("somebody else: %s", r)
	}
	known, unknown := a.say("VRFY ann"), a.say("VRFY nobody")
	if known.text != unknown.text || known.code != 252 {
		t.Errorf("VRFY tells: %s, %s", known, unknown)
	}
	if known, unknown := a.say("EXPN ann"), a.say("EXPN nobody"); known.text != unknown.text || known.code != 502 {
		t.Errorf("EXPN tells: %s, %s", known, unknown)
	}
	t.Logf("%d answers on %d connections", answers, connections)
}

// S32: one address, and one network, have so many connections and no more; nobody else minds.
func TestConnectionFlood(t *testing.T) {
	t.Parallel()
	w := testWorld(t)
	serveWith(t, w, func(c *config) {
		c.Verify.GreetDelay, c.Log.Level = 0, "none"
		c.Limits.PerAddress, c.Limits.PerNetwork, c.Limits.MaxConnections = 10, 25, 60
	})
	var open []*attacker
	defer func() {
		for _, a := range open {
			a.close()
		}
	}()
	flood := func(from netip.Addr, n int) (let, turned int) {
		for range n {
			a, greeting, err := attack(t.Context(), from, w.mx(), nil)
			switch {
			case err != nil:
				t.Errorf("%s: %v", from, err)
			case greeting.code == 220:
				let++
				open = append(open, a)
			case greeting.code == 421:
				turned++
				a.close()
			default:
				t.Errorf("%s: %s", from, greeting)
			}
		}
		return let, turned
	}
	expect := func(who string, let, wantLet int) {
		t.Helper()
		if let != wantLet {
			t.Errorf("%s: %d connections were let in, not %d", who, let, wantLet)
		}
	}
	near := func(n int) netip.Addr { return netip.AddrFrom4([4]byte{127, 200, 1, byte(n)}) }
	let, _ := flood(near(1), 100)
	expect("one address", let, 10)
	let, _ = flood(near(2), 20)
	expect("its neighbour", let, 10)
	let, _ = flood(near(3), 20)
	expect("their network", let, 5)
	let, _ = flood(stranger(1), 1)
	expect("somebody else", let, 1)
	rest := 0
	for i := range 10 {
		let, _ = flood(stranger(10+i), 5)
		rest += let
	}
	if rest > 60-26 || rest < 60-30 { // a connection that was turned away may not be gone yet
		t.Errorf("the rest: %d connections were let in, not %d", rest, 60-26)
	}
	for _, a := range open {
		a.close()
	}
	open = nil
	a := w.mustAttackSoon(t, stranger(2), w.mx())
	if r := a.say("EHLO siege.example"); r.code != 250 {
		t.Errorf("after the flood: %s", r)
	}
}

// mustAttackSoon waits until there is room.
func (w *world) mustAttackSoon(t *testing.T, from netip.Addr, to string) *attacker {
	t.Helper()
	for ctx := soon(t); ctx.Err() == nil; {
		a, greeting, err := attack(context.WithoutCancel(ctx), from, to, nil)
		if err == nil && greeting.code == 220 {
			t.Cleanup(a.close)
			return a
		}
		if err == nil {
			a.close()
		}
		if err == nil && !strings.HasPrefix(greeting.text, "421") {
			t.Fatal(greeting)
		}
	}
	t.Fatalf("there is no room on %s", to)
	return nil
}
