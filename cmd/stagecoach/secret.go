package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// A Secret is a flag or setting whose value is not for other eyes. It is written as
// "@FILE" (mode 0600 or 0400, ours or root's), as "credential:NAME" (a systemd credential),
// or, as in the articles, literally: then everyone who can see the process list can read it,
// and we warn.
type Secret struct {
	value   []byte
	literal bool
}

// UnmarshalText reads the secret from where the text says.
func (s *Secret) UnmarshalText(text []byte) error {
	switch t := string(text); {
	case strings.HasPrefix(t, "@"):
		return s.readFile(t[1:])
	case strings.HasPrefix(t, "credential:"):
		return s.readCredential(strings.TrimPrefix(t, "credential:"))
	default:
		*s = Secret{value: bytes.Clone(text), literal: true}
		return nil
	}
}

// String hides the secret, so that no log or error shows it.
func (s Secret) String() string { return "(secret)" }

// LogValue hides the secret from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue("(secret)") }

// IsZero reports whether no secret was given.
func (s Secret) IsZero() bool { return len(s.value) == 0 }

// Bytes returns the secret as it was written.
func (s Secret) Bytes() []byte { return s.value }

// Text returns the secret without white space at its ends.
func (s Secret) Text() string { return strings.TrimSpace(string(s.value)) }

// warn tells of a secret that stands in the process list.
func (s Secret) warn(log *slog.Logger, flag string) {
	if s.literal {
		log.Warn("a secret was given literally: every user of this machine can read it in the process list; write @FILE instead", "flag", flag)
	}
}

func (s *Secret) readCredential(name string) error {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" {
		return fmt.Errorf("credential %q: systemd gave no credentials to this process (LoadCredential= in the unit does)", name)
	}
	if name == "" || name != filepath.Base(name) {
		return fmt.Errorf("credential %q: a credential has a plain name", name)
	}
	v, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return fmt.Errorf("credential %q: %w", name, errors.Unwrap(err))
	}
	s.value = v
	return nil
}

func (s *Secret) readFile(name string) error {
	v, err := readPrivate(name)
	if err != nil {
		return err
	}
	if len(v) == 0 {
		return fmt.Errorf("%s: the file is empty", name)
	}
	s.value = v
	return nil
}

// readPrivate reads a file that only its owner may read.
func readPrivate(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("%s holds a secret, but its mode is %04o: others can read it; run chmod 600 %s", name, mode, name)
	}
	return os.ReadFile(name)
}
