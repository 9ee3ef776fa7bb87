package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"stagecoach/account"
	"stagecoach/mail"
	"stagecoach/stage/confirm"
)

type userAliasCmd struct {
	Name      string   `arg:"" help:"The user." placeholder:"NAME"`
	Addresses []string `arg:"" help:"The further addresses; without @ in the user's domain." placeholder:"ADDRESS"`
	Remove    bool     `help:"Take the addresses away."`
}

// Help shows examples.
func (userAliasCmd) Help() string {
	return `The user gets mail to these addresses, and may send as them.

Examples:

  stagecoach user alias ann info sales ann@other.example.org
  stagecoach user alias ann sales --remove`
}

// Run adds aliases or removes them; what is so already stays.
func (c userAliasCmd) Run(ctx context.Context, where *userCmd) error {
	e, err := where.open()
	if err != nil {
		return err
	}
	subject, done := "Add aliases of "+c.Name, "the aliases were added"
	if c.Remove {
		subject, done = "Remove aliases of "+c.Name, "the aliases were removed"
	}
	return e.entry(ctx, c.Name, subject, done, func(d *account.Draft, u *account.User, entry *account.Entry) error {
		for _, text := range c.Addresses {
			a, err := addressIn(u.Domain, text)
			if err != nil {
				return err
			}
			if c.Remove {
				if !account.HasTarget(entry.Aliases, a) {
					return fmt.Errorf("%s is no alias of %s", a, u.Address())
				}
				entry.Aliases = without(entry.Aliases, a)
				continue
			}
			switch holder, taken := d.Book.Holder(a); {
			case taken && holder != u:
				return fmt.Errorf("%s is taken by %s", a, holder.Address())
			case !d.Book.Hosts(a.Domain()):
				return fmt.Errorf("%s: the domain is not hosted here", a)
			case !taken:
				entry.Aliases = append(entry.Aliases, a)
			}
		}
		return nil
	})
}

func without(list []mail.Address, a mail.Address) []mail.Address {
	return slices.DeleteFunc(slices.Clone(list), func(b mail.Address) bool { return account.HasTarget([]mail.Address{a}, b) })
}

type userTargetCmd struct {
	Name      string   `arg:"" help:"The user." placeholder:"NAME"`
	Addresses []string `arg:"" help:"Where mail is to go besides." placeholder:"ADDRESS"`
	Remove    bool     `help:"Mail goes there no more."`
	NoConfirm bool     `help:"Forward there at once, without asking; also for a target that was asked and has not answered."`
}

// Help shows examples.
func (userTargetCmd) Help() string {
	return `Examples:

  stagecoach user target ann ann@university.example
  stagecoach user target ann ann.archer@gmail.com --remove
  stagecoach user target ann ann@university.example --no-confirm`
}

// Run adds targets or removes them; what is so already stays.
func (c userTargetCmd) Run(ctx context.Context, where *userCmd) error {
	e, err := where.open()
	if err != nil {
		return err
	}
	subject, done := "Add targets of "+c.Name, "the targets were added"
	if c.Remove {
		subject, done = "Remove targets of "+c.Name, "the targets were removed"
	}
	var after *account.Entry
	err = e.entry(ctx, c.Name, subject, done, func(d *account.Draft, u *account.User, entry *account.Entry) error {
		after = entry
		for _, text := range c.Addresses {
			a, err := mail.ParseAddress(text)
			if err != nil {
				return err
			}
			there := account.HasTarget(entry.Targets, a)
			if c.Remove {
				if !there {
					return fmt.Errorf("%s is no target of %s", a, u.Address())
				}
				entry.Targets, entry.Pending = without(entry.Targets, a), without(entry.Pending, a)
				continue
			}
			if !there {
				entry.Targets = append(entry.Targets, a)
			}
			switch {
			case c.NoConfirm:
				entry.Pending = without(entry.Pending, a)
			case !there && e.facts.Users.Confirm:
				entry.Pending = append(entry.Pending, outside(d.Book, []mail.Address{a})...)
			}
		}
		return nil
	})
	if err == nil {
		sayTargets(after)
	}
	return err
}

