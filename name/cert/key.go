package cert

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"stagecoach/rfc/fortuna"
)

// SeedKey returns the key that the reference's services derive from --key-seed: RSA of 4096
// bits, from the text as it is. It takes in the order of a second.
func SeedKey(seed string) (*rsa.PrivateKey, error) { return fortuna.RSA([]byte(seed), 4096) }

// FileKey reads a private key in PEM from a file that only its owner may read. Where there is
// no file it makes one, with a new key for ECDSA P-256.
func FileKey(file string) (crypto.Signer, error) {
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		text, err := keyPEM(key)
		if err != nil {
			return nil, err
		}
		return key, replaceFile(file, text)
	}
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("%s holds a private key, but its mode is %04o: others can read it; run chmod 600 %s", file, mode, file)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	key, err := parseKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return key, nil
}

func keyPEM(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// parseKey reads the first private key of a text in PEM. No error shows any of it.
func parseKey(text []byte) (crypto.Signer, error) {
	for {
		var b *pem.Block
		if b, text = pem.Decode(text); b == nil {
			return nil, errors.New("there is no private key in PEM")
		}
		var key any
		var err error
		switch b.Type {
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(b.Bytes)
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(b.Bytes)
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(b.Bytes)
		default:
			continue
		}
		if s, ok := key.(crypto.Signer); ok && err == nil {
			return s, nil
		}
		return nil, errors.New("the private key cannot be read")
	}
}

// AccountKey returns the key of an ACME account as the reference has it: for "rsa" the key of
// so many bits that follows from the text of the seed; for "ed25519", "p256", "p384" and
// "p521" the seed is the private key itself in base64.
func AccountKey(kind, seed string, bits int) (crypto.Signer, error) {
	if strings.TrimSpace(seed) == "" {
		return nil, errors.New("account key: the seed is empty")
	}
	if kind == "rsa" {
		return fortuna.RSA([]byte(seed), bits)
	}
	raw, err := base64.StdEncoding.DecodeString(seed)
	if err != nil {
		return nil, errors.New("account key: for this type the seed is the private key in base64, and this is none")
	}
	curves := map[string]elliptic.Curve{"p256": elliptic.P256(), "p384": elliptic.P384(), "p521": elliptic.P521()}
	switch curve := curves[kind]; {
	case kind == "ed25519" && len(raw) == ed25519.SeedSize:
		return ed25519.NewKeyFromSeed(raw), nil
	case kind == "ed25519":
		return nil, fmt.Errorf("account key: an Ed25519 key has %d octets, this one %d", ed25519.SeedSize, len(raw))
	case curve == nil:
		return nil, fmt.Errorf("account key: %q is none of rsa, ed25519, p256, p384, p521", kind)
	default:
		key, err := ecdsa.ParseRawPrivateKey(curve, raw)
		if err != nil {
			return nil, fmt.Errorf("account key: no private key of %s", kind)
		}
		return key, nil
	}
}
