package account

import (
	"slices"
	"strings"

	"stagecoach/mail"
)

// A User is an account: a name in a domain, with what belongs to it. It does not change.
type User struct {
	Name     string         // local part, as the file is named
	Domain   string         // as mail.Address.Domain
	Targets  []mail.Address // where mail goes
	Pending  []mail.Address // where it would go, and nobody there has confirmed it
	Aliases  []mail.Address // further addresses
	CatchAll bool
	Disabled bool
	Role     bool   // postmaster or abuse of a domain in which no file names it
	File     string // where it was read, "" for a role

	address   mail.Address
	separator string
	secret    secret // nil when there is no password
	book      *Book
}

// Address returns the user's own address.
func (u *User) Address() mail.Address { return u.address }

// Receives reports whether mail to the user has anywhere to go.
func (u *User) Receives() bool { return !u.Disabled && len(u.Targets) > 0 }

// Waits reports whether mail to the user has nowhere to go yet, and will when somebody
// confirms a target.
func (u *User) Waits() bool { return !u.Disabled && len(u.Targets) == 0 && len(u.Pending) > 0 }

// Secret says in which form the password is kept: "argon2id", "scram", "blake2b", or "" when
// there is none.
func (u *User) Secret() string {
	if u.secret == nil {
		return ""
	}
	kind, _, _ := strings.Cut(u.secret.cost(), " ")
	return kind
}

// CanLogin reports whether there is a password by which the user can get in.
func (u *User) CanLogin() bool { return !u.Disabled && u.secret != nil }

// Weak reports whether the password is kept in a form that is quickly guessed by who gets
// hold of the file.
func (u *User) Weak() bool { return u.secret != nil && u.secret.weak() }

// Owns reports whether the user may write as a: it is an address at which mail reaches the
// account, by name, alias, sub-address or catch-all, or one of a role that is the user's.
func (u *User) Owns(a mail.Address) bool {
	other, ok := u.book.Lookup(a)
	if !ok {
		return false
	}
	if other.Role {
		return slices.ContainsFunc(other.Targets, func(t mail.Address) bool {
			holder, ok := u.book.Lookup(t)
			return ok && holder == u
		})
	}
	return other == u
}
