package repo

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// hostKeys are the keys by which a server is known. One of them must be its own.
type hostKeys []hostKey

// A hostKey is a key, or the fingerprint of one.
type hostKey struct {
	kind string // as in ssh.PublicKey.Type; "" when only the fingerprint is known
	sum  [sha256.Size]byte
}

const maxHostKeys = 1 << 20 // octets of text

// The kinds of keys that we ask for, the best first, with the algorithms that each signs by.
var keyKinds = []struct {
	kind       string
	algorithms []string
}{
	{ssh.KeyAlgoED25519, []string{ssh.KeyAlgoED25519}},
	{ssh.KeyAlgoECDSA256, []string{ssh.KeyAlgoECDSA256}},
	{ssh.KeyAlgoECDSA384, []string{ssh.KeyAlgoECDSA384}},
	{ssh.KeyAlgoECDSA521, []string{ssh.KeyAlgoECDSA521}},
	{ssh.KeyAlgoRSA, []string{ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSASHA512}},
}

// parseHostKeys reads lines of any of the forms of Options.HostKeys for a server.
func parseHostKeys(text, address string) (hostKeys, error) {
	text = strings.TrimSpace(text)
	if path, ok := asFile(text); ok {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		text = string(data)
	}
	if len(text) > maxHostKeys {
		return nil, errors.New("far too many host keys")
	}
	var known hostKeys
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		k, ours, err := parseHostKey(line, address)
		if err != nil {
			return nil, err
		}
		if ours {
			known = append(known, k)
		}
	}
	if len(known) == 0 {
		return nil, fmt.Errorf("no host key of %s among the known ones", address)
	}
	return known, nil
}

func asFile(text string) (string, bool) {
	if strings.ContainsAny(text, "\n \t") || strings.Contains(text, "SHA256:") {
		return "", false
	}
	info, err := os.Stat(text)
	return text, err == nil && info.Mode().IsRegular() && info.Size() <= maxHostKeys
}

// parseHostKey reads one line; ours is false when it speaks of another host.
func parseHostKey(line, address string) (k hostKey, ours bool, err error) {
	fields := strings.Fields(line)
	if len(fields) == 1 {
		k, err = parseFingerprint(line)
		return k, true, err
	}
	if blob, err := base64.StdEncoding.DecodeString(fields[1]); err == nil {
		if key, err := ssh.ParsePublicKey(blob); err == nil && key.Type() == fields[0] {
			return keyOf(key), true, nil // a .pub file
		}
	}
	return parseKnownHost(line, address)
}

// parseFingerprint reads [kind:]SHA256:base64, or the base64 of a whole public key.
func parseFingerprint(s string) (hostKey, error) {
	var k hostKey
	before, sum, ok := strings.Cut(s, "SHA256:")
	if !ok {
		blob, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			return k, errors.New("a host key is SHA256:…, a known_hosts line, or a public key")
		}
		key, err := ssh.ParsePublicKey(blob)
		if err != nil {
			return k, errors.New("the host key is no public key")
		}
		return keyOf(key), nil
	}
	switch before {
	case "":
	case "ed25519:":
		k.kind = ssh.KeyAlgoED25519
	case "rsa:":
		k.kind = ssh.KeyAlgoRSA
	default:
		return k, fmt.Errorf("host keys of the kind %q are not known", strings.TrimSuffix(before, ":"))
	}
	raw, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(sum, "="))
	if err != nil || len(raw) != len(k.sum) {
		return k, errors.New("SHA256: not followed by the base64 of 32 octets")
	}
	copy(k.sum[:], raw)
	return k, nil
}

// parseKnownHost reads a line of a known_hosts file (sshd(8)).
func parseKnownHost(line, address string) (k hostKey, ours bool, err error) {
	marker, patterns, key, _, _, err := ssh.ParseKnownHosts([]byte(line + "\n"))
	if err != nil || marker != "" {
		return k, false, fmt.Errorf("not a host key: %.60q", line)
	}
	return keyOf(key), matchHost(patterns, knownhosts.Normalize(address)), nil
}

// matchHost reports whether a list of patterns has the host, as "name" or "[name]:port".
func matchHost(patterns []string, host string) bool {
	found := false
	for _, p := range patterns {
		p, negated := strings.CutPrefix(p, "!")
		if !matchHashed(p, host) && !matchWild(strings.ToLower(p), strings.ToLower(host)) {
			continue
		}
		if negated {
			return false
		}
		found = true
	}
	return found
}

// matchHashed reads a name that ssh has hidden: |1|salt|HMAC-SHA1 (HashKnownHosts).
func matchHashed(pattern, host string) bool {
	parts := strings.Split(pattern, "|")
	if len(parts) != 4 || parts[0] != "" || parts[1] != "1" {
		return false
	}
	salt, err1 := base64.StdEncoding.DecodeString(parts[2])
	want, err2 := base64.StdEncoding.DecodeString(parts[3])
	mac := hmac.New(sha1.New, salt)
	mac.Write([]byte(host))
	return err1 == nil && err2 == nil && hmac.Equal(want, mac.Sum(nil))
}

// matchWild matches * and ?. Everything else, a bracket above all, stands for itself.
func matchWild(pattern, s string) bool {
	star, back := -1, 0
	p, i := 0, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, back = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p++
			i++
		case star >= 0:
			back++
			p, i = star+1, back
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

func keyOf(key ssh.PublicKey) hostKey {
	return hostKey{key.Type(), sha256.Sum256(key.Marshal())}
}

// algorithms returns what to ask the server for, one attempt after the other.
func (known hostKeys) algorithms() [][]string {
	var attempts [][]string
	for _, k := range keyKinds {
		if slices.ContainsFunc(known, func(h hostKey) bool { return h.kind == "" || h.kind == k.kind }) {
			attempts = append(attempts, k.algorithms)
		}
	}
	return attempts
}

// check is an ssh.HostKeyCallback.
func (known hostKeys) check(_ string, _ net.Addr, key ssh.PublicKey) error {
	if slices.ContainsFunc(known, func(h hostKey) bool { return h.sum == keyOf(key).sum }) {
		return nil
	}
	return fmt.Errorf("it showed %s %s: %w", key.Type(), ssh.FingerprintSHA256(key), ErrHostKey)
}
