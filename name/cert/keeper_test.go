package cert

import (
	"bufio"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"stagecoach/rfc/dns"
)

// put writes a certificate into the zone, and takes others away.
func (w *world) put(host string, leaf *x509.Certificate, chain ...*x509.Certificate) {
	w.zone.edit(func(rrs []dns.RR) []dns.RR {
		var out []dns.RR
		for _, rr := range rrs {
			t, ok := rr.(*dns.TLSARecord)
			if !ok || kindOf(t) == kindRequest || dns.Canonical(t.Hdr.Name) != Owner(host) {
				out = append(out, rr)
			}
		}
		out = append(out, record(Owner(host), kindLeaf, leaf.Raw))
		for _, c := range chain {
			out = append(out, record(Owner(host), kindChain, c.Raw))
		}
		return out
	})
}

func (w *world) look(k *Keeper) {
	w.t.Helper()
	if err := k.Look(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) sign(key crypto.Signer, from, until time.Time, names ...string) *x509.Certificate {
	leaf, _ := w.ca.sign(key.Public(), names, from, until)
	return leaf
}

// What is shown is never replaced by something worse, and what is wrong is said.
func TestNothingWorse(t *testing.T) {
	w := newWorld(t, 90*day)
	k := w.keeper("smtp.x.example")
	now := time.Now()
	w.look(k)
	if s := k.Status(); !s.SelfMade || s.Alarm == "" || len(w.zone.shelf("smtp.x.example").requests) != 1 {
		t.Fatalf("at first: %+v", s)
	}
	good := w.sign(w.key, now.Add(-time.Hour), now.Add(80*day), "smtp.x.example")
	w.put("smtp.x.example", good, w.ca.cert)
	w.look(k)
	if s := k.Status(); s.SelfMade || s.Alarm != "" {
		t.Fatalf("with a good one: %+v", s)
	}
	other := newFakeCA(t, w.zone, day)
	for name, c := range map[string]struct {
		leaf  *x509.Certificate
		alarm string
	}{
		"expired":         {w.sign(w.key, now.Add(-9*day), now.Add(-day), "smtp.x.example"), "expired"},
		"not yet":         {w.sign(w.key, now.Add(day), now.Add(90*day), "smtp.x.example"), "not valid before"},
		"another key":     {w.sign(newKey(t), now, now.Add(90*day), "smtp.x.example"), "another key"},
		"another name":    {w.sign(w.key, now, now.Add(90*day), "mx.x.example"), "mx.x.example"},
		"one name more":   {w.sign(w.key, now, now.Add(90*day), "mx.x.example", "smtp.x.example"), "mx.x.example"},
		"unsigned":        {w.self(other, now), "signed"},
		"older than ours": {w.sign(w.key, now.Add(-2*time.Hour), now.Add(90*day), "smtp.x.example"), ""},
	} {
		w.put("smtp.x.example", c.leaf, w.ca.cert)
		w.look(k)
		if s := k.Status(); !strings.Contains(s.Alarm, c.alarm) || (c.alarm == "") != (s.Alarm == "") {
			t.Errorf("%s: %+v", name, s)
		}
		if !k.current.Load().leaf.Equal(good) {
			t.Errorf("%s: it replaced the good one", name)
		}
	}
	w.zone.edit(func(rrs []dns.RR) []dns.RR {
		rr := record(Owner("smtp.x.example"), kindLeaf, []byte("broken"))
		return append(rrs[:1:1], rr)
	})
	w.look(k)
	if s := k.Status(); s.Alarm == "" || !k.current.Load().leaf.Equal(good) {
		t.Errorf("broken: %+v", s)
	}
	w.zone.edit(func([]dns.RR) []dns.RR { return nil })
	w.look(k)
	if !k.current.Load().leaf.Equal(good) || len(w.zone.shelf("smtp.x.example").requests) != 1 {
		t.Error("an empty zone: the request does not come back, or the certificate went")
	}
	w.zone.down = true
	if err := k.Look(t.Context()); !errors.Is(err, errDown) || !k.current.Load().leaf.Equal(good) {
		t.Errorf("no name server: %v", err)
	}
}

// self has another authority of the same name sign.
func (w *world) self(other *fakeCA, now time.Time) *x509.Certificate {
	leaf, _ := other.sign(w.key.Public(), []string{"smtp.x.example"}, now, now.Add(day))
	return leaf
}

// A restart shows the last good certificate at once, and writes nothing.
func TestKeeperRestarts(t *testing.T) {
	w := newWorld(t, 90*day)
	k := w.keeper("smtp.x.example")
	now := time.Now()
	w.look(k)
	good := w.sign(w.key, now.Add(-time.Hour), now.Add(80*day), "smtp.x.example")
	w.put("smtp.x.example", good, w.ca.cert)
	w.look(k)
	before := w.zone.updates
	for range 10 {
		k = w.keeper("smtp.x.example")
		if !k.current.Load().leaf.Equal(good) {
			t.Fatal("not shown after a restart")
		}
		w.look(k)
	}
	if w.zone.updates != before {
		t.Errorf("%d updates by restarts", w.zone.updates-before)
	}
	files, err := filepath.Glob(filepath.Join(w.dir, "keeper", "*"))
	if err != nil || len(files) != 3 {
		t.Errorf("files: %v, %v", files, err)
	}
	for _, f := range files {
		if info, err := os.Stat(f); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f, info.Mode(), err)
		}
		if err := os.WriteFile(f, []byte("{damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	k = w.keeper("smtp.x.example")
	if s := k.Status(); !s.SelfMade {
		t.Errorf("after damage: %+v", s)
	}
	w.look(k)
	if !k.current.Load().leaf.Equal(good) {
		t.Error("after damage the zone has it still")
	}
	pair, err := k.GetCertificate(nil)
	if err != nil || len(pair.Certificate) != 2 {
		t.Errorf("%d certificates are shown, %v", len(pair.Certificate), err)
	}
}

// Two services with different keys for one name do not replace each other's request for ever.
func TestTwoKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 90*day)
		a := w.keeper("smtp.x.example")
		b := &Keeper{Names: a.Names, Key: newKey(t), Zone: a.Zone, Primary: w.zone, Dir: t.TempDir(), Log: testLog(t)}
		if err := b.Load(); err != nil {
			t.Fatal(err)
		}
		w.start()
		stop := background(t, func(ctx context.Context) { a.Run(ctx) }, func(ctx context.Context) { b.Run(ctx) })
		time.Sleep(7 * day)
		synctest.Wait()
		if made, _ := w.ca.counts(); made > 8 {
			t.Errorf("%d orders in a week", made)
		}
		if !strings.Contains(a.Status().Alarm+b.Status().Alarm, "another") {
			t.Errorf("no alarm: %+v %+v", a.Status(), b.Status())
		}
		stop()
		w.stop()
	})
}

