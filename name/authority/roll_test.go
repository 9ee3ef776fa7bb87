package authority

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"stagecoach/rfc/dns"
)

// Whatever a validator remembers, as long as TTLs let it, fits whatever else it remembers: at
// every hour of two roll-overs each signature that may be in a cache can be checked with each
// DNSKEY set that may be in one, and none has expired.
func TestRollOverFitsAllCaches(t *testing.T) {
	t.Parallel()
	s := &Signing{Dir: t.TempDir(), Split: true, Roll: 5 * 24 * time.Hour}
	text := "@ 7200 SOA ns h %d 1 1 1 7200\n@ 7200 NS ns\nns 7200 A 192.0.2.1\nlong 86400 A 192.0.2.2\n"
	const longest, keysTTL = 24, 1 // hours
	type moment struct {
		zone *Zone
		at   time.Time
		tags map[uint16]bool
		ksk  uint16
	}
	var past []moment
	var before *Zone
	at := time.Unix(1_800_000_000, 0)
	signers := map[uint16]bool{}
	for hour := range 12 * 24 {
		z := zoneOf(t, "x", fmt.Sprintf(text, hour+1))
		signed, _, err := s.sign(z, before, at)
		if err != nil {
			t.Fatal(err)
		}
		m := moment{zone: signed, at: at, tags: map[uint16]bool{}}
		for _, rr := range signed.node("x.").set(dns.TypeDNSKEY) {
			k := rr.(*dns.DNSKEYRecord)
			m.tags[k.KeyTag()] = true
			if k.Flags == flagsKSK {
				m.ksk = k.KeyTag()
			}
		}
		past = append(past, m)
		if len(past) > longest+1 {
			past = past[1:]
		}
		for i, old := range past {
			sig := sigsAt(old.zone, "long.x.", dns.TypeA)[0].(*dns.RRSIGRecord)
			signers[sig.KeyTag] = true
			if !sig.ValidityPeriod(at) {
				t.Fatalf("hour %d: a signature of hour %d has expired", hour, hour-len(past)+1+i)
			}
			for _, keys := range past[max(len(past)-1-keysTTL, 0):] {
				if !keys.tags[sig.KeyTag] {
					t.Fatalf("hour %d: no key for a signature of %d hours before", hour, len(past)-1-i)
				}
			}
			if old.ksk != m.ksk {
				t.Fatal("the KSK has changed, which the parent does not know")
			}
		}
		before = signed
		at = at.Add(time.Hour)
	}
	if len(signers) < 3 {
		t.Errorf("%d keys have signed, so there was no roll-over", len(signers))
	}
	keys, err := readKeys(s.keyFile("x."))
	if err != nil || len(keys) > 4 {
		t.Errorf("%d keys are kept, %v", len(keys), err)
	}
}

// A restart changes nothing of what is served, and signatures that are unchanged are kept.
func TestSigningIsRepeatable(t *testing.T) {
	s := &Signing{Dir: t.TempDir()}
	z := zoneOf(t, "example", exampleText)
	now := time.Unix(1_800_000_000, 0)
	a, at, err := s.sign(z, nil, now)
	if err != nil {
		t.Fatal(err)
	}
	for _, later := range []time.Duration{time.Second, epoch - 1, epoch} {
		b, at2, err := s.sign(z, nil, now.Add(later))
		if err != nil || at2 != at || !sameSet(a.Records(), b.Records()) {
			t.Errorf("after %v: another zone with the same serial, %v", later, err)
		}
	}
	b, at2, err := s.sign(z, nil, now.Add(2*epoch))
	if err != nil || at2 == at || sameSet(a.Records(), b.Records()) {
		t.Errorf("signatures are not renewed: %v", err)
	}
	if info, err := os.Stat(filepath.Join(s.Dir, "example.keys")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file of keys: %v, %v", info, err)
	}
}

