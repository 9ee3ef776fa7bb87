package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"stagecoach/account"
	"stagecoach/mail"
)

type userAddCmd struct {
	Name            string   `arg:"" help:"The part before the @, or a whole address." placeholder:"NAME"`
	Targets         []string `name:"target" aliases:"targets" short:"t" help:"Where the user's mail goes." placeholder:"ADDRESS"`
	Alias           []string `short:"a" help:"Further address; without @ in the user's domain." placeholder:"ADDRESS"`
	NoPassword      bool     `help:"The user gets mail and cannot send."`
	NoConfirm       bool     `help:"Forward to the targets at once, without asking there."`
	NewDomain       bool     `help:"The domain of NAME is new here."`
	passwordOptions `embed:""`
}

// Help shows examples.
func (userAddCmd) Help() string {
	return `The password is made and shown once, unless --ask or --no-password is given. A target outside of our domains
is asked by mail first, and gets nothing else before somebody there agrees.

Examples:

  stagecoach user add ann -t ann.archer@gmail.com
  stagecoach user add ann -t ann.archer@gmail.com -a info -a sales --ask
  stagecoach user add -r git@10.0.0.1:users.git --ssh-key @ssh.key --ssh-authenticator SHA256:... \
      --domain example.org --server smtp.example.org ann -t ann.archer@gmail.com`
}

// Run commits the user before anything is shown that he could use.
func (c userAddCmd) Run(ctx context.Context, where *userCmd) error {
	e, err := where.open()
	if err != nil {
		return err
	}
	return c.add(ctx, e)
}

func (c userAddCmd) add(ctx context.Context, e *usersEditor) error {
	want, err := c.wanted(e.facts.Domain)
	if err != nil {
		return err
	}
	before, err := e.book(ctx)
	if err != nil {
		return err
	}
	if u, ok := before.Holder(want.address); ok { // before anybody types a password
		return c.exists(u, want)
	}
	password, made, kept, err := c.secret()
	if err != nil {
		return err
	}
	var after *account.Entry
	err = e.edit(ctx, want.address.String()+" was added", func(d *account.Draft) (string, error) {
		if !d.Book.Hosts(want.address.Domain()) && !c.NewDomain {
			return "", fmt.Errorf("%s is not hosted here; --new-domain adds it", want.address.Domain())
		}
		entry, err := d.New(want.address)
		if err != nil {
			return "", err
		}
		entry.Targets, entry.Aliases, entry.Password = want.targets, want.aliases, kept
		if !c.NoConfirm && e.facts.Users.Confirm {
			entry.Pending = outside(d.Book, want.targets)
		}
		after = entry
		return "Add " + want.address.String(), d.Put(entry)
	})
	if err != nil {
		return err
	}
	sayTargets(after)
	if made {
		fmt.Printf("\nPassword, shown this once: %s\n", password)
	}
	if !c.NoPassword {
		fmt.Print("\n" + clientSettings(e, want.address))
	}
	return nil
}

// secret returns a password and its kept form; all is empty for a user without one.
func (c userAddCmd) secret() (password string, made bool, kept string, err error) {
	if c.NoPassword {
		return "", false, "", nil
	}
	if password, made, err = c.password(); err != nil {
		return "", false, "", err
	}
	kept, err = c.kept(password)
	return password, made, kept, err
}

// A wantedUser is what the arguments say.
type wantedUser struct {
	address          mail.Address
	targets, aliases []mail.Address
}

func (c userAddCmd) wanted(domain string) (w wantedUser, err error) {
	if w.address, err = addressIn(domain, c.Name); err != nil {
		return w, fmt.Errorf("the name cannot be part of an address: %w", err)
	}
	for _, text := range c.Targets {
		a, err := mail.ParseAddress(text)
		if err != nil {
			return w, fmt.Errorf("target: %w", err)
		}
		if !account.HasTarget(w.targets, a) {
			w.targets = append(w.targets, a)
		}
	}
	for _, text := range c.Alias {
		a, err := addressIn(w.address.Domain(), text)
		if err != nil {
			return w, fmt.Errorf("alias: %w", err)
		}
		if !account.HasTarget(w.aliases, a) {
			w.aliases = append(w.aliases, a)
		}
	}
	return w, nil
}

// exists is the answer when the address is taken: all is well when it is by the very user that
// is wanted.
func (c userAddCmd) exists(u *account.User, want wantedUser) error {
	if !strings.EqualFold(u.Address().String(), want.address.String()) {
		return fmt.Errorf("%s is an alias of %s", want.address, u.Address())
	}
	has := slices.Concat(u.Targets, u.Pending)
	if len(has) != len(want.targets) || len(u.Aliases) != len(want.aliases) {
		return fmt.Errorf("%s exists already, with other targets or aliases; see stagecoach user show %s", u.Address(), c.Name)
	}
	for i := range want.targets {
		if !account.HasTarget(has, want.targets[i]) {
			return fmt.Errorf("%s exists already, with other targets; \"stagecoach user target\" changes them", u.Address())
		}
	}
	for i := range want.aliases {
		if !account.HasTarget(u.Aliases, want.aliases[i]) {
			return fmt.Errorf("%s exists already, with other aliases; \"stagecoach user alias\" changes them", u.Address())
		}
	}
	fmt.Fprintf(os.Stdout, "nothing to change: %s exists already, and keeps its password\n", u.Address())
	return nil
}

// outside returns the addresses in foreign domains: their owners are to be asked.
func outside(b *account.Book, list []mail.Address) (out []mail.Address) {
	for _, a := range list {
		if !b.Hosts(a.Domain()) {
			out = append(out, a)
		}
	}
	return out
}

// sayTargets tells where mail goes.
func sayTargets(e *account.Entry) {
	if len(e.Targets) == 0 {
		fmt.Println("no target: mail to this address is refused")
	}
	for _, t := range e.Targets {
		if account.HasTarget(e.Pending, t) {
			fmt.Printf("%s is asked by mail to confirm; nothing is forwarded there before\n", t)
		} else {
			fmt.Printf("mail goes to %s\n", t)
		}
	}
}

type userPasswdCmd struct {
	Name            string `arg:"" help:"The user." placeholder:"NAME"`
	passwordOptions `embed:""`
}

// Help shows examples.
func (userPasswdCmd) Help() string {
	return `Examples:

  stagecoach user passwd ann                a new password, shown once
  stagecoach user passwd ann --ask          asks twice
  stagecoach user passwd ann --ask <pw.txt  takes the first line`
}

// Run replaces the password.
func (c userPasswdCmd) Run(ctx context.Context, where *userCmd) error {
	e, err := where.open()
	if err != nil {
		return err
	}
	before, err := e.book(ctx)
	if err != nil {
		return err
	}
	if _, err := userNamed(before, c.Name); err != nil {
		return err
	}
	password, made, err := c.password()
	if err != nil {
		return err
	}
	kept, err := c.kept(password)
	if err != nil {
		return err
	}
	err = e.entry(ctx, c.Name, "Change the password of "+c.Name, "the password was changed",
		func(_ *account.Draft, _ *account.User, entry *account.Entry) error {
			entry.Password = kept
			return nil
		})
	if err == nil && made {
		fmt.Printf("\nPassword, shown this once: %s\n", password)
	}
	return err
}
