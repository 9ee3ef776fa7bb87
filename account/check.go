package account

import (
	"fmt"
	"slices"
	"strings"

	"stagecoach/mail"
)

// takeAll gives every address to its user: first the names, so that an error names the file
// that has the address as a name before the one that has it as an alias.
func (p *parser) takeAll() {
	for _, u := range p.book.users {
		p.take(u.address, u)
	}
	for _, u := range p.book.users {
		for _, a := range u.Aliases {
			if p.book.domains[a.Domain()] == nil {
				p.fault(u, "alias %s: the domain is not hosted here", a)
				continue
			}
			p.take(a, u)
		}
		if !u.CatchAll {
			continue
		}
		d := p.book.domains[u.Domain]
		if d.catchAll != nil {
			p.fault(u, "catch_all: %s is the catch-all of %s already", d.catchAll.File, u.Domain)
			continue
		}
		d.catchAll = u
	}
}

func (p *parser) take(a mail.Address, u *User) {
	if e, taken := p.book.entries[fold(a)]; taken {
		p.fault(u, "%s is taken by %s", a, e.file)
		return
	}
	p.book.entries[fold(a)] = entry{u, u.File}
}

func (p *parser) fault(u *User, format string, args ...any) {
	p.errs = append(p.errs, fmt.Errorf("%s: %w", u.File, fmt.Errorf(format, args...)))
}

// checkRoles makes the users that stand for postmaster and abuse.
func (p *parser) checkRoles() {
	for name, d := range p.book.domains {
		if d.postmaster.IsZero() {
			continue
		}
		d.roles = map[string]*User{}
		for _, role := range []string{"postmaster", "abuse"} {
			a, err := mail.NewAddress(role, name)
			if err != nil {
				p.errs = append(p.errs, err)
				continue
			}
			d.roles[role] = &User{Name: role, Domain: name, Targets: []mail.Address{d.postmaster},
				Role: true, address: a, book: p.book}
		}
	}
	for name, d := range p.book.domains {
		if d.postmaster.IsZero() || !p.book.Hosts(d.postmaster.Domain()) {
			continue
		}
		if u, ok := p.book.Lookup(d.postmaster); !ok || u.Role {
			p.errs = append(p.errs, fmt.Errorf("postmaster of %s: nobody here has the address %s", name, d.postmaster))
		}
	}
}

// checkTargets finds targets in our own domains that nobody has. Circles are left to who
// follows targets.
func (p *parser) checkTargets() {
	for _, u := range p.book.users {
		for _, t := range u.Targets {
			if _, ok := p.book.Lookup(t); !ok && p.book.Hosts(t.Domain()) {
				p.fault(u, "target %s: nobody here has this address", t)
			}
		}
	}
}

func (p *parser) finish() {
	b := p.book
	slices.SortFunc(b.users, func(x, y *User) int {
		if c := strings.Compare(x.Domain, y.Domain); c != 0 {
			return c
		}
		return strings.Compare(x.Name, y.Name)
	})
	b.dummy = prevailing(b.users)
	n, other := 0, 0
	for _, u := range b.users {
		if !u.CanLogin() {
			continue
		}
		if _, ok := u.secret.(scramSecret); ok {
			n++
		} else {
			other++
		}
	}
	b.allScram = n > 0 && other == 0
}
