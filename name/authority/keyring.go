package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"stagecoach/rfc/dns"
)

// Flags of a DNSKEY (RFC 4034 section 2.1.1, RFC 3757), and the one algorithm that we sign with
// (RFC 6605) and hash DS records with (RFC 4509).
const (
	flagsZSK        = 256
	flagsKSK        = 257
	ecdsaP256SHA256 = 13
	digestSHA256    = 2
)

// A signingKey is a key of a zone with the times of its life (RFC 7583 section 3.1). A time that
// is zero has not been set.
type signingKey struct {
	private *ecdsa.PrivateKey
	flags   uint16
	all     bool      // signs all of the zone, whatever its flags say: a CSK
	publish time.Time // in the DNSKEY set from here on
	active  time.Time // signs from here on
	retired time.Time // signs no more
	removed time.Time // no longer in the DNSKEY set
}

func newSigningKey(flags uint16, all bool, publish, active time.Time) (*signingKey, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return &signingKey{private: private, flags: flags, all: all, publish: publish, active: active}, nil
}

func within(from, to, now time.Time) bool {
	return !from.IsZero() && !now.Before(from) && (to.IsZero() || now.Before(to))
}

func (k *signingKey) isPublished(now time.Time) bool { return within(k.publish, k.removed, now) }
func (k *signingKey) isActive(now time.Time) bool    { return within(k.active, k.retired, now) }

// record returns the DNSKEY.
func (k *signingKey) record(zone string, ttl uint32) (*dns.DNSKEYRecord, error) {
	public, err := k.private.PublicKey.ECDH()
	if err != nil {
		return nil, err
	}
	return &dns.DNSKEYRecord{
		Hdr:       dns.Header{Name: zone, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: ttl},
		Flags:     k.flags,
		Protocol:  3,
		Algorithm: ecdsaP256SHA256,
		PublicKey: base64.StdEncoding.EncodeToString(public.Bytes()[1:]), // without the mark of a point
	}, nil
}

// The times of a key as headers of its PEM block.
func (k *signingKey) times() map[string]*time.Time {
	return map[string]*time.Time{"Publish": &k.publish, "Active": &k.active, "Retired": &k.retired, "Removed": &k.removed}
}

// readKeys reads the keys of a zone; there may be no file yet.
func readKeys(path string) ([]*signingKey, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by others", path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var keys []*signingKey
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return keys, nil
		}
		k, err := readKey(block)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		keys = append(keys, k)
	}
}

func readKey(block *pem.Block) (*signingKey, error) {
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("a block is no private key")
	}
	k := &signingKey{}
	var ok bool
	if k.private, ok = private.(*ecdsa.PrivateKey); !ok || k.private.Curve != elliptic.P256() {
		return nil, errors.New("a key is none of ECDSA P-256")
	}
	switch block.Headers["Role"] {
	case "CSK":
		k.flags, k.all = flagsKSK, true
	case "KSK":
		k.flags = flagsKSK
	case "ZSK":
		k.flags = flagsZSK
	default:
		return nil, errors.New("a key has none of the roles CSK, KSK, ZSK")
	}
	for name, at := range k.times() {
		if s := block.Headers[name]; s != "" {
			if *at, err = time.Parse(time.RFC3339, s); err != nil {
				return nil, fmt.Errorf("the time %s of a key cannot be read", name)
			}
		}
	}
	return k, nil
}

func (k *signingKey) role() string {
	switch {
	case k.all:
		return "CSK"
	case k.flags == flagsKSK:
		return "KSK"
	}
	return "ZSK"
}

// writeKeys replaces the file of keys; it is durable before a key is used.
func writeKeys(path string, keys []*signingKey) error {
	var out []byte
	for _, k := range keys {
		der, err := x509.MarshalPKCS8PrivateKey(k.private)
		if err != nil {
			return err
		}
		headers := map[string]string{"Role": k.role()}
		for name, at := range k.times() {
			if !at.IsZero() {
				headers[name] = at.UTC().Format(time.RFC3339)
			}
		}
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Headers: headers, Bytes: der})...)
	}
	return replaceFile(path, out)
}
