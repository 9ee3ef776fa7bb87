package cert

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"stagecoach/rfc/dns"
)

const pinName = "_25._tcp.mx.x.example"

func (w *world) pins() []string {
	var out []string
	for _, rr := range w.zone.read(pinName, dns.TypeTLSA) {
		out = append(out, rr.(*dns.TLSARecord).Certificate)
	}
	return out
}

// pinning runs a keeper that pins, as a process does that was just started.
func (w *world) pinning() (k *Keeper, stop func()) {
	k = w.keeper("mx.x.example")
	k.Pins = []string{pinName}
	return k, background(w.t, func(ctx context.Context) { k.Run(ctx) })
}

func shownPin(k *Keeper) string { return pinOf(k.current.Load().leaf.RawSubjectPublicKeyInfo) }

// At every minute of two days with changes of the key, whatever set a cache can hold has the key
// that is shown: DANE never fails for a sender whose cache is right.
func TestPinsFitAllCaches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 90*day)
		w.start()
		k, stop := w.pinning()
		time.Sleep(time.Minute)
		first := shownPin(k)
		var past [][]string
		changes := map[string]bool{first: true}
		for minute := range 2 * 24 * 60 {
			switch minute {
			case 3 * 60, 9 * 60, 30 * 60: // the last two are restarts without and with another key
				stop()
				if minute != 9*60 {
					w.key = newKey(t)
				}
				k, stop = w.pinning()
			}
			synctest.Wait()
			past = append(past, w.pins())
			shown := shownPin(k)
			changes[shown] = true
			for age, held := range past[max(len(past)-61, 0):] {
				if !slices.Contains(held, shown) {
					t.Fatalf("minute %d: a cache that is %d minutes old does not have the key that is shown", minute, 60-age)
				}
			}
			time.Sleep(time.Minute)
		}
		if len(changes) != 3 || len(w.pins()) != 1 || w.pins()[0] != shownPin(k) {
			t.Errorf("%d keys were shown, and %d are pinned at last", len(changes), len(w.pins()))
		}
		w.stop()
		stop()
	})
}

// A key that cannot be pinned is not used as long as the old certificate is good; and a crash that
// lost what was noted only makes it wait longer.
func TestPinsUnderTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 90*day)
		w.start()
		k, stop := w.pinning()
		time.Sleep(time.Minute)
		first := shownPin(k)
		stop()
		w.key = newKey(t)
		w.zone.allow(func(m *dns.Msg) bool { return !strings.Contains(m.Ns[0].Header().Name, "_25._tcp") })
		k, stop = w.pinning()
		time.Sleep(6 * time.Hour)
		if shownPin(k) != first || len(w.zone.shelf("mx.x.example").leaves) != 1 {
			t.Error("a key that could not be pinned is used, or its certificate did not come")
		}
		w.zone.allow(nil)
		time.Sleep(61 * time.Minute)
		if shownPin(k) != first || len(w.pins()) != 2 {
			t.Error("the pin did not come, or its key is used at once")
		}
		stop()
		if err := os.Remove(filepath.Join(w.dir, "keeper", "mx.x.example.json")); err != nil {
			t.Fatal(err)
		}
		k, stop = w.pinning()
		time.Sleep(30 * time.Minute)
		if shownPin(k) != first {
			t.Error("without the note the key is used at once")
		}
		time.Sleep(2 * time.Hour)
		if shownPin(k) == first {
			t.Error("the key is never used")
		}
		stop()
		w.stop()
	})
}

// Where the old certificate has expired the new one is shown, pinned or not.
func TestPinsDoNotKeepTheExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2*day)
		w.start()
		k, stop := w.pinning()
		time.Sleep(time.Minute)
		first := shownPin(k)
		stop()
		w.key = newKey(t)
		w.zone.allow(func(m *dns.Msg) bool { return !strings.Contains(m.Ns[0].Header().Name, "_25._tcp") })
		k, stop = w.pinning()
		time.Sleep(3 * day)
		if shownPin(k) == first {
			t.Error("an expired certificate is shown for the sake of DANE")
		}
		stop()
		w.stop()
	})
}