type userConfirmCmd struct {
	Name  string `arg:"" help:"The user." placeholder:"NAME"`
	Token string `arg:"" help:"What stands between confirm+ and the @ in the mail to the target." placeholder:"TOKEN"`
}

// Help shows an example.
func (userConfirmCmd) Help() string {
	return `For somebody who got the mail and cannot answer it. It needs the state folder of the service, where the key is.
Whoever may change the users can as well do without a token: stagecoach user target NAME ADDRESS --no-confirm

Example:

  stagecoach user confirm ann k3l5vq7m2x4n6b8c9d1f3g5h7j`
}

// Run takes the mark from the target whose token it is.
func (c userConfirmCmd) Run(ctx context.Context, where *userCmd) error {
	e, err := where.open()
	if err != nil {
		return err
	}
	key, err := readPrivate(filepath.Join(e.facts.State, confirmKey))
	if err != nil {
		return fmt.Errorf("the key of tokens: %w", err)
	}
	return e.entry(ctx, c.Name, "Confirm a target of "+c.Name, "the target was confirmed",
		func(_ *account.Draft, u *account.User, entry *account.Entry) error {
			for _, t := range entry.Targets {
				if confirm.Token(key, u.Address(), t) == c.Token {
					entry.Pending = without(entry.Pending, t)
					return nil
				}
			}
			return fmt.Errorf("this is no token for a target of %s", u.Address())
		})
}

type userDisableCmd struct {
	Name string `arg:"" help:"The user." placeholder:"NAME"`
}

// Help shows an example.
func (userDisableCmd) Help() string { return "Example:\n\n  stagecoach user disable ann" }

// Run disables the user.
func (c userDisableCmd) Run(ctx context.Context, where *userCmd) error {
	return disable(ctx, where, c.Name, true)
}

type userEnableCmd struct {
	Name string `arg:"" help:"The user." placeholder:"NAME"`
}

// Help shows an example.
func (userEnableCmd) Help() string { return "Example:\n\n  stagecoach user enable ann" }

// Run enables the user.
func (c userEnableCmd) Run(ctx context.Context, where *userCmd) error {
	return disable(ctx, where, c.Name, false)
}

func disable(ctx context.Context, where *userCmd, name string, off bool) error {
	e, err := where.open()
	if err != nil {
		return err
	}
	word := map[bool]string{true: "disable", false: "enable"}[off]
	subject := map[bool]string{true: "Disable ", false: "Enable "}[off] + name
	return e.entry(ctx, name, subject, name+" was "+word+"d", func(_ *account.Draft, _ *account.User, entry *account.Entry) error {
		entry.Disabled = off
		return nil
	})
}

type userRemoveCmd struct {
	Name string `arg:"" help:"The user." placeholder:"NAME"`
}

// Help shows an example.
func (userRemoveCmd) Help() string {
	return `The addresses are free then: who gets one of them next gets the mail. "disable" keeps them taken. What the
user was stays in the history of the repository.

Example:

  stagecoach user remove ann`
}

// Run removes the user of this name; an alias is not enough.
func (c userRemoveCmd) Run(ctx context.Context, where *userCmd) error {
	e, err := where.open()
	if err != nil {
		return err
	}
	return e.edit(ctx, c.Name+" was removed", func(d *account.Draft) (string, error) {
		u, err := userNamed(d.Book, c.Name)
		if err != nil {
			return "", err
		}
		if a, err := addressIn(d.Book.Main(), c.Name); err != nil || !account.HasTarget([]mail.Address{u.Address()}, a) {
			return "", fmt.Errorf("%s is an alias of %s", c.Name, u.Address())
		}
		for other := range d.Book.Users() {
			for _, t := range slices.Concat(other.Targets, other.Pending) {
				if to, ok := d.Book.Lookup(t); ok && to == u && other != u {
					return "", fmt.Errorf("%s is a target of %s; remove it there first", t, other.Address())
				}
			}
		}
		d.Remove(u)
		return "Remove " + u.Address().String(), nil
	})
}
