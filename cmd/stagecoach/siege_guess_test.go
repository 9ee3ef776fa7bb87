package main

import (
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"stagecoach/lab"
	"stagecoach/rfc/smtp"
	"stagecoach/stage/submit"
)

// tally counts the replies to logins that are tried at the same time.
type tally struct {
	mu    sync.Mutex
	count map[int]int
	all   sync.WaitGroup
}

func newTally() *tally { return &tally{count: map[int]int{}} }

// login tries to log in once, on a connection of its own.
func (c *tally) login(t *testing.T, w *world, from netip.Addr, user, password string) {
	c.all.Go(func() {
		code := 0
		if a, _, err := attack(t.Context(), from, w.at(465), w.clientTLS()); err == nil {
			defer a.close()
			code = a.all("EHLO siege.example", plainAuth(user, password)).code
		} else {
			t.Error(err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.count[code]++
	})
}

// wait returns how many were answered with 535, which tells something, and with 454.
func (c *tally) wait() (told, later int) {
	c.all.Wait()
	return c.count[535], c.count[454]
}

// S27: guessing at passwords is capped by where it comes from and by whom it is about, and
// does not lock out who logs in from where he always does.
func TestGuessingOverTheWire(t *testing.T) {
	t.Parallel()
	w := testWorld(t)
	w.cheapLogin(t, annsMailbox+"@"+lab.BigMailDomain)
	serveWith(t, w, func(c *config) { c.Log.Level = "none" })
	home, ann := stranger(1), "ann@"+w.domain
	w.login(t, home)

	one, many, spray, near := newTally(), newTally(), newTally(), newTally()
	for i := range 40 {
		one.login(t, w, stranger(2), fmt.Sprintf("user%d", i), "wrong")                             // many names from one address
		many.login(t, w, stranger(100+i), ann, fmt.Sprintf("guess%d", i))                           // one name from everywhere
		spray.login(t, w, stranger(200+i), fmt.Sprintf("user%d", i), "Summer2026")                  // one password for all: only the place can tell
		near.login(t, w, netip.AddrFrom4([4]byte{127, 199, 1, byte(i + 1)}), "user"+itoa(i), "abc") // from one network
	}
	for _, c := range []struct {
		name string
		*tally
		told int
	}{{"one address", one, 10}, {"one account", many, 20}, {"everywhere", spray, 40}, {"one network", near, 30}} {
		told, later := c.wait()
		if told > c.told || told < c.told/2 || told+later != 40 {
			t.Errorf("%s: %d guesses were answered, %d put off; the cap is %d", c.name, told, later, c.told)
		}
	}
	w.login(t, home)
	last := newTally()
	last.login(t, w, stranger(300), ann, w.password)
	if _, later := last.wait(); later != 1 {
		t.Errorf("the right password from where Ann never was, after the guessing: %v", last.count)
	}
}

// S28: how long a login takes does not say whether the user exists.
func TestLoginTiming(t *testing.T) {
	w := testWorld(t)
	w.loginOfCost(t, annsMailbox+"@"+lab.BigMailDomain, 16<<10)
	address := w.bareSubmission(t)
	a, _, err := attack(t.Context(), stranger(1), address, w.clientTLS())
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	a.say("EHLO siege.example")
	measure := func() (real, unreal time.Duration) {
		took := map[string][]time.Duration{}
		users := []string{"ann@" + w.domain, "abe@" + w.domain}
		for range 40 {
			// In no fixed order: each check leaves garbage, which every second or third one collects.
			rand.Shuffle(2, func(i, j int) { users[i], users[j] = users[j], users[i] })
			for _, user := range users {
				start := time.Now()
				if r := a.say(plainAuth(user, "wrong")); r.code != 535 {
					t.Fatal(r)
				}
				took[user[:3]] = append(took[user[:3]], time.Since(start))
			}
		}
		slices.Sort(took["ann"])
		slices.Sort(took["abe"])
		return took["ann"][20], took["abe"][20]
	}
	// On a busy machine a median moves too: one round of three that is even is enough, since
	// a difference that a guesser could use stands in all of them.
	for range 3 {
		real, unreal := measure()
		ratio := float64(unreal) / float64(real)
		t.Logf("medians: %v for Ann, %v for nobody, ratio %.3f", real, unreal, ratio)
		if ratio > 0.9 && ratio < 1.1 {
			return
		}
		a.conn.SetDeadline(time.Now().Add(time.Minute))
	}
	t.Error("the time of a login tells whether the user exists")
}

// bareSubmission serves port 465 as the service does, but without the waits after a wrong
// password and the limits on them, which would hide the work behind it.
func (w *world) bareSubmission(t *testing.T) string {
	t.Helper()
	cfg, err := w.config()
	if err != nil {
		t.Fatal(err)
	}
	p, err := newProcess(t.Context(), runOptions{Log: logOptions{Level: "none"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.shutdown() })
	accounts, err := p.accounts(cfg.identityOptions, cfg.Users)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := p.certificate(cfg.TLS, cfg.Name)
	if err != nil {
		t.Fatal(err)
	}
	s := p.submitter(accounts, cfg.Submit, cert, nil)
	s.Guesses = submit.Guesses{AddressPerMinute: 1e6, AddressPerDay: 1e6, NetworkPerMinute: 1e6, NetworkPerDay: 1e6, AccountPerDay: 1e6, Delay: -1}
	server := &smtp.Server{
		Name: cfg.Name, TLS: cert.Config(), Auth: s, RequireAuth: true, Gate: s, Next: s,
		Limits: smtp.Limits{Errors: -1, Logins: -1, LoginDelay: 1},
	}
	if err := p.server("submissions", server, []string{w.at(465)}, func(l net.Listener) net.Listener { return tls.NewListener(l, smtp.ServerTLS(cert.Config())) }); err != nil {
		t.Fatal(err)
	}
	return w.at(465)
}
