package cert

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"stagecoach/rfc/dns"
)

const day = 24 * time.Hour

func ariID(c *x509.Certificate) string {
	id, err := acme.ARIUniqueIdentifier(c)
	if err != nil {
		panic(err)
	}
	return id
}

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// A world is a zone, an authority, and an issuer between the two.
type world struct {
	t       *testing.T
	zone    *memZone
	ca      *fakeCA
	issuer  *Issuer
	key     crypto.Signer
	dir     string
	stop    func()
	account crypto.Signer
}

func newWorld(t *testing.T, life time.Duration) *world {
	w := &world{t: t, zone: newMemZone(), dir: t.TempDir(), key: newKey(t), account: newKey(t)}
	w.ca = newFakeCA(t, w.zone, life)
	return w
}

// start runs an issuer, as a process does that was just started.
func (w *world) start() {
	w.t.Helper()
	w.issuer = &Issuer{
		Zones: []string{"x.example"}, Primary: w.zone, Account: Account{Key: w.account}, Directory: w.ca.url + "/dir",
		HTTP: w.ca.client(), Dir: filepath.Join(w.dir, "issuer"), Log: testLog(w.t),
	}
	if err := w.issuer.Load(); err != nil {
		w.t.Fatal(err)
	}
	w.stop = background(w.t, func(ctx context.Context) { w.issuer.Run(ctx) })
}

func (w *world) keeper(names ...string) *Keeper {
	w.t.Helper()
	k := &Keeper{Names: names, Key: w.key, Zone: "x.example", Primary: w.zone, Dir: filepath.Join(w.dir, "keeper"), Log: testLog(w.t)}
	if err := k.Load(); err != nil {
		w.t.Fatal(err)
	}
	return k
}

// request writes a request by hand.
func (w *world) request(owner string, key crypto.Signer, names ...string) {
	w.t.Helper()
	der, err := Request(key, false, names...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.zone.edit(func(rrs []dns.RR) []dns.RR { return append(rrs, record(owner, kindRequest, der)) })
}

func (w *world) expect(made, issued int) {
	w.t.Helper()
	synctest.Wait()
	if m, i := w.ca.counts(); m != made || i != issued {
		w.t.Errorf("%d orders and %d certificates, want %d and %d", m, i, made, issued)
	}
}

func (w *world) leaf(host string) *x509.Certificate {
	w.t.Helper()
	s := w.zone.shelf(host)
	if len(s.leaves) != 1 || len(s.chain) != 1 || len(s.requests) != 1 {
		w.t.Fatalf("%s has %d certificates, %d above, %d requests", host, len(s.leaves), len(s.chain), len(s.requests))
	}
	return s.leaves[0]
}

// A certificate of 45 days is renewed at a third of its life before its end, one of 90 days
// too, one of 30 days at 14; each once, and the old one leaves the zone.
func TestRenewal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ life, after time.Duration }{{90 * day, 60 * day}, {45 * day, 30 * day}, {30 * day, 16 * day}, {6 * day, 3 * day}} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, c.life)
			w.start()
			w.request(Owner("smtp.x.example"), w.key, "smtp.x.example")
			time.Sleep(time.Minute)
			w.expect(1, 1)
			first := w.leaf("smtp.x.example")
			time.Sleep(c.after - time.Hour)
			w.expect(1, 1)
			time.Sleep(2 * time.Hour)
			w.expect(2, 2)
			if second := w.leaf("smtp.x.example"); second.Equal(first) {
				t.Error("it is the old one")
			}
			w.stop()
		})
	}
}

// The authority can have a certificate renewed earlier (RFC 9773), and is told which one is
// replaced.
func TestRenewalInformation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 90*day)
		revoked, revokedAt := false, time.Time{}
		w.ca.window = func(c *x509.Certificate) (time.Time, time.Time) {
			if revoked && c.NotBefore.Before(revokedAt) {
				return time.Now().Add(-2 * time.Hour), time.Now().Add(-time.Hour)
			}
			return c.NotBefore.Add(50 * day), c.NotBefore.Add(51 * day)
		}
		w.start()
		w.request(Owner("smtp.x.example"), w.key, "smtp.x.example")
		time.Sleep(50 * day)
		w.expect(1, 1)
		time.Sleep(day + time.Hour)
		w.expect(2, 2)
		w.ca.set(func() { revoked, revokedAt = true, time.Now() })
		time.Sleep(7 * time.Hour)
		w.expect(3, 3)
		if r := w.ca.replaces; len(r) != 3 || r[0] != "" || r[1] == "" {
			t.Errorf("replaced: %q", w.ca.replaces)
		}
		w.stop()
	})
}

