package account

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/blake2b"

	"stagecoach/rfc/sasl"
)

// A secret is a password in a form that is kept.
type secret interface {
	matches(password string) bool
	weak() bool
	cost() string  // equal for secrets that take the same work
	dummy() secret // one of the same cost that no password matches, but by chance
}

// parseSecret reads the value of "password". An error shows nothing of it.
func parseSecret(text string) (secret, error) {
	switch {
	case strings.HasPrefix(text, "$argon2id$"):
		return parseArgon2(text)
	case strings.HasPrefix(text, sasl.MechanismScram+"$"):
		k, err := sasl.ParseScramKeys(text)
		return scramSecret{k}, err
	case len(text) == 2*blake2b.Size:
		sum, err := hex.DecodeString(text)
		if err != nil {
			return nil, errors.New("not hexadecimal")
		}
		return blakeSecret(sum), nil
	}
	return nil, errors.New("neither argon2id, SCRAM-SHA-256 keys, nor BLAKE2b-512 in hexadecimal; a password itself has no place in a file")
}

// HashPassword returns a password as argon2id, the form to prefer.
func HashPassword(password string) (string, error) {
	if err := checkPassword(password); err != nil {
		return "", err
	}
	a := argonSecret{memory: argonMemory, time: argonTime, threads: 1, salt: randomBytes(16)}
	a.sum = a.derive(password, 32)
	return a.String(), nil
}

// ScramPassword returns a password as SCRAM-SHA-256 keys, for clients that log in by SCRAM.
func ScramPassword(password string) (string, error) {
	if err := checkPassword(password); err != nil {
		return "", err
	}
	k, err := sasl.NewScramKeys(password, sasl.DefaultIterations)
	return k.String(), err
}

func checkPassword(password string) error {
	if password == "" || len(password) > sasl.MaxPassword {
		return fmt.Errorf("a password has 1 to %d octets", sasl.MaxPassword)
	}
	if strings.ContainsRune(password, 0) {
		return errors.New("a password cannot hold NUL")
	}
	return nil
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) //nolint:errcheck // it does not fail
	return b
}

// What argon2id costs when we make it (the second recommendation of RFC 9106 section 4, with
// one lane), and what it may cost at most: two of these run at once, and no more.
const (
	argonMemory    = 64 << 10 // KiB
	argonTime      = 3
	maxArgonMemory = 64 << 10
	maxArgonTime   = 8
	maxArgonLanes  = 4
	minArgonMemory = 7 << 10 // OWASP's least, with five passes
)

type argonSecret struct {
	memory  uint32 // KiB
	time    uint32
	threads uint8
	salt    []byte
	sum     []byte
}

// parseArgon2 reads $argon2id$v=19$m=65536,t=3,p=1$salt$hash.
func parseArgon2(text string) (secret, error) {
	parts := strings.Split(text, "$")
	if len(parts) != 6 || parts[2] != "v=19" {
		return nil, errors.New("argon2id: not $argon2id$v=19$m=…,t=…,p=…$salt$hash")
	}
	var a argonSecret
	for i, f := range strings.Split(parts[3], ",") {
		if i > 2 || !strings.HasPrefix(f, "mtp"[i:i+1]+"=") {
			return nil, errors.New("argon2id: the parameters are m, t and p")
		}
		n, err := strconv.ParseUint(f[2:], 10, 32)
		if err != nil {
			return nil, errors.New("argon2id: a parameter is no number")
		}
		switch i {
		case 0:
			a.memory = uint32(n)
		case 1:
			a.time = uint32(n)
		case 2:
			a.threads = uint8(min(n, 255))
		}
	}
	if a.memory > maxArgonMemory || a.time > maxArgonTime || a.threads > maxArgonLanes {
		return nil, fmt.Errorf("argon2id: costs more than m=%d,t=%d,p=%d", maxArgonMemory, maxArgonTime, maxArgonLanes)
	}
	if a.memory < 8*uint32(a.threads) || a.time < 1 || a.threads < 1 {
		return nil, errors.New("argon2id: a parameter is too small")
	}
	var err1, err2 error
	a.salt, err1 = base64.RawStdEncoding.Strict().DecodeString(parts[4])
	a.sum, err2 = base64.RawStdEncoding.Strict().DecodeString(parts[5])
	if err1 != nil || err2 != nil || len(a.salt) < 8 || len(a.salt) > 64 || len(a.sum) < 16 || len(a.sum) > 64 {
		return nil, errors.New("argon2id: salt or hash is malformed or of a wrong length")
	}
	return a, nil
}

func (a argonSecret) derive(password string, n int) []byte {
	return argon2.IDKey([]byte(password), a.salt, a.time, a.memory, a.threads, uint32(n))
}

func (a argonSecret) String() string {
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$%s$%s$%s", argon2.Version, a.parameters(), b64(a.salt), b64(a.sum))
}

func (a argonSecret) parameters() string {
	return fmt.Sprintf("m=%d,t=%d,p=%d", a.memory, a.time, a.threads)
}

func (a argonSecret) matches(password string) bool {
	return subtle.ConstantTimeCompare(a.derive(password, len(a.sum)), a.sum) == 1
}

func (a argonSecret) weak() bool   { return a.memory < minArgonMemory }
func (a argonSecret) cost() string { return "argon2id " + a.parameters() }
func (a argonSecret) dummy() secret {
	a.salt, a.sum = randomBytes(len(a.salt)), randomBytes(len(a.sum))
	return a
}

type scramSecret struct{ keys sasl.ScramKeys }

func (s scramSecret) matches(password string) bool { return s.keys.Matches(password) }
func (s scramSecret) weak() bool                   { return false }
func (s scramSecret) cost() string                 { return fmt.Sprintf("scram %d", s.keys.Iterations) }
func (s scramSecret) dummy() secret {
	return scramSecret{fakeKeys(len(s.keys.Salt), s.keys.Iterations, randomBytes(32))}
}

// blakeSecret is an unkeyed and unsalted BLAKE2b-512, which the OCaml system keeps.
type blakeSecret []byte

func (s blakeSecret) matches(password string) bool {
	sum := blake2b.Sum512([]byte(password))
	return subtle.ConstantTimeCompare(sum[:], s) == 1
}

func (s blakeSecret) weak() bool    { return true }
func (s blakeSecret) cost() string  { return "blake2b" }
func (s blakeSecret) dummy() secret { return blakeSecret(randomBytes(blake2b.Size)) }

// prevailing returns a dummy as costly as most secrets are, so that the time to answer does
// not say whether a name exists.
func prevailing(users []*User) secret {
	count := map[string]int{}
	most := secret(argonSecret{memory: argonMemory, time: argonTime, threads: 1,
		salt: make([]byte, 16), sum: make([]byte, 32)})
	for _, u := range users {
		if u.secret == nil {
			continue
		}
		c := u.secret.cost()
		count[c]++
		if count[c] > count[most.cost()] {
			most = u.secret
		}
	}
	return most.dummy()
}
