package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"stagecoach/name/authority"
)

type zoneDSGroup struct {
	Print zoneDSCmd     `cmd:"" default:"withargs" help:"Print the record."`
	Seen  zoneDSSeenCmd `cmd:"" help:"Say that the registrar has the new DS, and no other."`
}

type zoneDSCmd struct {
	Zone  string `arg:"" help:"The zone."`
	State string `help:"The --state folder of the primary." default:"/var/lib/stagecoach/primary" placeholder:"DIR"`
}

// Help shows an example.
func (zoneDSCmd) Help() string { return "Example: stagecoach zone ds example.org" }

// Run prints the record.
func (c zoneDSCmd) Run() error {
	s := &authority.Signing{Dir: signingFolder(c.State)}
	records, err := s.DS(c.Zone, time.Now())
	if err != nil {
		return err
	}
	if len(records) == 0 {
		return fmt.Errorf("%s has no key yet: a primary with this --state makes one when it signs the zone", c.Zone)
	}
	for _, r := range records {
		fmt.Println(r)
	}
	return nil
}

type zoneRollCmd struct {
	Zone    string `arg:"" help:"The zone."`
	Control string `help:"Socket of the running primary." default:"/run/stagecoach/primary.sock" placeholder:"PATH"`
}

// Help shows an example.
func (zoneRollCmd) Help() string {
	return `The primary makes a new key and signs with both. When every cache can have it, "zone ds" prints its DS (and CDS and
CDNSKEY in the zone ask for it): hand that to the registrar in place of the old one. The primary looks whether the
parent has it, and goes on by itself; "zone ds seen" says so where it cannot look.

Example: stagecoach zone roll-key example.org`
}

// Run begins the roll-over.
func (c zoneRollCmd) Run(ctx context.Context) error {
	a, err := askControl(ctx, c.Control, askForRoll+" "+c.Zone)
	if err != nil {
		return err
	}
	fmt.Printf("%s has a new key. The DS stays, until every cache can have the key:\n", c.Zone)
	return printDS(os.Stdout, a.DS)
}

type zoneDSSeenCmd struct {
	Zone    string `arg:"" help:"The zone."`
	Control string `help:"Socket of the running primary." default:"/run/stagecoach/primary.sock" placeholder:"PATH"`
}

// Help shows an example.
func (zoneDSSeenCmd) Help() string {
	return `Ends a roll-over that "zone roll-key" began; the old key stays until no cache can need it. To say so too early breaks
the zone: the primary refuses before every cache can have the new key, but cannot know what the registrar has.

Example: stagecoach zone ds seen example.org`
}

// Run ends the roll-over.
func (c zoneDSSeenCmd) Run(ctx context.Context) error {
	a, err := askControl(ctx, c.Control, askForSeenDS+" "+c.Zone)
	if err != nil {
		return err
	}
	fmt.Printf("the old key of %s goes when no cache can need it any more. The DS is\n", c.Zone)
	return printDS(os.Stdout, a.DS)
}

func printDS(w io.Writer, records []string) error {
	for _, r := range records {
		if _, err := fmt.Fprintln(w, r); err != nil {
			return err
		}
	}
	return nil
}
