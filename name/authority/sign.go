package authority

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
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

// sign returns z signed, and the epoch that it is signed for. Signatures of before are taken over where the records are the same.
func (s *Signing) sign(z, before *Zone, now time.Time) (signed *Zone, at int64, err error) {
	keys, err := s.keys(z, now)
	if err != nil {
		return nil, 0, err
	}
	j := &signJob{zone: z.Name, before: before, now: now}
	if err := j.use(keys, s.wanted(keys, now), z.soa); err != nil {
		return nil, 0, err
	}
	if at, err = s.epochFor(z, now, j.state(s.NSEC3)); err != nil {
		return nil, 0, err
	}
	start := time.Unix(at*int64(s.quick(epoch)/time.Second), 0)
	j.inception, j.expiration = uint32(start.Add(-s.quick(skew)).Unix()), uint32(start.Add(s.quick(validity)).Unix())
	out := j.prepare(z)
	if s.NSEC3 {
		addNSEC3(out, z)
	} else {
		addNSEC(out, z)
	}
	if err := j.signAll(out); err != nil {
		return nil, 0, err
	}
	out.mark()
	return out, at, nil
}

// epochFor returns the epoch to sign for: that of now, but the last one for a serial that was
// signed in it, as long as its signatures are good. A zone does not change behind its serial. The
// file that keeps it tells, by the state of the keys too, whether the next process signs alike.
func (s *Signing) epochFor(z *Zone, now time.Time, state string) (int64, error) {
	path := s.epochFile(z.Name)
	at := s.epochOf(now)
	text, err := os.ReadFile(path)
	if err == nil {
		var serial uint32
		var last int64
		if _, err := fmt.Sscanf(string(text), "%d %d", &serial, &last); err == nil && serial == z.Serial() && at-last < 2 && last <= at {
			at = last
		}
	}
	line := fmt.Sprintf("%d %d %s\n", z.Serial(), at, state)
	if string(text) == line {
		return at, nil
	}
	return at, replaceFile(path, []byte(line))
}

// lastSigned is what epochFor wrote last for a zone, "" for nothing.
func (s *Signing) lastSigned(zone string) string {
	text, err := os.ReadFile(s.epochFile(zone))
	if err != nil {
		return ""
	}
	return string(text)
}

// A signJob signs one version of a zone.
type signJob struct {
	zone                  string
	before                *Zone
	now                   time.Time
	inception, expiration uint32
	published             []dns.RR // DNSKEY, CDNSKEY and CDS
	ksks, zsks            []signer
}

type signer struct {
	private crypto.Signer
	tag     uint16
}

// use sorts out which keys do what now, and asks the parent for the DS of one of them.
func (j *signJob) use(keys []*signingKey, wanted *signingKey, soa *dns.SOARecord) error {
	ttl := min(soa.Hdr.Ttl, 3600)
	for _, k := range keys {
		if !k.isPublished(j.now) {
			continue
		}
		rr, err := k.record(j.zone, ttl)
		if err != nil {
			return err
		}
		j.published = append(j.published, rr)
		if k == wanted {
			ds := rr.ToDS(digestSHA256)
			if ds == nil {
				return errors.New("a key has no DS")
			}
			j.published = append(j.published, rr.ToCDNSKEY(), ds.ToCDS())
		}
		if k.isActive(j.now) {
			one := signer{repeatable{k.private}, rr.KeyTag()}
			if k.flags == flagsKSK {
				j.ksks = append(j.ksks, one)
			}
			if k.flags == flagsZSK || k.all {
				j.zsks = append(j.zsks, one)
			}
		}
	}
	if len(j.ksks) == 0 || len(j.zsks) == 0 {
		return errors.New("no key is active")
	}
	return nil
}

// state tells apart the ways in which one version of a zone can be signed within an epoch.
func (j *signJob) state(nsec3 bool) string {
	h := sha256.New()
	fmt.Fprintln(h, nsec3)
	for _, rr := range j.published {
		fmt.Fprintln(h, rr)
	}
	for _, k := range slices.Concat(j.ksks, []signer{{}}, j.zsks) {
		fmt.Fprintln(h, k.tag)
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:8])
}

