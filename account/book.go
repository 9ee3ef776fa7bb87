package account

import (
	"iter"
	"slices"
	"strings"

	"stagecoach/mail"
)

// Settings are what does not stand in the files.
type Settings struct {
	Domain     string       // the main domain
	Postmaster mail.Address // gets mail to postmaster and abuse; zero for nobody
	Separator  string       // of sub-addresses; "" for none. "+" is usual

	// Trust takes every target for confirmed, whatever the files say.
	Trust bool

	// Confirmed reports whether a target that the files have as unconfirmed was confirmed
	// nevertheless, and the files do not know yet; nil knows of none.
	Confirmed func(user, target mail.Address) bool
}

// A Book is all accounts at one moment. It does not change, so that everything that is
// looked up in one Book fits together.
type Book struct {
	Version string // of the files

	users    []*User // by domain and name
	entries  map[mail.Address]entry
	domains  map[string]*domain
	main     string
	dummy    secret
	allScram bool
}

// An entry is a taken address: the user it leads to, and the file that takes it.
type entry struct {
	user *User
	file string
}

type domain struct {
	separator  string
	postmaster mail.Address
	catchAll   *User
	roles      map[string]*User // postmaster, abuse
}

// fold makes an address comparable without case.
func fold(a mail.Address) mail.Address {
	low := strings.ToLower(a.Local())
	if low == a.Local() {
		return a
	}
	f, err := mail.NewAddress(low, a.Domain())
	if err != nil { // a letter whose small form is longer, in a name of the greatest length
		return a
	}
	return f
}

// Domains returns the domains that are hosted here, in their order.
func (b *Book) Domains() []string {
	var names []string
	for name := range b.domains {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Main returns the main domain.
func (b *Book) Main() string { return b.main }

// Hosts reports whether a domain is hosted here. It takes the form of mail.Address.Domain.
func (b *Book) Hosts(domain string) bool { return b.domains[domain] != nil }

// Users yields all accounts by domain and name, without roles.
func (b *Book) Users() iter.Seq[*User] { return slices.Values(b.users) }

// Lookup returns whose address a is. A disabled user is found too: the address is taken, but
// takes no mail.
func (b *Book) Lookup(a mail.Address) (*User, bool) {
	d := b.domains[a.Domain()]
	if d == nil {
		return nil, false
	}
	key := fold(a)
	if e, ok := b.entries[key]; ok {
		return e.user, true
	}
	if u := b.subAddress(key); u != nil {
		return u, true
	}
	if u := d.roles[key.Local()]; u != nil {
		return u, true
	}
	return d.catchAll, d.catchAll != nil
}

// subAddress finds the longest name before a separator. key is folded.
func (b *Book) subAddress(key mail.Address) *User {
	local := key.Local()
	for i := len(local) - 1; i > 0; i-- {
		base, err := mail.NewAddress(local[:i], key.Domain())
		if err != nil {
			continue
		}
		e, ok := b.entries[base]
		if ok && e.user.separator != "" && strings.HasPrefix(local[i:], e.user.separator) {
			return e.user
		}
	}
	return nil
}

// Login returns the account of a login name: "user" in the main domain, or "user@domain". An
// alias is no login name, so that nobody learns from a login which alias is whose.
func (b *Book) Login(name string) (*User, bool) {
	a, ok := b.loginAddress(name)
	if !ok {
		return nil, false
	}
	e, ok := b.entries[fold(a)]
	if !ok || fold(e.user.address) != fold(a) {
		return nil, false
	}
	return e.user, true
}

func (b *Book) loginAddress(name string) (mail.Address, bool) {
	if i := strings.LastIndexByte(name, '@'); i >= 0 {
		if a, err := mail.ParseAddress(name); err == nil {
			return a, true
		}
		a, err := mail.NewAddress(name[:i], name[i+1:]) // quotes forgotten
		return a, err == nil
	}
	a, err := mail.NewAddress(name, b.main)
	return a, err == nil
}

// Weak yields the users whose passwords are kept in a weak form.
func (b *Book) Weak() iter.Seq[*User] {
	return func(yield func(*User) bool) {
		for _, u := range b.users {
			if u.Weak() && !yield(u) {
				return
			}
		}
	}
}

// AllScram reports whether everybody who can log in can do so by SCRAM. Otherwise SCRAM is
// better not offered: a client picks the strongest mechanism and does not try another.
func (b *Book) AllScram() bool { return b.allScram }