// A hundred starts in a row order once, whether the order goes through, fails, or is cut off at
// any moment.
func TestRestartStorm(t *testing.T) {
	t.Parallel()
	for name, run := range map[string]func(*world){
		"all goes well":     func(w *world) { time.Sleep(time.Minute) },
		"killed at once":    func(w *world) { time.Sleep(time.Millisecond) },
		"killed in between": func(w *world) { time.Sleep(1500 * time.Millisecond) },
		"it fails": func(w *world) {
			w.ca.set(func() {
				w.ca.refuse = func(path string) (int, string, http.Header) {
					if strings.HasPrefix(path, "/finalize") {
						return 403, "unauthorized", nil
					}
					return 0, "", nil
				}
			})
			time.Sleep(3 * time.Second)
		},
		"the client deletes the certificate": func(w *world) {
			time.Sleep(3 * time.Second)
			w.zone.edit(func([]dns.RR) []dns.RR { return nil })
			w.request(Owner("smtp.x.example"), w.key, "smtp.x.example")
			time.Sleep(3 * time.Second)
			w.leaf("smtp.x.example")
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 90*day)
				w.request(Owner("smtp.x.example"), w.key, "smtp.x.example")
				for range 100 {
					w.start()
					run(w)
					w.stop()
				}
				made, _ := w.ca.counts()
				if made > 1 {
					t.Errorf("%d orders", made)
				}
				t.Logf("%d orders", made)
			})
		})
	}
}

// While the authority is away, or refuses, it is asked ever less often, and the certificate
// comes when it is back.
func TestOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 90*day)
		w.start()
		k := w.keeper("smtp.x.example")
		stop := background(t, func(ctx context.Context) { k.Run(ctx) })
		time.Sleep(time.Minute)
		w.expect(1, 1)
		w.ca.set(func() { w.ca.down, w.ca.requests = true, 0 })
		time.Sleep(89 * day)
		synctest.Wait()
		n := w.ca.asked()
		t.Logf("%d requests to an authority that is away for 29 days of trying", n)
		if n < 100 || n > 5000 {
			t.Errorf("%d requests", n)
		}
		if s := k.Status(); s.SelfMade || s.Alarm == "" {
			t.Errorf("status: %+v", s)
		}
		if s := w.issuer.Status()[0]; s.Failures < 10 || s.Error == "" || s.Next.IsZero() {
			t.Errorf("status: %+v", s)
		}
		w.ca.set(func() { w.ca.down = false })
		time.Sleep(2 * time.Hour)
		w.expect(2, 2)
		if s := k.Status(); s.Alarm != "" || s.Left < 89*day {
			t.Errorf("status: %+v", s)
		}
		stop()
		w.stop()
	})
}

func TestFailuresAreFewer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 90*day)
		w.ca.refuse = func(path string) (int, string, http.Header) {
			if strings.HasPrefix(path, "/finalize") {
				return 403, "badCSR", nil
			}
			return 0, "", nil
		}
		w.start()
		w.request(Owner("smtp.x.example"), w.key, "smtp.x.example")
		time.Sleep(time.Hour)
		synctest.Wait()
		if made, _ := w.ca.counts(); made < 2 || made > 4 {
			t.Errorf("%d orders in an hour", made)
		}
		time.Sleep(30 * day)
		synctest.Wait()
		if made, _ := w.ca.counts(); made > 75 {
			t.Errorf("%d orders in a month", made)
		}
		w.stop()
	})
}

func TestRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 90*day)
		w.ca.refuse = func(path string) (int, string, http.Header) {
			if path == "/new" {
				return 429, "rateLimited", http.Header{"Retry-After": {"172800"}}
			}
			return 0, "", nil
		}
		w.start()
		w.request(Owner("smtp.x.example"), w.key, "smtp.x.example")
		time.Sleep(time.Hour)
		w.ca.set(func() { w.ca.refuse, w.ca.requests = nil, 0 })
		time.Sleep(46 * time.Hour)
		w.expect(0, 0)
		if n := w.ca.asked(); n != 0 {
			t.Errorf("%d requests meanwhile", n)
		}
		time.Sleep(2 * time.Hour)
		w.expect(1, 1)
		w.stop()
	})
}

// Whoever changes the request all the time gets four certificates a week.
func TestGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 90*day)
		w.start()
		for range 40 {
			w.zone.edit(func([]dns.RR) []dns.RR { return nil })
			w.request(Owner("smtp.x.example"), newKey(t), "smtp.x.example")
			time.Sleep(3 * time.Hour)
		}
		w.expect(4, 4)
		time.Sleep(3 * day)
		w.expect(5, 5)
		w.stop()
	})
}

func TestWhichRequestsAreAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 90*day)
		w.request(Owner("two.x.example"), w.key, "two.x.example")
		w.request(Owner("two.x.example"), newKey(t), "two.x.example")
		w.request(Owner("thief.x.example"), w.key, "bank.x.example")
		w.request(Owner("greedy.x.example"), w.key, "greedy.x.example", "mx.x.example")
		w.request(Owner("out.x.example"), w.key, "out.x.example", "out.y.example")
		w.request(Owner("good.x.example"), w.key, "good.x.example", "*.good.x.example")
		w.request(Owner("pair.x.example"), w.key, "pair.x.example", "twin.x.example")
		w.request(Owner("twin.x.example"), w.key, "pair.x.example", "twin.x.example")
		w.zone.edit(func(rrs []dns.RR) []dns.RR {
			return append(rrs, record(Owner("junk.x.example"), kindRequest, []byte("junk")), record(Owner("cert.x.example"), kindLeaf, w.ca.cert.Raw),
				dns.MustParseRR("_25._tcp.x.example. 60 TLSA 3 1 1 00"))
		})
		w.start()
		time.Sleep(5 * time.Minute)
		w.expect(2, 2)
		w.leaf("good.x.example")
		w.leaf("pair.x.example")
		wrong := 0
		for _, s := range w.issuer.Status() {
			if s.Error != "" {
				wrong++
			}
		}
		if wrong != 5 {
			t.Errorf("status: %+v", w.issuer.Status())
		}
		if rrs := w.zone.read("_acme-challenge.good.x.example", dns.TypeTXT); len(rrs) > 0 {
			t.Errorf("left behind: %v", rrs)
		}
		w.stop()
	})
}

// A challenge that a killed process left behind goes, and one of somebody else stays.
func TestChallengesLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 90*day)
		w.zone.edit(func(rrs []dns.RR) []dns.RR {
			return append(rrs, dns.MustParseRR("_acme-challenge.smtp.x.example. 60 TXT somebody"))
		})
		w.request(Owner("smtp.x.example"), w.key, "smtp.x.example")
		w.zone.allow(func(m *dns.Msg) bool { // the issuer cannot remove
			for _, rr := range m.Ns {
				if rr.Header().Class == dns.ClassNONE && rr.Header().Rrtype == dns.TypeTXT {
					return false
				}
			}
			return true
		})
		w.start()
		time.Sleep(time.Minute)
		w.stop()
		if n := len(w.zone.read("_acme-challenge.smtp.x.example", dns.TypeTXT)); n != 2 {
			t.Fatalf("%d texts", n)
		}
		w.zone.allow(nil)
		w.start()
		time.Sleep(2 * time.Hour)
		if n := len(w.zone.read("_acme-challenge.smtp.x.example", dns.TypeTXT)); n != 1 {
			t.Errorf("%d texts", n)
		}
		w.expect(1, 1)
		w.stop()
	})
}

// An order waits for every name server, and ends if one does not follow; one that is silent
// is not waited for.
func TestPropagation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 90*day)
		stale := newMemZone()
		w.start()
		w.issuer.exchange = func(at netip.AddrPort) dns.Exchanger {
			switch at.Addr().String() {
			case "192.0.2.1":
				return w.zone
			case "192.0.2.2":
				return stale
			}
			return dns.ExchangerFunc(func(context.Context, *dns.Msg) (*dns.Msg, error) { return nil, errors.New("silence") })
		}
		w.zone.edit(func(rrs []dns.RR) []dns.RR {
			for _, text := range []string{"x.example. 60 NS a.x.example.", "x.example. 60 NS b.x.example.", "x.example. 60 NS c.x.example.",
				"a.x.example. 60 A 192.0.2.1", "b.x.example. 60 A 192.0.2.2", "c.x.example. 60 A 192.0.2.3"} {
				rrs = append(rrs, dns.MustParseRR(text))
			}
			return rrs
		})
		w.request(Owner("smtp.x.example"), w.key, "smtp.x.example")
		time.Sleep(10 * time.Minute)
		w.expect(1, 0)
		if s := w.issuer.Status()[0]; !strings.Contains(s.Error, "192.0.2.2") {
			t.Errorf("%+v", s)
		}
		w.issuer.Wake()
		time.Sleep(time.Minute)
		follow := background(t, func(ctx context.Context) { // the secondary follows, late
			for ctx.Err() == nil {
				w.zone.mu.Lock()
				rrs := append([]dns.RR(nil), w.zone.rrs...)
				w.zone.mu.Unlock()
				sleep(ctx, 30*time.Second)
				stale.edit(func([]dns.RR) []dns.RR { return rrs })
			}
		})
		time.Sleep(time.Hour)
		w.expect(1, 1) // the same order
		follow()
		w.stop()
	})
}
