package dnstest

import (
	"crypto"
	"fmt"
	"time"

	"github.com/miekg/dns"
)

// A Key signs for a zone in tests.
type Key struct {
	Record  *dns.DNSKEY
	private crypto.Signer
}

// Algorithms that keys for tests are made for.
const (
	RSASHA1      = dns.RSASHA1
	RSASHA1NSEC3 = dns.RSASHA1NSEC3SHA1
	RSASHA256    = dns.RSASHA256
	RSASHA512    = dns.RSASHA512
	ECDSAP256    = dns.ECDSAP256SHA256
	ECDSAP384    = dns.ECDSAP384SHA384
	Ed25519      = dns.ED25519
)

// NewKey makes a key of a zone; flags are those of its DNSKEY record.
func NewKey(zone string, algorithm uint8, flags uint16) (*Key, error) {
	k := &Key{Record: &dns.DNSKEY{Flags: flags, Protocol: 3, Algorithm: algorithm}}
	k.Record.Hdr = dns.RR_Header{Name: dns.CanonicalName(zone), Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 3600}
	bits := map[uint8]int{
		dns.RSASHA1: 1024, dns.RSASHA1NSEC3SHA1: 1024, dns.RSASHA256: 1024, dns.RSASHA512: 1024,
		dns.ECDSAP256SHA256: 256, dns.ECDSAP384SHA384: 384, dns.ED25519: 256,
	}[algorithm]
	private, err := k.Record.Generate(bits)
	if err != nil {
		return nil, err
	}
	signer, ok := private.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("no signer for algorithm %d", algorithm)
	}
	k.private = signer
	return k, nil
}

// For returns the key as one of another zone, for worlds of more zones than it is worth making
// keys for.
func (k *Key) For(zone string) *Key {
	c := *k.Record
	c.Hdr.Name = dns.CanonicalName(zone)
	return &Key{Record: &c, private: k.private}
}

// Sign signs one set of records, with a signature that holds from one time until another. A
// set whose owner is a wildcard may be renamed afterwards.
func (k *Key) Sign(set []dns.RR, from, until time.Time) (*dns.RRSIG, error) {
	sig := &dns.RRSIG{
		Algorithm: k.Record.Algorithm, KeyTag: k.Record.KeyTag(), SignerName: k.Record.Hdr.Name,
		Inception: uint32(from.Unix()), Expiration: uint32(until.Unix()),
	}
	sig.Hdr.Ttl = set[0].Header().Ttl
	return sig, sig.Sign(k.private, set)
}

// Revoke sets the flag by which a key takes itself back (RFC 5011 section 2.1).
func (k *Key) Revoke() { k.Record.Flags |= dns.REVOKE }

// DS returns the digest of the key, of digest type 1, 2 or 4.
func (k *Key) DS(digest uint8) *dns.DS { return k.Record.ToDS(digest) }

// HashName returns the hash of name by the parameters of n, however many iterations these
// want.
func HashName(name string, n *dns.NSEC3) string {
	return dns.HashName(name, n.Hash, n.Iterations, n.Salt)
}
