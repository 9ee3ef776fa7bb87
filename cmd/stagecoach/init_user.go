package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"stagecoach/account"
	"stagecoach/mail"
	"stagecoach/repo"
)

// A newUser is the first one of a domain; without a name there is none to make.
type newUser struct {
	address mail.Address
	targets []mail.Address
}

// askUser decides about the first user. Where there are users, only one of a flag is made.
func (c initCmd) askUser(ctx context.Context, t *talk, p *plan) error {
	files, err := filesOf(ctx, p.service.Users())
	if err != nil {
		return err
	}
	name, targets := c.User, c.Target
	if name == "" {
		if len(targets) > 0 {
			return errors.New("--target: whose? give --user as well")
		}
		if hasUsers(files) || t.quiet {
			return nil
		}
		if name, targets, err = askNames(t, p.domain.Name); err != nil || name == "" {
			return err
		}
	}
	if p.user, err = parseUser(p.domain.Name, name, targets); err != nil {
		return err
	}
	p.service.Postmaster = p.user.address.String()
	return nil
}

// hasUsers reports whether there is more than the file that init writes.
func hasUsers(files map[string][]byte) bool {
	for name := range files {
		if name != "README.md" && !strings.HasPrefix(name, ".") {
			return true
		}
	}
	return false
}

func askNames(t *talk, domain string) (string, []string, error) {
	name, err := t.ask(`Who is the first user? Write what stands before the @. Mail to postmaster and abuse goes there too.`, "none", func(s string) error {
		if s == "none" {
			return nil
		}
		_, err := mail.ParseAddress(s + "@" + domain)
		return err
	})
	if err != nil || name == "none" {
		return "", nil, err
	}
	target, err := t.ask(fmt.Sprintf(`Where does %s@%s read mail? It is forwarded to that mailbox; separate several by commas.`, name, domain), "", func(s string) error {
		_, err := parseUser(domain, name, strings.Split(s, ","))
		return err
	})
	return name, strings.Split(target, ","), err
}

func parseUser(domain, name string, targets []string) (newUser, error) {
	var u newUser
	var err error
	if u.address, err = mail.ParseAddress(name + "@" + domain); err != nil || strings.Contains(name, "@") {
		return u, fmt.Errorf("user %q: write what stands before the @", name)
	}
	for _, text := range targets {
		a, err := mail.ParseAddress(strings.TrimSpace(text))
		if err != nil {
			return u, fmt.Errorf("target %q: write an address as ann@mail.example", text)
		}
		if a.Domain() == domain {
			return u, fmt.Errorf("target %s: that is in %s itself, where there is no mailbox", a, domain)
		}
		u.targets = append(u.targets, a)
	}
	if len(u.targets) == 0 {
		return u, fmt.Errorf("where does %s read mail? Give --target ADDRESS", u.address)
	}
	return u, nil
}

func (p *plan) usersRepository() step {
	path := p.service.Users()
	readme := "# Users of " + p.domain.Name + "\n\nA file is a user. \"stagecoach user\" changes them, and so does a push; docs/users.md says what stands in them.\n"
	return step{path, "repository of the users", exists(path), func(ctx context.Context) error {
		return repo.Create(ctx, path, p.change("Users of "+p.domain.Name, map[string][]byte{"README.md": []byte(readme)}))
	}}
}

// makeUser makes the first user, with a password that is shown once and kept nowhere.
func (p *plan) makeUser(ctx context.Context, t *talk, made *[]string) error {
	u := p.user
	if u.address.IsZero() {
		return nil
	}
	r, err := repo.Open(p.service.Users(), repo.Options{})
	if err != nil {
		return err
	}
	password := newPassword()
	hash, err := account.HashPassword(password)
	if err != nil {
		return err
	}
	by := account.Author{Name: "stagecoach init", Email: "postmaster@" + p.domain.Name}
	settings := account.Settings{Domain: p.domain.Name, Separator: "+"}
	changed, err := account.Edit(ctx, r, settings, by, func(d *account.Draft) (string, error) {
		if _, taken := d.Book.Holder(u.address); taken {
			return "", nil
		}
		e, err := d.New(u.address)
		if err != nil {
			return "", err
		}
		e.Targets, e.Password = u.targets, hash
		return "Add " + u.address.String(), d.Put(e)
	})
	if err != nil {
		return err
	}
	p.line(t, step{path: u.address.String(), what: "user"}, !changed, "made")
	if changed {
		*made = append(*made, u.address.String())
		t.title("The password of " + u.address.String() + ", which is shown only now:")
		t.say("  %s", password)
		t.say("In the mail program: outgoing server %s, port 465, TLS, user name %s.", p.domain.Submission, u.address)
	}
	return nil
}

// newPassword has 100 bits, in groups that can be read to somebody.
func newPassword() string {
	const letters = "abcdefghijkmnpqrstuvwxyz23456789" // 32, none like another
	b := make([]byte, 20)
	rand.Read(b) //nolint:errcheck // it does not fail
	var out strings.Builder
	for i, c := range b {
		if i > 0 && i%5 == 0 {
			out.WriteByte('-')
		}
		out.WriteByte(letters[c%32])
	}
	return out.String()
}
