package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"stagecoach/name/authority"
	"stagecoach/repo"
)

type zoneCmd struct {
	Check  zoneCheckCmd  `cmd:"" help:"Check a zone file, or all files of a repository."`
	Status zoneStatusCmd `cmd:"" help:"Print what a running primary or secondary serves, and what is broken."`
	Set    zoneSetCmd    `cmd:"" help:"Write records into a zone, by a signed update."`
	Notify zoneNotifyCmd `cmd:"" help:"Have a name server look at a zone, and print what it did."`
	DS     zoneDSGroup   `cmd:"" name:"ds" help:"Print the DS record of a zone, for the registrar; say that he has it."`
	Roll   zoneRollCmd   `cmd:"" name:"roll-key" help:"Begin to replace the key that the registrar knows."`
	Hook   zoneHookCmd   `cmd:"" help:"Have git check what is pushed, and tell the primary."`
}

type zoneCheckCmd struct {
	What   string `arg:"" optional:"" help:"A zone file; or a repository: a folder here, or one that needs no SSH key." placeholder:"FILE|REPO"`
	Name   string `help:"The zone of FILE, where its name is not that of the file." placeholder:"ZONE"`
	Before string `help:"The file or repository that this one replaces: serials must be newer than there." placeholder:"FILE|REPO"`
	Pushed bool   `help:"Check what is being pushed, as the pre-receive hook of git does."`
}

// Help shows examples.
func (zoneCheckCmd) Help() string {
	return `Each problem is printed as FILE:LINE: TEXT. Warnings leave the exit status at 0; it is 2 where something
is wrong, so that the primary would not take it, and 1 where FILE or REPO cannot be read.

Examples:

  stagecoach zone check example.org
  stagecoach zone check /srv/zone.git
  stagecoach zone check draft.txt --name example.org --before example.org`
}

// Run prints the problems.
func (c zoneCheckCmd) Run(ctx context.Context) error {
	if c.Pushed {
		return checkPushed(ctx, os.Stdin, os.Stdout)
	}
	if c.What == "" {
		return errors.New("what is to be checked? name a FILE or a REPO")
	}
	now, err := c.read(ctx, c.What)
	if err != nil {
		return err
	}
	var before map[string][]byte
	if c.Before != "" {
		if before, err = c.read(ctx, c.Before); err != nil {
			return err
		}
	}
	return printProblems(os.Stdout, authority.CheckFiles(now, before))
}

// read returns one file under the name of its zone, or all files of a repository.
func (c zoneCheckCmd) read(ctx context.Context, what string) (map[string][]byte, error) {
	info, err := os.Stat(what)
	if err == nil && !info.IsDir() {
		text, err := os.ReadFile(what)
		name := c.Name
		if name == "" {
			name = filepath.Base(c.What)
		}
		return map[string][]byte{name: text}, err
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	r, err := repo.Open(what, repo.Options{Limits: zoneLimits})
	if err != nil {
		return nil, err
	}
	s, err := r.Fetch(ctx)
	if err != nil {
		return nil, err
	}
	return s.Files, nil
}

// printProblems prints problems; it fails if one is no mere warning.
func printProblems(w io.Writer, problems []authority.Problem) error {
	wrong := 0
	for _, problem := range problems {
		if !problem.Warning {
			wrong++
		}
		if _, err := fmt.Fprintln(w, problem); err != nil {
			return err
		}
	}
	if wrong > 0 {
		return no("%d of the problems keep zones from being served", wrong)
	}
	return nil
}

type zoneStatusCmd struct {
	Control string `help:"Socket of the running primary or secondary." default:"/run/stagecoach/primary.sock" placeholder:"PATH"`
	JSON    bool   `name:"json" help:"Print JSON."`
}

// Help shows an example.
func (zoneStatusCmd) Help() string {
	return `The exit status is 2 while the repository cannot be read, a zone is stale, or a secondary cannot reach its primary,
and 1 where nobody answers.

Examples:

  stagecoach zone status --json | jq .problems
  stagecoach zone status --control /run/stagecoach/secondary.sock`
}

// Run asks the primary.
func (c zoneStatusCmd) Run(ctx context.Context) error {
	a, err := askControl(ctx, c.Control, askForStatus)
	if err != nil {
		return err
	}
	r := a.zoneReport
	if c.JSON {
		err = json.NewEncoder(os.Stdout).Encode(r)
	} else {
		err = r.print(os.Stdout)
	}
	if err == nil && !r.Healthy {
		err = no("not all is in service, as new as it is elsewhere")
	}
	return err
}