// New signatures come with a new serial, by a commit.
func TestRenewRaisesTheSerial(t *testing.T) {
	t.Parallel()
	now := new(atomic.Int64)
	now.Store(time.Now().Unix())
	a, _ := startSigned(t, &Signing{}, now)
	before, _ := a.Zone("example")
	a.Renew(t.Context())
	if z, _ := a.Zone("example"); z != before {
		t.Error("renewed too early")
	}
	now.Add(int64(epoch / time.Second))
	a.Renew(t.Context())
	after, _ := a.Zone("example")
	if !dns.SerialNewer(after.Serial(), before.Serial()) {
		t.Errorf("serial %d after %d", after.Serial(), before.Serial())
	}
	sig := sigsAt(after, "mx.example.", dns.TypeA)[0].(*dns.RRSIGRecord)
	if old := sigsAt(before, "mx.example.", dns.TypeA)[0].(*dns.RRSIGRecord); sig.Expiration <= old.Expiration {
		t.Error("the signatures are the old ones")
	}
	now.Add(int64(epoch / time.Second))
	a.Renew(t.Context())
	if j := a.now.Load().journal["example."]; len(j) != 1 { // the first serial may have been served otherwise before
		t.Errorf("%d changes in the journal", len(j))
	}
}

// The same for the key that the parent knows, with a parent that does what CDS says, in its own
// time: each DS set that may be remembered leads to a key of each DNSKEY set that may be, which
// signs it, and from there to each signature.
func TestKSKRollOverFitsAllCaches(t *testing.T) {
	t.Parallel()
	for _, split := range []bool{false, true} {
		s := &Signing{Dir: t.TempDir(), Split: split}
		text := "@ 7200 SOA ns h %d 1 1 1 7200\n@ 7200 NS ns\nns 7200 A 192.0.2.1\n"
		const dsHours, keyHours, setHours, begin, parentDelay = 24, 1, 2, 30, 20
		type moment struct {
			ds               map[uint16]bool
			keys, keySigners map[uint16]bool
			signers          map[uint16]bool
		}
		var past []moment
		var parent map[uint16]bool
		var asked []map[uint16]bool // CDS by hour
		at := time.Unix(1_800_000_000, 0)
		first, last := uint16(0), uint16(0)
		seen := false
		for hour := range 8 * 24 {
			if hour == begin {
				if err := s.RollKSK("x", at); err != nil {
					t.Fatal(err)
				}
				if s.RollKSK("x", at) == nil {
					t.Error("a second roll-over begins within the first")
				}
			}
			z := zoneOf(t, "x", fmt.Sprintf(text, hour+1))
			signed, _, err := s.sign(z, nil, at)
			if err != nil {
				t.Fatal(err)
			}
			apex := signed.node("x.")
			m := moment{map[uint16]bool{}, map[uint16]bool{}, map[uint16]bool{}, map[uint16]bool{}}
			cds := map[uint16]bool{}
			for _, rr := range apex.set(dns.TypeCDS) {
				last = rr.(*dns.CDSRecord).KeyTag
				cds[last] = true
			}
			if first == 0 {
				first, parent = last, cds
			}
			asked = append(asked, cds)
			if hour >= parentDelay {
				parent = asked[hour-parentDelay]
			}
			if parent[last] && last != first && !seen {
				if err := s.SeenDS(z, at); err != nil {
					t.Fatal(err)
				}
				seen = true
			}
			m.ds = parent
			for _, rr := range apex.set(dns.TypeDNSKEY) {
				m.keys[rr.(*dns.DNSKEYRecord).KeyTag()] = true
			}
			for _, sig := range signed.signatures(apex, apex.get(dns.TypeDNSKEY)) {
				m.keySigners[sig.(*dns.RRSIGRecord).KeyTag] = true
			}
			for _, sig := range sigsAt(signed, "ns.x.", dns.TypeA) {
				m.signers[sig.(*dns.RRSIGRecord).KeyTag] = true
			}
			past = append(past, m)
			for _, ds := range past[max(len(past)-1-dsHours, 0):] {
				for _, keys := range past[max(len(past)-1-keyHours, 0):] {
					if !meet(ds.ds, keys.keySigners) {
						t.Fatalf("split %v, hour %d: a DS set leads to no key", split, hour)
					}
					for _, set := range past[max(len(past)-1-setHours, 0):] {
						if !meet(set.signers, keys.keys) {
							t.Fatalf("split %v, hour %d: a signature has no key", split, hour)
						}
					}
				}
			}
			at = at.Add(time.Hour)
		}
		end := past[len(past)-1]
		if last == first || end.keys[first] || !end.ds[last] {
			t.Errorf("split %v: the roll-over did not come to its end", split)
		}
	}
}

func meet(a, b map[uint16]bool) bool {
	for k := range a {
		if b[k] {
			return true
		}
	}
	return false
}
