package dns

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Flags of a DNSKEY (RFC 4034 section 2.1.1, RFC 5011 section 2.1).
const (
	KeyZone   = dns.ZONE
	KeyEntry  = dns.SEP
	KeyRevoke = dns.REVOKE
)

// MaxNSEC3Iterations is the most additional iterations that anything here computes; what asks
// for more is not worth its cost (RFC 9276 section 3.2).
const MaxNSEC3Iterations = 150

// CanVerify reports whether signatures of a DNSSEC algorithm can be verified. Those made with
// MD5, DSA and GOST are gone (RFC 8624 section 3.1); for Ed448 there is no library.
func CanVerify(algorithm uint8) bool {
	switch algorithm {
	case dns.RSASHA1, dns.RSASHA1NSEC3SHA1, dns.RSASHA256, dns.RSASHA512,
		dns.ECDSAP256SHA256, dns.ECDSAP384SHA384, dns.ED25519:
		return true
	}
	return false
}

// CanDigest reports whether DS records of a digest type can be checked.
func CanDigest(digest uint8) bool {
	return digest == dns.SHA1 || digest == dns.SHA256 || digest == dns.SHA384
}

// IsSHA1 reports whether ds has the digest that others make superfluous (RFC 4509 section 3).
func IsSHA1(ds *DSRecord) bool { return ds.DigestType == dns.SHA1 }

// DigestSHA256 returns the DS record of a key.
func DigestSHA256(key *DNSKEYRecord) *DSRecord { return key.ToDS(dns.SHA256) }

// AlgorithmName returns the mnemonic of a DNSSEC algorithm, or its number.
func AlgorithmName(algorithm uint8) string {
	if s, ok := dns.AlgorithmToString[algorithm]; ok {
		return s
	}
	return "algorithm " + strconv.Itoa(int(algorithm))
}

// MatchesDS reports whether ds is the digest of key (RFC 4034 section 5.1.4).
func MatchesDS(key *DNSKEYRecord, ds *DSRecord) bool {
	if key.Algorithm != ds.Algorithm || !CanDigest(ds.DigestType) {
		return false
	}
	d := key.ToDS(ds.DigestType)
	return d != nil && strings.EqualFold(d.Digest, ds.Digest)
}

// VerifySet checks one signature over one set of records with one key (RFC 4035 section
// 5.3.2 and 5.3.3): no more than that the key made it. Time, names and trust are the
// caller's.
func VerifySet(sig *RRSIGRecord, key *DNSKEYRecord, set []RR) error {
	if len(set) == 0 {
		return errors.New("no records")
	}
	if !CanVerify(sig.Algorithm) {
		return errors.New("the algorithm is not supported")
	}
	return sig.Verify(key, set)
}

// ValidAt reports whether t lies within the validity of a signature, in the serial arithmetic
// of RFC 4034 section 3.1.5: 0, or how it lies outside: -1 before, 1 after.
func ValidAt(sig *RRSIGRecord, t time.Time) int {
	now := uint32(t.Unix())
	switch {
	case int32(sig.Expiration-now) < 0:
		return 1
	case int32(now-sig.Inception) < 0:
		return -1
	}
	return 0
}

// HashNSEC3 returns the hash of name as the owners of NSEC3 records with the parameters of n
// have it, in upper case (RFC 5155 section 5). It is "" for an unknown hash, and above
// MaxNSEC3Iterations.
func HashNSEC3(name string, n *NSEC3Record) string {
	if n.Iterations > MaxNSEC3Iterations {
		return ""
	}
	return dns.HashName(name, n.Hash, n.Iterations, n.Salt)
}

// CompareNames orders names as zones that are signed do (RFC 4034 section 6.1).
func CompareNames(a, b string) int {
	if a == b {
		return 0
	}
	la, lb := Labels(a), Labels(b)
	for len(la) > 0 && len(lb) > 0 {
		x, y := la[len(la)-1], lb[len(lb)-1]
		la, lb = la[:len(la)-1], lb[:len(lb)-1]
		if x == y {
			continue
		}
		if c := bytes.Compare(canonicalLabel(x), canonicalLabel(y)); c != 0 {
			return c
		}
	}
	return len(la) - len(lb)
}

func canonicalLabel(s string) []byte {
	b := []byte(unescape(s))
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return b
}

// SignatureTime returns the time near now that an inception or expiration stands for (RFC 4034
// section 3.1.5).
func SignatureTime(t uint32, now time.Time) time.Time {
	return time.Unix(now.Unix()+int64(int32(t-uint32(now.Unix()))), 0).UTC()
}
