package resolver

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"stagecoach/rfc/dns"
	"stagecoach/rfc/dns/dnstest"
)

// A root is a root server that knows its keys and nothing else.
type root struct {
	mu      sync.Mutex
	keys    []*dnstest.Key
	signers []*dnstest.Key
	down    bool
}

func (r *root) set(keys, signers []*dnstest.Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keys, r.signers = keys, signers
}

func (r *root) answer(query []byte) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	var q dns.Msg
	if r.down || q.Unpack(query) != nil {
		return nil
	}
	m := dns.NewResponse(&q, dns.RcodeSuccess)
	m.Authoritative = true
	sign := func(set []dns.RR) {
		m.Answer = append(m.Answer, set...)
		for _, k := range r.signers {
			sig, err := k.Sign(set, time.Now().Add(-time.Hour), time.Now().Add(14*24*time.Hour))
			if err != nil {
				panic(err)
			}
			m.Answer = append(m.Answer, sig)
		}
	}
	switch q.Question[0].Qtype {
	case dns.TypeDNSKEY:
		var set []dns.RR
		for _, k := range r.keys {
			set = append(set, k.Record)
		}
		sign(set)
	case dns.TypeNS:
		m.Answer = append(m.Answer, dns.MustParseRR(". 86400 NS ns.root."))
		m.Extra = append(m.Extra, dns.MustParseRR("ns.root. 86400 A 1.0.0.1"))
	}
	wire, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return wire
}

func (r *root) UDP(ctx context.Context, _ netip.AddrPort, query []byte, accept func([]byte) bool) error {
	if raw := r.answer(query); raw != nil && accept(raw) {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (r *root) TCP(_ context.Context, _ netip.AddrPort, query []byte) ([]byte, error) {
	if raw := r.answer(query); raw != nil {
		return raw, nil
	}
	return nil, errors.New("down")
}

func rootTestKey(t *testing.T) *dnstest.Key {
	t.Helper()
	k, err := dnstest.NewKey(".", dnstest.Ed25519, 257)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// states returns the state of each key in the file, by tag.
func states(t *testing.T, file string) map[uint16]string {
	t.Helper()
	keys, err := readRootKeys(file)
	if err != nil {
		t.Fatal(err)
	}
	out := map[uint16]string{}
	for _, k := range keys {
		out[k.rr.KeyTag()] = k.state
	}
	return out
}

// TestRollover takes the root's key through all that RFC 5011 section 4 has for it.
func TestRollover(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		old, next := rootTestKey(t), rootTestKey(t)
		world := &root{}
		world.set([]*dnstest.Key{old}, []*dnstest.Key{old})
		file := filepath.Join(dir, "anchors")
		r := &Resolver{Network: world, Hints: []netip.Addr{netip.MustParseAddr("1.0.0.1")}, Anchors: []dns.RR{old.DS(2)}, AnchorFile: file}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		wait := func(d time.Duration) {
			time.Sleep(d)
			synctest.Wait()
		}
		expect := func(k *dnstest.Key, want string) {
			t.Helper()
			if have := states(t, file)[k.Record.KeyTag()]; have != want {
				t.Fatalf("key %d is %q, want %q", k.Record.KeyTag(), have, want)
			}
		}
		wait(time.Minute)
		expect(old, valid)

		world.set([]*dnstest.Key{old, next}, []*dnstest.Key{old})
		wait(24 * time.Hour)
		expect(next, pending)
		wait(20 * 24 * time.Hour)
		expect(next, pending)
		wait(11 * 24 * time.Hour)
		expect(next, valid)

		// The old key takes itself back; from then on the new one counts alone.
		before := old.Record.KeyTag()
		old.Revoke()
		world.set([]*dnstest.Key{old, next}, []*dnstest.Key{old, next})
		wait(2 * 24 * time.Hour)
		if have := states(t, file)[before]; have != revoked {
			t.Fatalf("the key that revoked itself is %q", have)
		}
		world.set([]*dnstest.Key{next}, []*dnstest.Key{next})
		wait(40 * 24 * time.Hour)
		if have := states(t, file); len(have) != 1 || have[next.Record.KeyTag()] != valid {
			t.Fatalf("in the end: %v", have)
		}

		q := dns.NewQuery(".", dns.TypeDNSKEY)
		if m, err := r.Exchange(ctx, q); err != nil || !m.AuthenticatedData {
			t.Errorf("with the new key alone: %v %v", m, err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}

		// A resolver that begins with the file knows, whatever it was built with.
		r = &Resolver{Network: world, Hints: r.Hints, Anchors: []dns.RR{old.DS(2)}, AnchorFile: file}
		if m, err := r.Exchange(t.Context(), q); err != nil || !m.AuthenticatedData {
			t.Errorf("after a restart: %v %v", m, err)
		}
	})
}

// TestRolloverOfAThief has a stranger's key in an unsigned, or wrongly signed, set: it never
// becomes pending.
func TestRolloverOfAThief(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		own, thief := rootTestKey(t), rootTestKey(t)
		world := &root{}
		world.set([]*dnstest.Key{own, thief}, []*dnstest.Key{thief})
		file := filepath.Join(dir, "anchors")
		r := &Resolver{Network: world, Hints: []netip.Addr{netip.MustParseAddr("1.0.0.1")}, Anchors: []dns.RR{own.DS(2)}, AnchorFile: file}
		r.start()
		if _, err := r.refreshAnchors(); err == nil || !strings.Contains(err.Error(), "bogus") {
			t.Errorf("a set that only the thief signed: %v", err)
		}
		if _, err := os.Stat(file); err == nil {
			t.Error("a state was written")
		}
	})
}

// TestRolloverFile refuses a file that is damaged, and goes on with what is built in.
func TestRolloverFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "anchors")
	for _, text := range []string{"nonsense\n", ". DNSKEY 257 3 15 AAAA ;; unknown 2026-01-01T00:00:00Z\n", ". DNSKEY 257 3 15 AAAA ;; valid yesterday\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readRootKeys(file); err == nil {
			t.Errorf("%q was read", text)
		}
	}
	r := &Resolver{AnchorFile: file}
	r.start()
	if _, d := r.anchors.over("."); len(d) != 2 {
		t.Errorf("%d anchors", len(d))
	}
}