// A new key is pinned before it is used, and the old pin stays until it is out of every cache.
func TestPins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 90*day)
		w.start()
		pins := func() (out string) {
			for _, rr := range w.zone.read("_25._tcp.mx.x.example", dns.TypeTLSA) {
				out += rr.(*dns.TLSARecord).Certificate + " "
			}
			return out
		}
		run := func() (*Keeper, func()) {
			k := w.keeper("mx.x.example")
			k.Pins = []string{"_25._tcp.mx.x.example"}
			return k, background(t, func(ctx context.Context) { k.Run(ctx) })
		}
		k, stop := run()
		time.Sleep(time.Minute)
		w.expect(1, 1)
		first := pinOf(k.request.key)
		if pins() != first+" " {
			t.Errorf("pins: %s", pins())
		}
		stop()
		w.key = newKey(t)
		k, stop = run()
		second := pinOf(k.request.key)
		time.Sleep(time.Minute)
		w.expect(2, 2)
		shown := func() string { return pinOf(k.current.Load().leaf.RawSubjectPublicKeyInfo) }
		if shown() != first || pins() != first+" "+second+" " {
			t.Errorf("a new key is used before everybody knows it, or not pinned: %s", pins())
		}
		time.Sleep(time.Hour)
		if shown() != first {
			t.Error("the new key is used too early")
		}
		time.Sleep(time.Hour)
		if shown() != second || pins() != first+" "+second+" " {
			t.Errorf("the new key is not used, or the old pin went too early: %s", pins())
		}
		time.Sleep(3 * time.Hour)
		if pins() != second+" " {
			t.Errorf("the old pin stays: %s", pins())
		}
		w.stop()
		stop()
	})
}

// A renewal under 200 open sessions: all go on, and new ones see the new certificate.
func TestSessionsOutliveRenewal(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 90*day)
	k := w.keeper("smtp.x.example")
	now := time.Now()
	old := w.sign(w.key, now.Add(-day), now.Add(day), "smtp.x.example")
	w.put("smtp.x.example", old, w.ca.cert)
	w.look(k)
	background(t, func(ctx context.Context) { k.Run(ctx) })
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{GetCertificate: k.GetCertificate})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go echo(l)
	pool := x509.NewCertPool()
	pool.AddCert(w.ca.cert)
	dial := func() *tls.Conn {
		c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: pool, ServerName: "smtp.x.example"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	conns := make([]*tls.Conn, 200)
	for i := range conns {
		conns[i] = dial()
	}
	renewed := w.sign(w.key, now, now.Add(90*day), "smtp.x.example")
	start := time.Now()
	w.put("smtp.x.example", renewed, w.ca.cert)
	until(t, "a handshake with the new one", func() bool { return dial().ConnectionState().PeerCertificates[0].Equal(renewed) })
	t.Logf("seen after %v", time.Since(start))
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("it took %v", d)
	}
	for i, c := range conns {
		fmt.Fprintf(c, "%d\n", i)
		if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || line != fmt.Sprintf("%d\n", i) {
			t.Fatalf("session %d: %q, %v", i, line, err)
		}
	}
}

func echo(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			r := bufio.NewReader(c)
			for {
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				fmt.Fprint(c, line)
			}
		}()
	}
}

func TestKeeperRefusesNonsense(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, names := range [][]string{nil, {"*.x.example"}, {"smtp.y.example"}, {"smtp.x.example", "mx.y.example"}, {"a b.x.example"}, {"../x.example"}} {
		k := &Keeper{Names: names, Key: key, Zone: "x.example", Primary: newMemZone(), Dir: t.TempDir()}
		if err := k.Load(); err == nil {
			t.Errorf("%q is taken", names)
		}
	}
}
