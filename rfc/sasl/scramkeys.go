package sasl

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/xdg-go/scram"
)

// ScramKeys are what a server keeps of a password for SCRAM-SHA-256: enough to check it,
// not enough to log in with it elsewhere (RFC 5802 section 3).
type ScramKeys struct {
	Salt       []byte
	Iterations int
	StoredKey  []byte // 32 octets
	ServerKey  []byte // 32 octets
}

// Bounds of the number of iterations. RFC 7677 section 4 asks for no fewer than 4096; a
// server that checks a PLAIN password has to do them itself, so there is a most.
const (
	MinIterations     = 4096
	MaxIterations     = 2_000_000
	DefaultIterations = 600_000
)

// NewScramKeys derives keys of a password with a new salt.
func NewScramKeys(password string, iterations int) (ScramKeys, error) {
	salt := make([]byte, 16)
	rand.Read(salt) //nolint:errcheck // it does not fail
	return DeriveScramKeys(password, salt, iterations)
}

// DeriveScramKeys derives the keys of a password. The password is prepared by SASLprep (RFC
// 4013), as RFC 5802 section 2.2 asks of both sides; one that SASLprep refuses, say for a
// character younger than Unicode 3.2, is taken as it stands, which is what clients do too.
func DeriveScramKeys(password string, salt []byte, iterations int) (ScramKeys, error) {
	if iterations < MinIterations || iterations > MaxIterations {
		return ScramKeys{}, fmt.Errorf("SCRAM: %d iterations; %d to %d are allowed", iterations, MinIterations, MaxIterations)
	}
	client, err := scram.SHA256.NewClient("", password, "")
	if err != nil {
		if client, err = scram.SHA256.NewClientUnprepped("", password, ""); err != nil {
			return ScramKeys{}, errors.New("SCRAM: the password cannot be used")
		}
	}
	c, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: string(salt), Iters: iterations})
	if err != nil {
		return ScramKeys{}, errors.New("SCRAM: no keys can be derived")
	}
	return ScramKeys{salt, iterations, c.StoredKey, c.ServerKey}, nil
}

// Matches reports whether the keys are of this password. It does the work of all iterations.
func (k ScramKeys) Matches(password string) bool {
	other, err := DeriveScramKeys(password, k.Salt, k.Iterations)
	return err == nil && subtle.ConstantTimeCompare(k.StoredKey, other.StoredKey) == 1
}

// String returns the keys as text, in the form of RFC 5803 that PostgreSQL and others use:
//
//	SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>
func (k ScramKeys) String() string {
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("%s$%d:%s$%s:%s", MechanismScram, k.Iterations, b64(k.Salt), b64(k.StoredKey), b64(k.ServerKey))
}

// ParseScramKeys reads what String writes. An error shows nothing of the text.
func ParseScramKeys(text string) (ScramKeys, error) {
	bad := func(what string) (ScramKeys, error) { return ScramKeys{}, errors.New("SCRAM keys: " + what) }
	parts := strings.Split(text, "$")
	if len(parts) != 3 || parts[0] != MechanismScram {
		return bad("not SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey")
	}
	count, salt, ok1 := strings.Cut(parts[1], ":")
	stored, server, ok2 := strings.Cut(parts[2], ":")
	if !ok1 || !ok2 {
		return bad("a colon is missing")
	}
	var k ScramKeys
	n, err := strconv.ParseUint(count, 10, 32)
	if err != nil || n < MinIterations || n > MaxIterations || count[0] == '0' {
		return bad(fmt.Sprintf("iterations must be %d to %d", MinIterations, MaxIterations))
	}
	k.Iterations = int(n)
	for _, f := range []struct {
		to       *[]byte
		text     string
		min, max int
		name     string
	}{
		{&k.Salt, salt, 8, 64, "salt"},
		{&k.StoredKey, stored, sha256.Size, sha256.Size, "StoredKey"},
		{&k.ServerKey, server, sha256.Size, sha256.Size, "ServerKey"},
	} {
		b, err := base64.StdEncoding.Strict().DecodeString(f.text)
		if err != nil || len(b) < f.min || len(b) > f.max || strings.ContainsAny(f.text, "\r\n") {
			return bad("the " + f.name + " is malformed or of a wrong length")
		}
		*f.to = b
	}
	return k, nil
}
