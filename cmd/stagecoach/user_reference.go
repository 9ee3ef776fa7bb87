package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"stagecoach/account"
)

// adduserCmd is the reference's command line, for who moves over. It is hidden: a password has
// no place there.
type adduserCmd struct {
	usersPlace `embed:""`
	Name       string   `arg:"" help:"The user." placeholder:"NAME"`
	Password   string   `arg:"" help:"The password." placeholder:"PASSWORD"`
	Targets    []string `name:"targets" aliases:"target" short:"t" help:"Where mail goes." placeholder:"ADDRESS"`
	Insecure   bool     `help:"Read, and without meaning."`
	Confirm    bool     `help:"Ask the targets first, as \"user add\" does."`
	Hash       string   `help:"How the password is kept: ${enum}." enum:"scram,argon2id,blake2b" default:"scram"`
}

// Help says what to use instead.
func (adduserCmd) Help() string {
	return `The form of the OCaml system. Use "stagecoach user add", which takes no password from the command line.

Example:

  stagecoach adduser -r git@10.0.0.1:users.git NAME PASSWORD -t ann@gmail.com`
}

// placeholderDomain stands for the main domain, which the reference's form does not name. No
// address can be in it.
const placeholderDomain = "domain.invalid"

// Run sets the entry, over one that exists, as the reference does.
func (c adduserCmd) Run(ctx context.Context) error {
	fmt.Fprintln(os.Stderr, `stagecoach: the password stood on the command line, where every user of this machine could read it, and your
shell may have kept it; "stagecoach user add" makes one, or asks`)
	if c.Domain == "" && c.Remote != "" {
		if _, err := os.Stat(c.Config); err != nil {
			c.Domain = placeholderDomain
			fmt.Fprintln(os.Stderr, "stagecoach: without --domain a target in our own domain is not known as one")
		}
	}
	e, err := c.usersPlace.open()
	if err != nil {
		return err
	}
	kept, err := passwordOptions{Hash: c.Hash}.kept(c.Password)
	if err != nil {
		return err
	}
	add := userAddCmd{Name: c.Name, Targets: c.Targets}
	want, err := add.wanted(e.facts.Domain)
	if err != nil {
		return err
	}
	name := strings.TrimSuffix(want.address.String(), "@"+placeholderDomain)
	return e.edit(ctx, name+" was set", setEntry(want, kept, name, c.Confirm && e.facts.Users.Confirm))
}

func setEntry(want wantedUser, kept, name string, ask bool) func(*account.Draft) (string, error) {
	return func(d *account.Draft) (string, error) {
		entry, err := d.New(want.address)
		if u, ok := d.Book.Holder(want.address); ok {
			entry, err = d.Entry(u)
		}
		if err != nil {
			return "", err
		}
		entry.Targets, entry.Password, entry.Pending = want.targets, kept, nil
		if ask {
			entry.Pending = outside(d.Book, want.targets)
		}
		return "Set " + name, d.Put(entry)
	}
}
