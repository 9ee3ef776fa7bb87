package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"stagecoach/account"
	"stagecoach/mail"
)

// A userRecord is a user as --json prints it.
type userRecord struct {
	Address     mail.Address   `json:"address"`
	Targets     []mail.Address `json:"targets"`
	Unconfirmed []mail.Address `json:"unconfirmed"`
	Aliases     []mail.Address `json:"aliases"`
	CatchAll    bool           `json:"catch_all"`
	Disabled    bool           `json:"disabled"`
	Password    string         `json:"password"` // the form in which it is kept, "" for none
	Weak        bool           `json:"weak"`
	File        string         `json:"file"`
}

func record(u *account.User) userRecord {
	list := func(l []mail.Address) []mail.Address { return append([]mail.Address{}, l...) }
	return userRecord{u.Address(), list(u.Targets), list(u.Pending), list(u.Aliases), u.CatchAll, u.Disabled, u.Secret(), u.Weak(), u.File}
}

// state says in a few words what does not work.
func (r userRecord) state() string {
	var words []string
	add := func(is bool, word string) {
		if is {
			words = append(words, word)
		}
	}
	add(r.Disabled, "disabled")
	add(len(r.Unconfirmed) > 0, "unconfirmed")
	add(len(r.Targets)+len(r.Unconfirmed) == 0, "no target")
	add(r.Password == "", "no password")
	add(r.Weak, "weak password")
	add(len(words) == 0, "ok")
	return strings.Join(words, ", ")
}

func (r userRecord) goesTo() []string {
	var out []string
	for _, t := range r.Targets {
		out = append(out, t.Unicode())
	}
	for _, t := range r.Unconfirmed {
		out = append(out, t.Unicode()+" (unconfirmed)")
	}
	return out
}

type userListCmd struct {
	JSON bool `name:"json" help:"Print JSON, an object a line."`
}

// Help shows examples.
func (userListCmd) Help() string {
	return `Examples:

  stagecoach user list
  stagecoach user list --json -r /var/lib/stagecoach/users.git --domain example.org`
}

// Run prints a line a user.
func (c userListCmd) Run(ctx context.Context, where *userCmd) error {
	e, err := where.open()
	if err != nil {
		return err
	}
	book, err := e.book(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		enc := json.NewEncoder(os.Stdout)
		enc.SetEscapeHTML(false)
		for u := range book.Users() {
			if err := enc.Encode(record(u)); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	n := 0
	for u := range book.Users() {
		if n++; n == 1 {
			fmt.Fprintln(w, "ADDRESS\tSTATE\tTARGETS\tALIASES")
		}
		r := record(u)
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.Address.Unicode(), r.state(), orDash(strings.Join(r.goesTo(), " ")), orDash(aliases(u)))
	}
	if n == 0 {
		fmt.Fprintln(os.Stderr, "there are no users; \"stagecoach user add\" adds one")
	}
	return w.Flush()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func aliases(u *account.User) string {
	var out []string
	for _, a := range u.Aliases {
		text := a.Unicode()
		if a.Domain() == u.Domain {
			text = text[:strings.LastIndexByte(text, '@')]
		}
		out = append(out, text)
	}
	if u.CatchAll {
		out = append(out, "*")
	}
	return strings.Join(out, " ")
}

type userShowCmd struct {
	Name string `arg:"" help:"The user: a name, or any address of his." placeholder:"NAME"`
	JSON bool   `name:"json" help:"Print JSON, without the settings for mail programs."`
}

// Help shows an example.
func (userShowCmd) Help() string {
	return "Examples:\n\n  stagecoach user show ann\n  stagecoach user show info@example.org --json"
}

// Run prints all about one user but the password.
func (c userShowCmd) Run(ctx context.Context, where *userCmd) error {
	e, err := where.open()
	if err != nil {
		return err
	}
	book, err := e.book(ctx)
	if err != nil {
		return err
	}
	u, err := userNamed(book, c.Name)
	if err != nil {
		return err
	}
	r := record(u)
	if c.JSON {
		enc := json.NewEncoder(os.Stdout)
		enc.SetEscapeHTML(false)
		return enc.Encode(r)
	}
	showUser(os.Stdout, u, r)
	if u.CanLogin() {
		fmt.Print("\n" + clientSettings(e, u.Address()))
	}
	return nil
}

func showUser(out io.Writer, u *account.User, r userRecord) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	defer w.Flush()
	fmt.Fprintf(w, "Address\t%s\nState\t%s\n", r.Address.Unicode(), r.state())
	for i, t := range r.goesTo() {
		fmt.Fprintf(w, "%s\t%s\n", map[bool]string{true: "Targets"}[i == 0], t)
	}
	if a := aliases(u); a != "" {
		fmt.Fprintf(w, "Aliases\t%s\n", a)
	}
	fmt.Fprintf(w, "Password\t%s\nFile\t%s\n", orDash(r.Password), r.File)
}
