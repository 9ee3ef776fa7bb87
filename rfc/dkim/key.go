package dkim

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// ParsePrivateKey reads a private key from PEM: RSA in PKCS #1 or #8, Ed25519 in PKCS #8. RSA
// keys have 1024 to 4096 bits. The error tells nothing of the key.
func ParsePrivateKey(text []byte) (crypto.Signer, error) {
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return nil, errors.New("dkim: no private key in PEM")
		}
		switch block.Type {
		case "RSA PRIVATE KEY":
			key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
			if err != nil {
				return nil, errors.New("dkim: a malformed RSA private key")
			}
			return key, CheckKey(key)
		case "PRIVATE KEY":
			key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				return nil, errors.New("dkim: a malformed private key")
			}
			signer, ok := key.(crypto.Signer)
			if !ok {
				return nil, fmt.Errorf("dkim: a key of type %T does not sign", key)
			}
			return signer, CheckKey(signer)
		case "ENCRYPTED PRIVATE KEY":
			return nil, errors.New("dkim: the private key is encrypted")
		}
		text = rest
	}
}

// CheckKey says whether Sign can use a key.
func CheckKey(key crypto.Signer) error {
	if key == nil {
		return errors.New("dkim: no key")
	}
	switch k := key.Public().(type) {
	case ed25519.PublicKey:
		return nil
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < 1024 || n > maxBits {
			return fmt.Errorf("dkim: an RSA key of %d bits; it must have 1024 to %d", n, maxBits)
		}
		return nil
	default:
		return fmt.Errorf("dkim: no algorithm for a key of type %T", k)
	}
}
