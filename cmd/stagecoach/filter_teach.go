package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"stagecoach/mail"
	"stagecoach/spam"
	"stagecoach/spam/corpus"
	"stagecoach/spam/teach"
)

// lessonOptions say whose lessons, and where they are.
type lessonOptions struct {
	User    string `help:"Whose mail it is about (default: everyone's)." placeholder:"ADDRESS"`
	Lessons string `help:"Folder of what was taught (default: as the configuration file says)." placeholder:"DIR"`
	Config  string `short:"c" help:"The configuration file of the service." default:"/etc/stagecoach.toml" placeholder:"FILE"`
}

func (o lessonOptions) name() (string, error) {
	if o.User == "" {
		return teach.Everyone, nil
	}
	a, err := mail.ParseAddress(o.User)
	if err != nil {
		return "", err
	}
	return strings.ToLower(a.String()), nil
}

// open returns the store, and the model that the service uses.
func (o lessonOptions) open() (*teach.Store, *spam.Judge, error) {
	folder, model := o.Lessons, ""
	if folder == "" {
		c, err := readConfig(o.Config)
		if err != nil {
			return nil, nil, fmt.Errorf("no --lessons is given, and the configuration cannot be read: %w", err)
		}
		folder, model = c.Filter.Lessons, c.Filter.Model
		if folder == "" {
			folder = filepath.Join(c.State, "lessons")
		}
	}
	m, err := openModel(model)
	if err != nil {
		return nil, nil, err
	}
	s, err := teach.Open(folder)
	return s, &spam.Judge{Model: m}, err
}

type filterTrainCmd struct {
	lessonOptions `embed:""`
	Spam          bool     `help:"The mails are spam." xor:"label" required:""`
	Ham           bool     `help:"The mails are good." xor:"label" required:""`
	Files         []string `arg:"" optional:"" default:"-" help:"Mails, mboxes, maildirs or folders; - is standard input."`
}

// Help shows examples.
func (filterTrainCmd) Help() string {
	return `What was taught counts beside the model, fades over months, and is bounded: the newest 400 mails of a
user count. It holds at once, in a running service too. A mail that was taught the other way is taught anew.
To learn whole collections make a model: stagecoach filter model --help.

Examples:

  stagecoach filter train --spam --user ann@example.org junk.eml
  stagecoach filter train --ham ~/Maildir/cur`
}

// Run teaches mail after mail.
func (c filterTrainCmd) Run(ctx context.Context) error {
	name, err := c.name()
	if err != nil {
		return err
	}
	store, judge, err := c.open()
	if err != nil {
		return err
	}
	taught, before := 0, 0
	bar := newProgress(os.Stderr, 0)
	err = eachMail(ctx, corpus.Files(c.Spam, c.Files...), func(m corpus.Mail) error {
		defer bar.step()
		msg, err := m.Message()
		if err != nil {
			return err
		}
		switch err := store.Teach(name, judge, msg, c.Spam); {
		case errors.Is(err, teach.ErrTaught):
			before++
		case err != nil:
			return fmt.Errorf("%s: %w", m.Path, err)
		default:
			taught++
		}
		return nil
	})
	bar.end()
	fmt.Fprintf(os.Stderr, "%d mails taught, %d had been taught before\n", taught, before)
	return err
}

type filterForgetCmd struct {
	lessonOptions `embed:""`
	All           bool     `help:"Forget all that was taught for the user, and the user's correspondents."`
	Files         []string `arg:"" optional:"" help:"Mails to forget; - is standard input."`
}

// Help shows an example.
func (filterForgetCmd) Help() string {
	return `Example:

  stagecoach filter forget --user ann@example.org mail.eml`
}

// Run forgets mails, or all.
func (c filterForgetCmd) Run(ctx context.Context) error {
	name, err := c.name()
	if err != nil {
		return err
	}
	store, judge, err := c.open()
	if err != nil {
		return err
	}
	if c.All {
		return store.ForgetAll(name)
	}
	if len(c.Files) == 0 {
		return errors.New("which mails? Name files, or --all")
	}
	return eachMail(ctx, corpus.Files(false, c.Files...), func(m corpus.Mail) error {
		msg, err := m.Message()
		if err != nil {
			return err
		}
		found, err := store.Forget(name, judge, msg)
		if err == nil && !found {
			err = fmt.Errorf("%s: was not taught, or is forgotten already", m.Path)
		}
		return err
	})
}

type filterStatCmd struct {
	lessonOptions `embed:""`
}

// Help shows an example.
func (filterStatCmd) Help() string {
	return `Example:

  stagecoach filter stat --config stagecoach.toml`
}

// Run prints the model and what users taught.
func (c filterStatCmd) Run() error {
	store, judge, err := c.open()
	if err != nil {
		return err
	}
	m := judge.Model.Meta()
	fmt.Printf("model %s: learned from %d spams and %d good mails; yes from %.4f, no up to %.4f\n", m.Name, m.Spam, m.Ham, m.Yes, m.No)
	stats, err := store.Stats()
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "USER\tSPAM\tGOOD\tCORRESPONDENTS\tOCTETS")
	for _, s := range stats {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\n", s.User, s.Spam, s.Ham, s.Correspondents, s.Bytes)
	}
	return w.Flush()
}

type filterExportCmd struct {
	lessonOptions `embed:""`
}

// Help shows an example.
func (filterExportCmd) Help() string {
	return `Example:

  stagecoach filter export --user ann@example.org >ann.lessons`
}

// Run writes a user's lessons to standard output.
func (c filterExportCmd) Run() error {
	name, err := c.name()
	if err != nil {
		return err
	}
	store, _, err := c.open()
	if err != nil {
		return err
	}
	return store.Export(name, os.Stdout)
}

type filterImportCmd struct {
	lessonOptions `embed:""`
}

// Help shows an example.
func (filterImportCmd) Help() string {
	return `Example:

  stagecoach filter import --user ann@example.org <ann.lessons`
}

// Run reads lessons from standard input.
func (c filterImportCmd) Run() error {
	name, err := c.name()
	if err != nil {
		return err
	}
	store, _, err := c.open()
	if err != nil {
		return err
	}
	n, err := store.Import(name, os.Stdin)
	fmt.Fprintf(os.Stderr, "%d lessons read\n", n)
	return err
}
