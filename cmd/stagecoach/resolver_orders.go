package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"time"

	"stagecoach/name/resolver"
)

type resolverFlushCmd struct {
	Name  string `arg:"" help:"The name."`
	Below bool   `help:"And all names below it."`
}

// Help shows an example.
func (resolverFlushCmd) Help() string {
	return "Example: stagecoach resolver flush example.org --below"
}

// Run sends the order.
func (c resolverFlushCmd) Run(ctx context.Context, parent *resolverCmd) error {
	words := []string{"flush", c.Name}
	if c.Below {
		words = append(words, "below")
	}
	return resolver.Order(ctx, parent.Control, os.Stdout, words...)
}

type resolverDumpCmd struct{}

// Help shows an example.
func (resolverDumpCmd) Help() string { return "Example: stagecoach resolver dump | grep example.org" }

// Run sends the order.
func (resolverDumpCmd) Run(ctx context.Context, parent *resolverCmd) error {
	return resolver.Order(ctx, parent.Control, os.Stdout, "dump")
}

type resolverStatsCmd struct{}

// Help shows an example.
func (resolverStatsCmd) Help() string { return "Example: stagecoach resolver stats" }

// Run sends the order.
func (resolverStatsCmd) Run(ctx context.Context, parent *resolverCmd) error {
	return resolver.Order(ctx, parent.Control, os.Stdout, "stats")
}

type resolverUntrustCmd struct {
	Zone string   `arg:"" optional:"" help:"The zone; without one those that are set are listed."`
	For  Duration `help:"How long, at most a week. It ends sooner when the zone validates again." default:"24h"`
}

// Help shows examples.
func (resolverUntrustCmd) Help() string {
	return `A negative trust anchor (RFC 7646): for when a zone's signatures are known to be broken by mishap, and mail to it has to go on.

Examples:

  stagecoach resolver untrust example.org --for 4h
  stagecoach resolver untrust`
}

// Run sends the order.
func (c resolverUntrustCmd) Run(ctx context.Context, parent *resolverCmd) error {
	if c.Zone == "" {
		return resolver.Order(ctx, parent.Control, os.Stdout, "untrusted")
	}
	return resolver.Order(ctx, parent.Control, os.Stdout, "untrust", c.Zone, time.Duration(c.For).String())
}

type resolverTrustCmd struct {
	Zone string `arg:"" help:"The zone."`
}

// Help shows an example.
func (resolverTrustCmd) Help() string { return "Example: stagecoach resolver trust example.org" }

// Run sends the order.
func (c resolverTrustCmd) Run(ctx context.Context, parent *resolverCmd) error {
	return resolver.Order(ctx, parent.Control, os.Stdout, "trust", c.Zone)
}

// errNoAnswer tells scripts, and people who read on, what SERVFAIL means.
var errNoAnswer = errors.New("no answer; this is temporary, and says nothing of the name")

// orderQuery has the running resolver explain a question.
func orderQuery(ctx context.Context, socket, name, typ string) error {
	var out bytes.Buffer
	if err := resolver.Order(ctx, socket, io.MultiWriter(os.Stdout, &out), "query", name, typ); err != nil {
		return err
	}
	if bytes.HasPrefix(out.Bytes(), []byte("SERVFAIL")) {
		return errNoAnswer
	}
	return nil
}
