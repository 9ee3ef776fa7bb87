package authority

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"stagecoach/rfc/dns"
)

// A signer signs versions of one zone, for one epoch and with the same keys: whatever is the same
// in two of them has the same signatures.
type signer struct {
	zone                  string
	nsec3                 bool
	epoch                 int64
	inception, expiration uint32
	ttl                   uint32   // of published
	published             []dns.RR // DNSKEY, CDNSKEY and CDS
	ksks, zsks            []signingPart
	made                  *signatures
}

// A signingPart is a key that signs, with the tag of its DNSKEY.
type signingPart struct {
	private *ecdsa.PrivateKey
	tag     uint16
}

func publishedTTL(soa *dns.SOARecord) uint32 { return min(soa.Hdr.Ttl, 3600) }

// use sorts out which keys do what now, and asks the parent for the DS of one of them.
func (g *signer) use(keys []*signingKey, wanted *signingKey, now time.Time) error {
	for _, k := range keys {
		if !k.isPublished(now) {
			continue
		}
		rr, err := k.record(g.zone, g.ttl)
		if err != nil {
			return err
		}
		g.published = append(g.published, rr)
		if k == wanted {
			ds := rr.ToDS(digestSHA256)
			if ds == nil {
				return errors.New("a key has no DS")
			}
			g.published = append(g.published, rr.ToCDNSKEY(), ds.ToCDS())
		}
		if k.isActive(now) {
			one := signingPart{k.private, rr.KeyTag()}
			if k.flags == flagsKSK {
				g.ksks = append(g.ksks, one)
			}
			if k.flags == flagsZSK || k.all {
				g.zsks = append(g.zsks, one)
			}
		}
	}
	if len(g.ksks) == 0 || len(g.zsks) == 0 {
		return errors.New("no key is active")
	}
	return nil
}

// state tells apart the ways in which one version of a zone can be signed within an epoch.
func (g *signer) state() string {
	h := sha256.New()
	fmt.Fprintln(h, g.nsec3)
	for _, rr := range g.published {
		fmt.Fprintln(h, rr)
	}
	for _, k := range slices.Concat(g.ksks, []signingPart{{}}, g.zsks) {
		fmt.Fprintln(h, k.tag)
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:8])
}

// isAs reports whether two sign alike.
func (g *signer) isAs(o *signer) bool {
	return g.zone == o.zone && g.epoch == o.epoch && g.inception == o.inception && g.state() == o.state()
}

// sign returns the zone with the keys at its apex, signed. It shares all else with z.
func (g *signer) sign(z *Zone) *Zone {
	out := *z
	out.signer = g
	old := z.nodes[z.Name]
	out.apex = &node{name: z.Name, sets: slices.Clone(old.sets)}
	for i := range out.apex.sets {
		out.apex.sets[i].rrs = slices.Clone(out.apex.sets[i].rrs) // add may append to them
	}
	for _, rr := range g.published {
		out.apex.add(rr)
	}
	if g.nsec3 {
		out.apex.add(&dns.NSEC3PARAMRecord{
			Hdr:  dns.Header{Name: z.Name, Rrtype: dns.TypeNSEC3PARAM, Class: dns.ClassINET},
			Hash: nsec3SHA1,
		})
		if z.hashes == nil { // versions that follow have it of this one
			z.hashes = z.hashAll()
		}
		out.hashes = z.hashes
	}
	g.made.fit(len(z.names))
	return &out
}

// over returns the signatures over records of one name and type.
func (g *signer) over(s *rrset) []dns.RR {
	parts := g.zsks
	if s.t == dns.TypeDNSKEY || s.t == dns.TypeCDS || s.t == dns.TypeCDNSKEY {
		parts = g.ksks
	}
	out := make([]dns.RR, 0, len(parts))
	for _, k := range parts {
		sig, err := g.one(s.rrs, k)
		if err != nil {
			return nil // what does not fit the wire cannot be sent either
		}
		out = append(out, sig)
	}
	return out
}

func (g *signer) one(rrs []dns.RR, k signingPart) (*dns.RRSIGRecord, error) {
	sig := &dns.RRSIGRecord{
		Algorithm:  ecdsaP256SHA256,
		KeyTag:     k.tag,
		SignerName: g.zone,
		Inception:  g.inception,
		Expiration: g.expiration,
	}
	same := rrs
	ttl := rrs[0].Header().Ttl
	for i, rr := range rrs { // one TTL for all (RFC 4034 section 3.1.4)
		if rr.Header().Ttl != ttl {
			if &same[0] == &rrs[0] {
				same = slices.Clone(rrs)
			}
			same[i] = dns.Copy(rr)
			same[i].Header().Ttl = ttl
		}
	}
	err := sig.Sign(repeatable{k.private, g.made}, same)
	sig.Hdr.Ttl = ttl // RFC 4034 section 3
	return sig, err
}

// repeatable signs the same data always alike (RFC 6979), which ecdsa does without a source of
// randomness. So what was made once can be remembered.
type repeatable struct {
	*ecdsa.PrivateKey
	made *signatures
}

func (r repeatable) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	// The tag of the key and the times are in the digest, by RFC 4034 section 3.1.8.1.
	if have := r.made.recall(digest); have != nil {
		return have, nil
	}
	made, err := r.PrivateKey.Sign(nil, digest, opts)
	if err == nil {
		r.made.remember(digest, made)
	}
	return made, err
}
