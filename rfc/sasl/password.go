package sasl

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"unicode/utf8"
)

// The names of the mechanisms, as the AUTH keyword of EHLO has them.
const (
	MechanismPlain     = "PLAIN"
	MechanismLogin     = "LOGIN"
	MechanismScram     = "SCRAM-SHA-256"
	MechanismScramPlus = "SCRAM-SHA-256-PLUS"
)

// How an exchange can fail by the client's doing. Everything else is trouble of our own.
var (
	ErrSyntax = errors.New("malformed authentication exchange")
	ErrDenied = errors.New("authentication credentials invalid")
)

// The longest name and password that are looked at. A longer one is refused before any work.
const (
	MaxName     = 512
	MaxPassword = 1024
)

// A Verify checks a password, and returns who it belongs to as "local@domain". It returns
// ErrDenied, or an error that wraps it, for a wrong one and for an unknown name alike.
type Verify func(ctx context.Context, name, password string) (user string, err error)

// checkPair refuses what no account can have.
func checkPair(name, password string) error {
	switch {
	case name == "" || len(name) > MaxName || password == "" || len(password) > MaxPassword:
		return ErrDenied
	case !utf8.ValidString(name) || strings.ContainsFunc(name, isControl):
		return ErrSyntax
	}
	return nil
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// checkAuthzid holds to RFC 4422 section 3.4.1: who is logged in may act as himself alone.
func checkAuthzid(authzid, name, user string) error {
	if authzid == "" || strings.EqualFold(authzid, name) || strings.EqualFold(authzid, user) {
		return nil
	}
	return ErrDenied
}

// NewPlain returns the server's side of PLAIN (RFC 4616). The password goes over the wire,
// so it is for TLS alone.
func NewPlain(v Verify) Exchange { return &plain{verify: v} }

type plain struct {
	verify Verify
	asked  bool
	user   string
}

func (x *plain) User() string { return x.user }

func (x *plain) Next(ctx context.Context, response []byte) ([]byte, bool, error) {
	if response == nil && !x.asked {
		x.asked = true
		return []byte{}, false, nil
	}
	parts := bytes.Split(response, []byte{0})
	if len(parts) != 3 {
		return nil, true, ErrSyntax
	}
	authzid, name, password := string(parts[0]), string(parts[1]), string(parts[2])
	if err := checkPair(name, password); err != nil {
		return nil, true, err
	}
	user, err := x.verify(ctx, name, password)
	if err == nil {
		err = checkAuthzid(authzid, name, user)
	}
	if err != nil {
		return nil, true, err
	}
	x.user = user
	return nil, true, nil
}

// NewLogin returns the server's side of LOGIN (draft-murchison-sasl-login), which old
// clients know. The password goes over the wire, so it is for TLS alone.
func NewLogin(v Verify) Exchange { return &login{verify: v} }

type login struct {
	verify Verify
	asked  int // 1: the name, 2: the password
	name   string
	user   string
}

func (x *login) User() string { return x.user }

func (x *login) Next(ctx context.Context, response []byte) ([]byte, bool, error) {
	switch {
	case x.asked == 0 && response == nil:
		x.asked = 1
		return []byte("Username:"), false, nil
	case x.asked <= 1: // the name may come as the initial response
		x.asked = 2
		x.name = string(response)
		return []byte("Password:"), false, nil
	}
	password := string(response)
	if err := checkPair(x.name, password); err != nil {
		return nil, true, err
	}
	user, err := x.verify(ctx, x.name, password)
	if err != nil {
		return nil, true, err
	}
	x.user = user
	return nil, true, nil
}

var (
	_ Exchange = (*plain)(nil)
	_ Exchange = (*login)(nil)
)
