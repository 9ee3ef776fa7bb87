package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"stagecoach/mail"
	"stagecoach/stage/hold"
)

type heldCmd struct {
	Folder string `help:"Folder of held mail (default: as the configuration file says)." placeholder:"DIR"`
	Config string `short:"c" help:"The configuration file of the service." default:"/etc/stagecoach.toml" placeholder:"FILE"`

	List    heldListCmd    `cmd:"" help:"List what is held, for one user or for all."`
	Show    heldShowCmd    `cmd:"" help:"Print one held mail."`
	Release heldReleaseCmd `cmd:"" help:"Forward held mails after all."`
	Delete  heldDeleteCmd  `cmd:"" help:"Delete held mails for good."`
	Digest  heldDigestCmd  `cmd:"" help:"Tell users now what is new."`
}

// open returns the store. The service may be at work on it.
func (c *heldCmd) open() (*hold.Store, error) {
	folder, limits := c.Folder, hold.Limits{}
	if folder == "" {
		cfg, err := readConfig(c.Config)
		if err != nil {
			return nil, fmt.Errorf("no --folder is given, and the configuration cannot be read: %w", err)
		}
		folder, limits.Age = cfg.Filter.Held, time.Duration(cfg.Filter.HeldFor)
		if folder == "" {
			folder = filepath.Join(cfg.State, heldFolder)
		}
	}
	if _, err := os.Stat(folder); err != nil {
		return nil, fmt.Errorf("held mail: %w", err)
	}
	return hold.Open(folder, limits)
}

// heldUser reads a user's address as the store has it.
func heldUser(text string) (string, error) {
	a, err := mail.ParseAddress(text)
	if err != nil {
		return "", err
	}
	return strings.ToLower(a.String()), nil
}

// heldMails returns a user's mails of these IDs.
func (c *heldCmd) mails(user string, ids []string) (*hold.Store, []hold.Item, error) {
	s, err := c.open()
	if err != nil {
		return nil, nil, err
	}
	if user, err = heldUser(user); err != nil {
		return nil, nil, err
	}
	var items []hold.Item
	for _, id := range ids {
		it, err := s.Find(id)
		if err == nil && it.User != user {
			err = hold.ErrNotHeld
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%s for %s: %w", id, user, err)
		}
		items = append(items, it)
	}
	return s, items, nil
}

type heldListCmd struct {
	JSON bool   `name:"json" help:"Print JSON, a value a line."`
	User string `arg:"" optional:"" help:"Whose mail (default: everyone's)." placeholder:"USER"`
}

// Help shows examples.
func (heldListCmd) Help() string {
	return `Examples:

  stagecoach held list
  stagecoach held list ann@example.org`
}

// Run prints a line for each mail.
func (c heldListCmd) Run(h *heldCmd) error {
	s, err := h.open()
	if err != nil {
		return err
	}
	var items []hold.Item
	if c.User == "" {
		items, err = s.All()
	} else {
		user, bad := heldUser(c.User)
		if bad != nil {
			return bad
		}
		items, err = s.List(user)
	}
	if c.JSON {
		e := json.NewEncoder(os.Stdout)
		for _, it := range items {
			if err := e.Encode(it); err != nil {
				return err
			}
		}
		return err
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tUSER\tCAME\tUNTIL\tPROBABILITY\tFROM\tSUBJECT")
	for _, it := range items {
		until := s.Expires(it).Local().Format(time.DateOnly)
		if it.Released {
			until = "released"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%.6f\t%s\t%s\n", it.ID, it.User, it.At.Local().Format("2006-01-02 15:04"), until, it.Probability, hold.Safe(it.From), hold.Safe(it.Subject))
	}
	if flush := w.Flush(); flush != nil {
		return flush
	}
	return err
}

type heldShowCmd struct {
	User string `arg:"" help:"Whose mail."`
	ID   string `arg:"" help:"Which one, as list prints it."`
}

// Help shows an example.
func (heldShowCmd) Help() string {
	return `The mail is printed as it came, with whatever its sender put into it: do not print it on a terminal that
you care for.

Example:

  stagecoach held show ann@example.org abcdefghijklmnop | stagecoach filter explain -`
}

// Run prints the message.
func (c heldShowCmd) Run(h *heldCmd) error {
	_, items, err := h.mails(c.User, []string{c.ID})
	if err != nil {
		return err
	}
	m, err := items[0].Mail()
	if err != nil {
		return err
	}
	defer m.Message.Close()
	_, err = m.Message.WriteTo(os.Stdout)
	return err
}

type heldReleaseCmd struct {
	User string   `arg:"" help:"Whose mail."`
	ID   []string `arg:"" help:"Which ones, as list prints them."`
}

// Help shows an example.
func (heldReleaseCmd) Help() string {
	return `The service forwards them within seconds, or when it runs next. To teach the filter that such mail is
good, see "stagecoach filter train".

Example:

  stagecoach held release ann@example.org abcdefghijklmnop`
}

// Run marks the mails.
func (c heldReleaseCmd) Run(h *heldCmd) error {
	s, items, err := h.mails(c.User, c.ID)
	if err != nil {
		return err
	}
	for _, it := range items {
		if err := s.Release(it); err != nil {
			return fmt.Errorf("%s: %w", it.ID, err)
		}
	}
	return nil
}

type heldDeleteCmd struct {
	User string   `arg:"" help:"Whose mail."`
	ID   []string `arg:"" help:"Which ones, as list prints them."`
}

// Help shows an example.
func (heldDeleteCmd) Help() string {
	return `Example:

  stagecoach held delete ann@example.org abcdefghijklmnop`
}

// Run deletes the mails.
func (c heldDeleteCmd) Run(h *heldCmd) error {
	s, items, err := h.mails(c.User, c.ID)
	if err != nil {
		return err
	}
	for _, it := range items {
		if err := s.Delete(it); err != nil {
			return fmt.Errorf("%s: %w", it.ID, err)
		}
	}
	return nil
}

type heldDigestCmd struct{}

// Help shows an example.
func (heldDigestCmd) Help() string {
	return `Users of whom nothing is new get no mail.

Example:

  stagecoach held digest`
}

// Run asks the service.
func (heldDigestCmd) Run(h *heldCmd) error {
	s, err := h.open()
	if err != nil {
		return err
	}
	return s.AskDigest()
}