// repeatable signs the same data always alike (RFC 6979), which ecdsa does without a source of
// randomness.
type repeatable struct{ *ecdsa.PrivateKey }

func (r repeatable) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return r.PrivateKey.Sign(nil, digest, opts)
}

// prepare copies the zone and adds the keys.
func (j *signJob) prepare(z *Zone) *Zone {
	out := &Zone{Name: z.Name, soa: z.soa, names: z.names, nodes: make(map[string]*node, len(z.nodes))}
	for name, n := range z.nodes {
		out.nodes[name] = &node{name: name, sets: slices.Clone(n.sets), cut: n.cut}
	}
	apex := out.nodes[z.Name]
	for i := range apex.sets {
		apex.sets[i].rrs = slices.Clone(apex.sets[i].rrs) // add may append to them
	}
	for _, rr := range j.published {
		apex.add(rr)
	}
	return out
}

// signAll signs what is ours: all but delegations and glue.
func (j *signJob) signAll(z *Zone) error {
	work := make(chan *node, 256)
	errs := make([]error, runtime.GOMAXPROCS(0))
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			for n := range work {
				if errs[i] == nil {
					errs[i] = j.signNode(n)
				}
			}
		})
	}
	for _, n := range z.nodes {
		if len(n.sets) > 0 && n.ours() {
			work <- n
		}
	}
	close(work)
	wg.Wait()
	return errors.Join(errs...)
}

func (j *signJob) signNode(n *node) error {
	for i := range n.sets {
		s := &n.sets[i]
		if n.cut != nil && s.t != dns.TypeDS && s.t != dns.TypeNSEC {
			continue
		}
		signers := j.zsks
		if s.t == dns.TypeDNSKEY || s.t == dns.TypeCDS || s.t == dns.TypeCDNSKEY {
			signers = j.ksks
		}
		if s.sigs = j.again(n.name, s, signers); s.sigs != nil {
			continue
		}
		for _, k := range signers {
			sig, err := j.one(s.rrs, k)
			if err != nil {
				return fmt.Errorf("%s %s: %w", n.name, dns.TypeName(s.t), err)
			}
			s.sigs = append(s.sigs, sig)
		}
	}
	return nil
}

func (j *signJob) one(rrs []dns.RR, k signer) (*dns.RRSIGRecord, error) {
	sig := &dns.RRSIGRecord{
		Algorithm:  ecdsaP256SHA256,
		KeyTag:     k.tag,
		SignerName: j.zone,
		Inception:  j.inception,
		Expiration: j.expiration,
	}
	same := slices.Clone(rrs)
	ttl := rrs[0].Header().Ttl
	for i, rr := range same { // one TTL for all (RFC 4034 section 3.1.4)
		if rr.Header().Ttl != ttl {
			same[i] = dns.Copy(rr)
			same[i].Header().Ttl = ttl
		}
	}
	err := sig.Sign(k.private, same)
	sig.Hdr.Ttl = ttl // RFC 4034 section 3
	return sig, err
}

// again returns the signatures that the version before has over the same records, for the same
// time and by the same keys.
func (j *signJob) again(name string, s *rrset, signers []signer) []dns.RR {
	if j.before == nil || j.before.nodes[name] == nil {
		return nil
	}
	old := j.before.nodes[name].get(s.t)
	if old == nil || len(old.sigs) != len(signers) || !slices.EqualFunc(old.rrs, s.rrs, alike) {
		return nil
	}
	for i, k := range signers {
		sig := old.sigs[i].(*dns.RRSIGRecord)
		if sig.KeyTag != k.tag || sig.Inception != j.inception {
			return nil
		}
	}
	return old.sigs
}

func alike(a, b dns.RR) bool { return dns.Equal(a, b) && a.Header().Ttl == b.Header().Ttl }

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
