package account

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"strings"
	"time"

	"stagecoach/rfc/sasl"
)

// ErrBusy says that a password could not be checked for now: too many others are waiting.
var ErrBusy = errors.New("too many logins at once")

// Authenticate checks a password and returns the account that it opens. An unknown name, a
// wrong password, a disabled account and one without a password all give sasl.ErrDenied
// after the same work. The work is bounded: when too many wait, it returns ErrBusy.
func (d *Directory) Authenticate(ctx context.Context, name, password string) (*User, error) {
	if len(password) > sasl.MaxPassword || len(name) > sasl.MaxName {
		return nil, sasl.ErrDenied
	}
	b := d.Book()
	u, known := b.Login(name)
	s := b.dummy
	if known && u.secret != nil {
		s = u.secret
	}
	if err := d.bench.enter(ctx); err != nil {
		return nil, err
	}
	matches := s.matches(password)
	d.bench.leave()
	if !matches || !known || !u.CanLogin() {
		return nil, sasl.ErrDenied
	}
	return u, nil
}

// ScramKeys returns the keys for a login name, and its account. For a name that cannot log in
// by SCRAM it returns keys that look as everybody's do, always the same ones, and nil.
func (d *Directory) ScramKeys(name string) (sasl.ScramKeys, *User) {
	b := d.Book()
	if u, ok := b.Login(name); ok && u.CanLogin() {
		if s, ok := u.secret.(scramSecret); ok {
			return s.keys, u
		}
	}
	salt, iterations := 16, sasl.DefaultIterations
	if s, ok := b.dummy.(scramSecret); ok {
		salt, iterations = len(s.keys.Salt), s.keys.Iterations
	}
	mac := hmac.New(sha256.New, d.key)
	if a, ok := b.loginAddress(name); ok {
		name = fold(a).String()
	}
	mac.Write([]byte(strings.ToLower(name)))
	return fakeKeys(salt, iterations, mac.Sum(nil)), nil
}

// fakeKeys spreads a seed over keys that no password has.
func fakeKeys(salt, iterations int, seed []byte) sasl.ScramKeys {
	part := func(label string) []byte {
		mac := hmac.New(sha256.New, seed)
		mac.Write([]byte(label))
		return mac.Sum(nil)
	}
	return sasl.ScramKeys{
		Salt:       append(part("salt"), part("more salt")...)[:salt],
		Iterations: iterations,
		StoredKey:  part("stored key"),
		ServerKey:  part("server key"),
	}
}

// A bench has two seats, and a short queue before it.
type bench struct {
	seats chan struct{}
	queue chan struct{}
}

const (
	benchSeats = 2 // each takes up to 64 MiB and a core
	benchQueue = 32
	benchWait  = 15 * time.Second
)

func newBench() bench {
	return bench{make(chan struct{}, benchSeats), make(chan struct{}, benchQueue)}
}

func (b bench) enter(ctx context.Context) error {
	select {
	case b.queue <- struct{}{}:
		defer func() { <-b.queue }()
	default:
		return ErrBusy
	}
	ctx, cancel := context.WithTimeoutCause(ctx, benchWait, ErrBusy)
	defer cancel()
	select {
	case b.seats <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (b bench) leave() { <-b.seats }
