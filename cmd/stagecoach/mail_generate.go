package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"stagecoach/tool/generate"
)

type mailGenerate struct {
	Seed    uint64 `help:"Which mail: the same seed makes the same mail, with the same version of this program." default:"1"`
	Count   int    `help:"How many mails, from the seed on." default:"1"`
	Mutate  int    `help:"How many things to do wrong in each; 0 makes valid mails." default:"0"`
	Newline string `help:"Line ends to write: ${enum}." enum:"crlf,lf" default:"crlf"`
	Output  string `short:"o" help:"Folder for the mails, as SEED.eml (default: standard output, for one mail)." placeholder:"DIR"`
}

// Help shows examples.
func (mailGenerate) Help() string {
	return `The mails use the corners of the grammar: folding, comments, groups, quoted strings, encoded words and parameters in many
charsets, all transfer encodings, multiparts in each other. The nearly valid ones have mistakes as they arrive from the world, and
as attackers make them.

Examples:

  stagecoach mail generate --seed 7 | stagecoach mail tree
  stagecoach mail generate --seed 1 --count 1000 --mutate 3 -o mails/`
}

// Run writes the mails.
func (c mailGenerate) Run() error {
	if c.Count != 1 && c.Output == "" {
		return errors.New("many mails need a folder: give --output DIR")
	}
	if c.Count < 1 || c.Count > 1_000_000 || c.Mutate < 0 || c.Mutate > 1000 {
		return errors.New("--count is 1 to 1000000, --mutate 0 to 1000")
	}
	if c.Output != "" {
		if err := os.MkdirAll(c.Output, 0o755); err != nil {
			return err
		}
	}
	for i := range c.Count {
		seed := c.Seed + uint64(i)
		raw := generate.Nearly(seed, c.Mutate)
		if c.Newline == "lf" {
			raw = bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n"))
		}
		name := ""
		if c.Output != "" {
			name = filepath.Join(c.Output, fmt.Sprintf("%d.eml", seed))
		}
		if err := writeOutput(name, raw); err != nil {
			return err
		}
	}
	return nil
}
