package dkim

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	"stagecoach/rfc/dns"
)

// A PublicKey is a key record (RFC 6376 section 3.6.1): the key and what its owner says of it.
type PublicKey struct {
	Key     crypto.PublicKey // *rsa.PublicKey or ed25519.PublicKey
	Hashes  []string         // h=, lower case; nil for any
	Testing bool             // t=y
	Strict  bool             // t=s: i= must be in the domain itself
}

// Why a record is no key for us.
var (
	ErrRevoked = errors.New("the key is revoked")
	ErrNotMail = errors.New("the key is not for mail")
)

// maxRecord bounds the text of a key record. RSA-4096 takes 800 octets.
const maxRecord = 8 << 10

// ParseKey reads the text of a key record, its strings joined. It takes the tags in any order
// (though v= ought to be first) and ignores those that it does not know, g= and n= among them.
func ParseKey(text string) (*PublicKey, error) {
	if len(text) > maxRecord {
		return nil, errors.New("the record is too long")
	}
	tags, err := parseTags(text)
	if err != nil {
		return nil, err
	}
	if tags.get("v", "DKIM1") != "DKIM1" {
		return nil, errors.New("the record is of another version")
	}
	p, ok := tags.find("p")
	switch {
	case !ok:
		return nil, errors.New("the record has no p=")
	case p == "":
		return nil, ErrRevoked
	case !contains(tags.get("s", "*"), "*", "email"):
		return nil, ErrNotMail
	}
	k := &PublicKey{
		Testing: contains(tags.get("t", ""), "y"),
		Strict:  contains(tags.get("t", ""), "s"),
	}
	if h, ok := tags.find("h"); ok {
		k.Hashes = splitList(strings.ToLower(h))
	}
	der, err := decodeBase64(p)
	if err != nil {
		return nil, errors.New("p= is no base64")
	}
	k.Key, err = parsePublic(strings.ToLower(tags.get("k", "rsa")), der)
	return k, err
}

func parsePublic(kind string, der []byte) (crypto.PublicKey, error) {
	switch kind {
	case "rsa":
		return parseRSA(der)
	case "ed25519":
		if len(der) != ed25519.PublicKeySize {
			return nil, errors.New("p= has not the length of an Ed25519 key")
		}
		return ed25519.PublicKey(der), nil
	}
	return nil, errors.New("unknown k=")
}

// parseRSA takes a SubjectPublicKeyInfo and, as RFC 6376 section 3.6.1 has it by an oversight,
// a bare RSAPublicKey.
func parseRSA(der []byte) (crypto.PublicKey, error) {
	var key *rsa.PublicKey
	if spki, err := x509.ParsePKIXPublicKey(der); err == nil {
		key, _ = spki.(*rsa.PublicKey)
	} else if bare, err := x509.ParsePKCS1PublicKey(der); err == nil {
		key = bare
	}
	if key == nil {
		return nil, errors.New("p= is no RSA key")
	}
	return key, nil
}

// Algorithm returns the a= that goes with the key.
func (k *PublicKey) Algorithm() string { return algorithmOf(k.Key) }

func algorithmOf(key crypto.PublicKey) string {
	if _, ok := key.(ed25519.PublicKey); ok {
		return ed25519SHA256
	}
	return rsaSHA256
}

// Bits returns the length of the key.
func (k *PublicKey) Bits() int {
	if r, ok := k.Key.(*rsa.PublicKey); ok {
		return r.N.BitLen()
	}
	return 8 * ed25519.PublicKeySize
}

// verify reports whether value is the key's signature of a SHA-256 digest.
func (k *PublicKey) verify(digest, value []byte) bool {
	switch key := k.Key.(type) {
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, digest, value) == nil
	case ed25519.PublicKey:
		return ed25519.Verify(key, digest, value) // RFC 8463 section 3
	}
	return false
}

// maxKeys bounds the records at one name that are tried.
const maxKeys = 3

// A found is what stands in the DNS for one domain and selector.
type found struct {
	keys []*PublicKey // at least one, or
	err  error        // of look-up or of parsing
}

// fetch looks the keys at a selector up. An error for which temporary holds may be different
// later.
func fetch(ctx context.Context, x dns.Exchanger, selector, domain string) found {
	texts, err := dns.TXT(ctx, x, RecordName(selector, domain))
	if err != nil {
		return found{err: err}
	}
	var f found
	for _, text := range texts[:min(len(texts), 4*maxKeys)] {
		k, err := ParseKey(text)
		switch {
		case err == nil && len(f.keys) < maxKeys:
			f.keys = append(f.keys, k)
		case err != nil && f.err == nil:
			f.err = fmt.Errorf("key record: %w", err)
		}
	}
	if len(f.keys) > 0 {
		f.err = nil
	}
	return f
}

// isTemporary reports whether an error of fetch is trouble with the DNS and not its answer.
func isTemporary(err error) bool {
	var e *dns.Error
	return errors.As(err, &e) && e.Temporary()
}

// usable says why a key cannot serve a signature, "" if it can.
func (k *PublicKey) usable(s *signature, minBits int) string {
	switch bits := k.Bits(); {
	case k.Algorithm() != s.algorithm:
		return "the key is of another kind than the signature"
	case k.Hashes != nil && !slices.Contains(k.Hashes, "sha256"):
		return "the key is not for SHA-256"
	case k.Strict && s.idDomain != s.domain:
		return "the key is not for sub-domains"
	case s.algorithm == rsaSHA256 && bits < minBits:
		return "the key is too short"
	case s.algorithm == rsaSHA256 && bits > maxBits:
		return "the key is too long"
	}
	return ""
}
