package main

import (
	"context"
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
	confirm bool // the people there are asked first

	password string // once made
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
		if hasUsers(files) {
			return p.somePostmaster(files)
		}
		if t.quiet {
			return nil
		}
		if name, targets, err = askNames(t, p.domain.Name); err != nil || name == "" {
			return err
		}
	}
	if p.user, err = parseUser(p.domain.Name, name, targets); err != nil {
		return err
	}
	p.user.confirm = c.Confirm
	p.service.Postmaster = p.user.address.String()
	return nil
}

// somePostmaster has a user who is there already get the mail to postmaster and abuse, should the
// configuration be written anew.
func (p *plan) somePostmaster(files map[string][]byte) error {
	book, err := account.Parse(files, p.settings())
	if err != nil {
		return fmt.Errorf("%s: %w", p.service.Users(), err)
	}
	for u := range book.Users() {
		if u.Domain == p.domain.Name && (u.Receives() || u.Waits()) {
			p.service.Postmaster = u.Address().String()
			return nil
		}
	}
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

// settings are those by which the users are read here. The postmaster of the configuration may be
// the very user who is to be made.
func (p *plan) settings() account.Settings {
	return account.Settings{Domain: p.domain.Name, Separator: "+"}
}

// firstUser makes the first user, with a password that is kept nowhere and shown at the end.
func (p *plan) firstUser() step {
	u := &p.user
	return step{u.address.String(), "user", func(ctx context.Context) (bool, error) {
		files, err := filesOf(ctx, p.service.Users())
		if err != nil {
			return false, err
		}
		book, err := account.Parse(files, p.settings())
		if err != nil {
			return false, err
		}
		_, there := book.Holder(u.address)
		return there, nil
	}, func(ctx context.Context) error {
		r, err := repo.Open(p.service.Users(), repo.Options{})
		if err != nil {
			return err
		}
		password := passphrase()
		kept, err := passwordOptions{Hash: "scram"}.kept(password)
		if err != nil {
			return err
		}
		_, err = account.Edit(ctx, r, p.settings(), whoIsHere(), func(d *account.Draft) (string, error) {
			entry, err := d.New(u.address)
			if err != nil {
				return "", err
			}
			entry.Targets, entry.Password = u.targets, kept
			if u.confirm {
				entry.Pending = outside(d.Book, u.targets)
			}
			return "Add " + u.address.String(), d.Put(entry)
		})
		u.password = password
		return err
	}}
}

// tellUser shows what only the first user is to know.
func (p *plan) tellUser(t *talk) {
	u := p.user
	if u.password == "" {
		return
	}
	t.title("The first user")
	if u.confirm {
		t.say("Asked by mail as soon as the service runs, and nothing else goes there before somebody agrees:")
		for _, a := range u.targets {
			t.say("    %s", a)
		}
	}
	t.say("The password of %s, shown this once: %s", u.address, t.paint("1", u.password))
	t.say("It is for sending, by %s, port 465, SSL/TLS. \"stagecoach user show %s\" says what to type into which program.", p.domain.Submission, u.address.Local())
}
