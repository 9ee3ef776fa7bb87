package dkim

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"strings"
)

// RecordName returns the name at which the key of a selector stands, without a final dot.
func RecordName(selector, domain string) string { return selector + "._domainkey." + domain }

// RecordText returns the text of the key record for a public key (RFC 6376 section 3.6.1, RFC
// 8463 section 4).
func RecordText(key crypto.PublicKey) (string, error) {
	kind, p := "", []byte(nil)
	switch k := key.(type) {
	case *rsa.PublicKey:
		der, err := x509.MarshalPKIXPublicKey(k)
		if err != nil {
			return "", err
		}
		kind, p = "rsa", der
	case ed25519.PublicKey:
		kind, p = "ed25519", k
	default:
		return "", fmt.Errorf("dkim: no record for a key of type %T", key)
	}
	return "v=DKIM1; h=sha256; k=" + kind + "; p=" + base64.StdEncoding.EncodeToString(p), nil
}

// Record returns the key record in zone-file syntax, one line, its text in strings of at most
// 255 octets (RFC 6376 section 3.6.2.2).
func Record(selector, domain string, key crypto.PublicKey) (string, error) {
	text, err := RecordText(key)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString(RecordName(selector, domain) + ". IN TXT")
	for len(text) > 0 {
		n := min(255, len(text))
		b.WriteString(` "` + text[:n] + `"`) // without a quote or backslash in it
		text = text[n:]
	}
	return b.String(), nil
}

// Holds reports whether the text of a key record publishes this key for signing mail, whatever
// the order of its tags.
func Holds(text string, key crypto.PublicKey) bool {
	k, err := ParseKey(text)
	if err != nil || k.Hashes != nil && !contains(strings.Join(k.Hashes, ":"), "sha256") {
		return false
	}
	own, ok := k.Key.(interface{ Equal(crypto.PublicKey) bool })
	return ok && own.Equal(key)
}
