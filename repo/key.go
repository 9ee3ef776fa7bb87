package repo

import (
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/crypto/ssh"
)

const maxKeyFile = 64 << 10

// parseKey reads a private key from text or from the file that the text names. No error
// shows any of the key.
func parseKey(text string, derive func(string) (*rsa.PrivateKey, error)) (ssh.Signer, error) {
	text = strings.TrimSpace(text)
	if isKeyText(text) {
		return parseKeyText(text, derive)
	}
	info, err := os.Stat(text)
	if err != nil {
		// The text may be a key with a typing error in front, so it is not shown.
		return nil, errors.New("the private key is neither ed25519:…, rsa:…, PEM, nor a file that can be read")
	}
	if !info.Mode().IsRegular() || info.Size() > maxKeyFile {
		return nil, fmt.Errorf("%s is no key file", text)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read or written by others (mode %v); make it 0600", text, info.Mode().Perm())
	}
	data, err := os.ReadFile(text)
	if err != nil {
		return nil, err
	}
	inside := strings.TrimSpace(string(data))
	if !isKeyText(inside) {
		return nil, fmt.Errorf("%s holds no private key", text)
	}
	signer, err := parseKeyText(inside, derive)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", text, err)
	}
	return signer, nil
}

func isKeyText(s string) bool {
	return strings.HasPrefix(s, "ed25519:") || strings.HasPrefix(s, "rsa:") || strings.HasPrefix(s, "-----BEGIN ")
}

func parseKeyText(s string, derive func(string) (*rsa.PrivateKey, error)) (ssh.Signer, error) {
	if in, ok := strings.CutPrefix(s, "ed25519:"); ok {
		seed, err := base64.StdEncoding.DecodeString(in)
		if err != nil || len(seed) != ed25519.SeedSize {
			return nil, errors.New("ed25519: not followed by the base64 of 32 octets")
		}
		return ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(seed))
	}
	if seed, ok := strings.CutPrefix(s, "rsa:"); ok {
		if derive == nil {
			return nil, errors.New("keys made from an RSA seed are not supported here")
		}
		key, err := derive(seed)
		if err != nil {
			return nil, fmt.Errorf("RSA key from its seed: %w", err)
		}
		return ssh.NewSignerFromKey(key)
	}
	signer, err := ssh.ParsePrivateKey([]byte(s))
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) {
		return nil, errors.New("the private key has a passphrase; nobody is here to type it")
	}
	if err != nil {
		return nil, errors.New("the private key is damaged or of an unknown kind")
	}
	return signer, nil
}
