package authority

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"stagecoach/rfc/dns"
)

// Signing says how zones are signed (RFC 4033 to 4035): with ECDSA P-256, by one key (CSK) or,
// with Split, by a KSK and a ZSK that is rolled over.
type Signing struct {
	// Dir holds the private keys, one file a zone, and what was signed last. Keys are made as
	// they are needed. Nobody else may read it; it does not belong into the repository.
	Dir string
	// Skip names zones that are not signed.
	Skip []string
	// Split gives new zones a KSK and a ZSK in place of one CSK.
	Split bool
	// NSEC3 proves what does not exist by hashes of names, without iterations and salt (RFC
	// 5155, RFC 9276), in place of NSEC.
	NSEC3 bool
	// Roll is how long a ZSK signs before the next one does; 0 is 90 days.
	Roll time.Duration

	haste time.Duration // tests have everything but TTLs go faster by it
}

// Signatures are made for whole epochs and kept for validity, so that at least half of their
// life is left when they are replaced. Within an epoch a zone is always signed alike: a restart
// changes nothing.
const (
	epoch    = 7 * 24 * time.Hour
	validity = 3 * epoch
	skew     = time.Hour // that the clock of a validator may be behind
)

func (s *Signing) epochOf(now time.Time) int64 { return now.Unix() / int64(s.quick(epoch)/time.Second) }

func (s *Signing) quick(d time.Duration) time.Duration { return d / max(s.haste, 1) }

func (s *Signing) signs(zone string) bool {
	return s != nil && !slices.ContainsFunc(s.Skip, func(skip string) bool { return dns.Canonical(skip) == zone })
}

func (s *Signing) keyFile(zone string) string { return filepath.Join(s.Dir, fileName(zone)+".keys") }

func (s *Signing) epochFile(zone string) string {
	return filepath.Join(s.Dir, fileName(zone)+".signed")
}

// forget lets a zone be signed for another epoch without a new serial.
func (s *Signing) forget(zone string) { os.Remove(s.epochFile(zone)) }

// sign returns z as it is served, and the epoch that it is signed for. before is what was served
// until now, nil at the start. Signatures are made as they are asked for; what is made here is
// what they are made with.
func (s *Signing) sign(z, before *Zone, now time.Time) (signed *Zone, at int64, err error) {
	next, err := s.signer(z, before, now)
	if err != nil {
		return nil, 0, err
	}
	if before != nil && before.signer != nil && before.signer.isAs(next) {
		next = before.signer // and what it remembers
	}
	signed = next.sign(z)
	soa := signed.node(z.Name).get(dns.TypeSOA)
	if signed.signatures(signed.node(z.Name), soa) == nil {
		return nil, 0, errors.New("the SOA cannot be signed")
	}
	return signed, next.epoch, nil
}

// signer returns what signs z from now on.
func (s *Signing) signer(z, before *Zone, now time.Time) (*signer, error) {
	keys, err := s.keys(z, now)
	if err != nil {
		return nil, err
	}
	g := &signer{zone: z.Name, nsec3: s.NSEC3, ttl: publishedTTL(z.soa), made: new(signatures)}
	if err := g.use(keys, s.wanted(keys, now), now); err != nil {
		return nil, err
	}
	if g.epoch, err = s.epochFor(z, before, now, g.state()); err != nil {
		return nil, err
	}
	start := time.Unix(g.epoch*int64(s.quick(epoch)/time.Second), 0)
	g.inception, g.expiration = uint32(start.Add(-s.quick(skew)).Unix()), uint32(start.Add(s.quick(validity)).Unix())
	return g, nil
}

// epochFor returns the epoch to sign for: that of now, but the last one for a serial that was
// signed in it, as long as its signatures are good. A zone does not change behind its serial: a
// file has the first serial that was signed for an epoch and with these keys, and those after it
// were signed alike until the file says otherwise. So it is written, durably and before anything is
// served that differs, when the epoch or the keys change, and not for every serial.
func (s *Signing) epochFor(z, before *Zone, now time.Time, state string) (int64, error) {
	at := s.epochOf(now)
	had, ok := s.promise(z.Name)
	ok = ok && (had.serial == z.Serial() || dns.SerialNewer(z.Serial(), had.serial))
	seen := before == nil || before.Serial() == z.Serial() // it may have been served
	if ok && seen && at-had.epoch < 2 && had.epoch <= at {
		at = had.epoch
	}
	if ok && had.epoch == at && had.state == state {
		return at, nil
	}
	return at, replaceFile(s.epochFile(z.Name), fmt.Appendf(nil, "%d %d %s\n", z.Serial(), at, state))
}

// A promise says how all serials from one on are signed.
type promise struct {
	serial uint32
	epoch  int64
	state  string // of the keys
}

func (s *Signing) promise(zone string) (p promise, ok bool) {
	_, err := fmt.Sscanf(s.lastSigned(zone), "%d %d %s", &p.serial, &p.epoch, &p.state)
	return p, err == nil
}

// lastSigned is what epochFor wrote last for a zone, "" for nothing.
func (s *Signing) lastSigned(zone string) string {
	text, err := os.ReadFile(s.epochFile(zone))
	if err != nil {
		return ""
	}
	return string(text)
}

// DS returns the DS record to hand to the registrar, as zone text. While a KSK is rolled over it
// changes from the old key to the new one as soon as that is safe.
func (s *Signing) DS(zone string, now time.Time) ([]string, error) {
	zone = dns.Canonical(zone)
	keys, err := readKeys(s.keyFile(zone))
	if err != nil {
		return nil, err
	}
	var out []string
	for _, k := range keys {
		if k != s.wanted(keys, now) {
			continue
		}
		rr, err := k.record(zone, 3600)
		if err != nil {
			return nil, err
		}
		ds := rr.ToDS(digestSHA256)
		out = append(out, fmt.Sprintf("%s IN DS %d %d %d %s", zone, ds.KeyTag, ds.Algorithm, ds.DigestType, strings.ToUpper(ds.Digest)))
	}
	return out, nil
}
