package dkim

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"

	"stagecoach/mail"
	"stagecoach/rfc/dns"
)

// What follows is what ARC (RFC 8617) has in common with DKIM.

// Tags is a tag-list (RFC 6376 section 3.2).
type Tags struct{ list tagList }

// ParseTags reads a tag-list. It is strict where two readers could disagree.
func ParseTags(s string) (Tags, error) {
	list, err := parseTags(s)
	return Tags{list}, err
}

// Get returns the value of a tag, without white space at its ends.
func (t Tags) Get(name string) (value string, ok bool) { return t.list.find(name) }

// Base64 returns the decoded value of a tag.
func (t Tags) Base64(name string) ([]byte, error) { return decodeBase64(t.list.get(name, "")) }

// ParseCanon reads c=, as "relaxed/simple".
func ParseCanon(s string) (header, body Canon, err error) { return parseCanon(s) }

// ParseSelector checks a selector and returns it in lower-case A-labels.
func ParseSelector(s string) (string, error) { return canonicalSelector(s) }

// SplitNames splits h= into lower-case names.
func SplitNames(h string) []string {
	names := splitList(h)
	for i := range names {
		names[i] = lowerName(names[i])
	}
	return names
}

// ChooseFields returns the fields that the lower-case names stand for, in their order: each
// mention takes the next one up from the bottom (RFC 6376 section 5.4.2).
func ChooseFields(h *mail.Header, names []string) []mail.Field {
	set := newFieldSet(h)
	var out []mail.Field
	for _, at := range set.choose(names, -1) {
		out = append(out, set.fields[at])
	}
	return out
}

// Unsigned returns the canonical form of a signature field as it is signed: its b= empty, and
// without the last CRLF (RFC 6376 section 3.7).
func Unsigned(c Canon, f mail.Field) ([]byte, error) {
	list, err := parseTags(f.Body())
	if err != nil {
		return nil, err
	}
	for _, t := range list {
		if t.name == "b" {
			return unsigned(c, f, t), nil
		}
	}
	return unsigned(c, f, tag{}), nil
}

// Keys looks the keys at a selector up. Trouble with the DNS is a temporary *dns.Error.
func Keys(ctx context.Context, x dns.Exchanger, selector, domain string) ([]*PublicKey, error) {
	f := fetch(ctx, x, selector, domain)
	return f.keys, f.err
}

// Verify reports whether value is the key's signature of a SHA-256 digest by the algorithm
// that a= names, and the key is strong enough and not too long.
func (k *PublicKey) Verify(algorithm string, digest, value []byte) bool {
	s := &signature{algorithm: algorithm}
	return k.usable(s, 1024) == "" && k.verify(digest, value)
}

// SignDigest signs a SHA-256 digest with an RSA or Ed25519 key, and returns the algorithm that
// a= names.
func SignDigest(key crypto.Signer, digest []byte) (algorithm string, value []byte, err error) {
	var opts crypto.SignerOpts = crypto.SHA256
	if _, ok := key.Public().(ed25519.PublicKey); ok {
		opts = crypto.Hash(0) // RFC 8463 section 3
	}
	value, err = key.Sign(rand.Reader, digest, opts)
	return algorithmOf(key.Public()), value, err
}

// Algorithm returns the a= that goes with a key.
func Algorithm(key crypto.PublicKey) string { return algorithmOf(key) }
