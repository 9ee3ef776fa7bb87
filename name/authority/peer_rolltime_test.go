package authority

import (
	"maps"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stagecoach/lab/peer"
	"stagecoach/rfc/dns"
)

// The same in real time, in which all but the TTLs goes 1,800 times as fast: Unbound, which
// remembers what it may, and delv validate every answer, again and again. It takes two minutes, and
// is for AUTHORITY_ROLL=1.
func TestRollOversInRealTime(t *testing.T) {
	if os.Getenv("AUTHORITY_ROLL") == "" {
		t.Skip("AUTHORITY_ROLL is not set")
	}
	peer.Need(t, "unbound", "delv")
	s := &Signing{Dir: t.TempDir(), Split: true, Roll: 15 * time.Second, haste: 1800}
	files := maps.Clone(rollFiles)
	for name, text := range files {
		files[name] = strings.ReplaceAll(strings.ReplaceAll(text, " 300 ", " 1 "), " 1 1 1 60", " 1 1 1 1")
	}
	r := &rollRide{t: t, signers: map[string]map[uint16]bool{"example.": {}, "kid.example.": {}}, ttl: "1", caching: true, now: new(atomic.Int64)}
	r.a, r.at, _, _ = start(t, files, func(a *Authority) { a.Signing, a.Poll = s, 200*time.Millisecond })
	r.a.Resolver = client(r.at, dns.TCP, dns.Key{})
	r.begin(s)
	first, began := r.ofParent, time.Now()
	rolled := false
	for time.Since(began) < 125*time.Second {
		if !rolled && time.Since(began) > 5*time.Second {
			rolled = true
			if err := s.RollKSK("kid.example", time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		if ds := r.wanted(); ds != r.asked {
			r.asked, r.askedAt = ds, time.Now()
		}
		if r.asked != r.ofParent && time.Since(r.askedAt) > 3*time.Second {
			r.parentTakes(r.asked)
		}
		r.validate()
		time.Sleep(500 * time.Millisecond)
	}
	r.ended(first)
}
