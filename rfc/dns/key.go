package dns

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
)

// An Algorithm is a TSIG algorithm by its name on the wire, without a final dot (RFC 8945
// section 6).
type Algorithm string

// The algorithms that are computed. HMAC-MD5 is not: RFC 8945 section 6 has it for old peers
// alone.
const (
	HMACSHA1   Algorithm = "hmac-sha1"
	HMACSHA224 Algorithm = "hmac-sha224"
	HMACSHA256 Algorithm = "hmac-sha256"
	HMACSHA384 Algorithm = "hmac-sha384"
	HMACSHA512 Algorithm = "hmac-sha512"
)

func (a Algorithm) hash() func() hash.Hash {
	switch a {
	case HMACSHA1:
		return sha1.New
	case HMACSHA224:
		return sha256.New224
	case HMACSHA256:
		return sha256.New
	case HMACSHA384:
		return sha512.New384
	case HMACSHA512:
		return sha512.New
	}
	return nil
}

// keyNumbers are the DNSKEY algorithm numbers, of those for private use, by which zone text
// holds keys.
var keyNumbers = map[uint8]Algorithm{
	161: HMACSHA1, 162: HMACSHA224, 163: HMACSHA256, 164: HMACSHA384, 165: HMACSHA512,
}

// A Secret is shared by those who hold a key. It prints as "(secret)" in every form.
type Secret []byte

// Format hides the secret from fmt and log.
func (Secret) Format(f fmt.State, _ rune) { io.WriteString(f, "(secret)") } //nolint:errcheck // as fmt does

// MarshalText hides the secret from encoders, slog among them.
func (Secret) MarshalText() ([]byte, error) { return []byte("(secret)"), nil }

// A Key signs messages (RFC 8945). The zero Key signs nothing.
type Key struct {
	Name      string // canonical, with its final dot
	Algorithm Algorithm
	Secret    Secret
}

// IsZero reports whether k is no key.
func (k Key) IsZero() bool { return k.Name == "" }

// ParseKey reads "NAME:ALGORITHM:BASE64", as flags have it. ALGORITHM is SHA1, SHA224, SHA256,
// SHA384 or SHA512, or its name on the wire. No part of the secret is in an error.
func ParseKey(s string) (Key, error) {
	name, rest, ok := strings.Cut(s, ":")
	alg, secret, ok2 := strings.Cut(rest, ":")
	if !ok || !ok2 || strings.Contains(secret, ":") {
		return Key{}, errors.New("DNS key: want NAME:ALGORITHM:BASE64")
	}
	a := Algorithm("hmac-" + strings.ToLower(strings.TrimPrefix(strings.ToLower(alg), "hmac-")))
	if a.hash() == nil {
		return Key{}, errors.New("DNS key: the algorithm is none of SHA1, SHA224, SHA256, SHA384, SHA512")
	}
	return newKey(name, a, secret)
}

func newKey(name string, a Algorithm, secret string) (Key, error) {
	if !IsName(name) || name == "" || name == "." {
		return Key{}, errors.New("DNS key: the name is no domain name")
	}
	raw, err := decodeBase64(secret)
	if err != nil {
		return Key{}, fmt.Errorf("DNS key %s: the secret is no proper base64", Host(name))
	}
	if len(raw) == 0 {
		return Key{}, fmt.Errorf("DNS key %s: the secret is empty", Host(name))
	}
	return Key{Canonical(name), a, raw}, nil
}

// KeyFromRecord reads a key from the DNSKEY record that holds it in a _keys file: flags 0,
// protocol 3, and an algorithm of 161 (HMAC-SHA1) to 165 (HMAC-SHA512).
func KeyFromRecord(rr *DNSKEYRecord) (Key, error) {
	a, ok := keyNumbers[rr.Algorithm]
	if !ok || rr.Protocol != 3 || rr.Flags != 0 {
		return Key{}, fmt.Errorf("DNS key %s: want flags 0, protocol 3 and an algorithm of 161 to 165", Host(rr.Hdr.Name))
	}
	return newKey(rr.Hdr.Name, a, rr.PublicKey)
}

// Record returns the key as a line of a _keys file. It holds the secret.
func (k Key) Record() string {
	for n, a := range keyNumbers {
		if a == k.Algorithm {
			return fmt.Sprintf("%s DNSKEY 0 3 %d %s", k.Name, n, base64.StdEncoding.EncodeToString(k.Secret))
		}
	}
	return ""
}

// Flag returns the key as ParseKey reads it. It holds the secret.
func (k Key) Flag() string {
	return fmt.Sprintf("%s:%s:%s", Host(k.Name), strings.ToUpper(strings.TrimPrefix(string(k.Algorithm), "hmac-")),
		base64.StdEncoding.EncodeToString(k.Secret))
}

// mac authenticates the parts, one after the other.
func (k Key) mac(parts ...[]byte) []byte {
	h := hmac.New(k.Algorithm.hash(), k.Secret)
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}
