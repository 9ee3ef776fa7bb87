package main

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"stagecoach/rfc/dkim"
	"stagecoach/rfc/fortuna"
	"stagecoach/stage/sign"
)

// dkimKey reads a private key: PEM, or the base64 seed of the reference, from which the same
// RSA-2048 key follows as there.
func dkimKey(text []byte) (crypto.Signer, error) {
	if strings.Contains(string(text), "-----BEGIN") {
		return dkim.ParsePrivateKey(text)
	}
	seed, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(seed) == 0 {
		return nil, errors.New("neither a private key in PEM nor a seed in base64")
	}
	return fortuna.RSA(seed, 2048)
}

// signingKeys collects the keys of the options. When there are none it takes those of the
// folder, which it makes at the first start: one RSA, which every receiver knows, and one
// Ed25519.
func signingKeys(o signOptions, folder string) ([]sign.Key, error) {
	var keys []sign.Key
	if !o.PrivateKey.IsZero() {
		k, err := dkimKey(o.PrivateKey.Bytes())
		if err != nil {
			return nil, fmt.Errorf("DKIM key: %w", err)
		}
		keys = append(keys, sign.Key{Selector: o.Selector, Private: k})
	}
	for _, entry := range o.Keys {
		k, err := namedKey(entry)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	if len(keys) > 0 || folder == "" {
		return keys, nil
	}
	for _, kind := range []string{"rsa", "ed25519"} {
		name := filepath.Join(folder, "dkim-"+kind+".pem")
		if err := ensureKey(name, kind); err != nil {
			return nil, err
		}
		k, err := namedKey(o.Selector + "-" + kind + "=" + name)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
}

func namedKey(entry string) (sign.Key, error) {
	selector, file, ok := strings.Cut(entry, "=")
	if !ok {
		return sign.Key{}, fmt.Errorf("DKIM key %q: write SELECTOR=FILE", entry)
	}
	text, err := readPrivate(file)
	if err != nil {
		return sign.Key{}, fmt.Errorf("DKIM key: %w", err)
	}
	k, err := dkimKey(text)
	if err != nil {
		return sign.Key{}, fmt.Errorf("DKIM key %s: %w", file, err)
	}
	return sign.Key{Selector: selector, Private: k}, nil
}

func ensureKey(name, kind string) error {
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	k, err := generateKey(kind)
	if err != nil {
		return err
	}
	return writeKey(name, k)
}

func generateKey(kind string) (crypto.Signer, error) {
	if kind == "ed25519" {
		_, k, err := ed25519.GenerateKey(rand.Reader)
		return k, err
	}
	return rsa.GenerateKey(rand.Reader, 2048)
}

// writeKey writes a new file, which only its owner can read; it never replaces one.
func writeKey(name string, k crypto.Signer) error {
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		return err
	}
	return writeNew(name, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// writeNew writes a private file whole and synced, or not at all.
func writeNew(name string, text []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(text)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err != nil {
		return err
	}
	if err := os.Link(tmp.Name(), name); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(name))
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// ensureSecret returns the 32 octets that a file holds, and makes them at the first start.
func ensureSecret(name string) ([]byte, error) {
	secret, err := readPrivate(name)
	if errors.Is(err, fs.ErrNotExist) {
		secret = make([]byte, 32)
		rand.Read(secret)
		return secret, writeNew(name, secret)
	}
	if err == nil && len(secret) < 16 {
		err = fmt.Errorf("%s: a key has at least 16 octets", name)
	}
	return secret, err
}
