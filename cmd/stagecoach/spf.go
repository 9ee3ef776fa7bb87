package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"stagecoach/name/publish"
	"stagecoach/rfc/dns"
	"stagecoach/rfc/spf"
)

type spfCmd struct {
	Publish spfPublishCmd `cmd:"" help:"Write the SPF record of a domain into its zone."`
}

// A zoneTarget is where records are written, and by which key.
type zoneTarget struct {
	Server string `arg:"" help:"The primary name server: IP[:PORT]." placeholder:"SERVER"`
	Key    Secret `arg:"" help:"Key that may write there: @FILE with NAME:ALGORITHM:BASE64, or that itself." placeholder:"KEY"`
}

// put writes a record and says what came of it.
func (t zoneTarget) put(ctx context.Context, w io.Writer, want publish.Want) error {
	warnLiteral(t.Key, "KEY")
	writer, err := writerAt(t.Server, t.Key)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	before, changed, err := writer.Put(ctx, want)
	if err != nil {
		return err
	}
	if !changed {
		fmt.Fprintln(w, "nothing to do, it stands there already:")
	} else {
		for _, rr := range before {
			if want.Ours == nil || want.Ours(rr) {
				fmt.Fprintf(w, "- %s\n", rr)
			}
		}
	}
	after, err := writer.Read(ctx, want.RRs[0].Header().Name, want.RRs[0].Header().Rrtype)
	if err != nil {
		return err
	}
	for _, rr := range after {
		if want.Ours == nil || want.Ours(rr) {
			if _, err := fmt.Fprintf(w, "+ %s\n", rr); err != nil {
				return err
			}
		}
	}
	return nil
}

// warnLiteral tells of a secret that stands in the process list, for commands without a log.
func warnLiteral(s Secret, what string) {
	if s.literal {
		fmt.Fprintf(os.Stderr, "stagecoach: %s was given literally: every user of this machine can read it in the process list; write @FILE instead\n", what)
	}
}

type spfPublishCmd struct {
	zoneTarget `embed:""`
	Domain     string   `arg:"" help:"The domain." placeholder:"DOMAIN"`
	Record     string   `arg:"" help:"Its record." placeholder:"RECORD"`
	Nameserver []string `help:"Where to ask for the records that it includes: udp:IP[:PORT], tcp:... or tls:... (default: this machine's resolver)." placeholder:"NS"`
	Unchecked  bool     `help:"Do not count look-ups."`
}

// Help shows an example.
func (spfPublishCmd) Help() string {
	return `The record is checked, with the number of look-ups that it costs receivers, and written in its normal form in
place of older SPF records; other TXT records stay.

Example:

  stagecoach spf publish 10.0.0.3 @personal.key example.org "v=spf1 ip4:192.0.2.93 -all"`
}

// Run publishes the record.
func (c spfPublishCmd) Run(ctx context.Context) error {
	want, err := publish.SPF(c.Domain, c.Record)
	if err != nil {
		return err
	}
	if !c.Unchecked {
		if err := c.count(ctx); err != nil {
			return err
		}
	}
	return c.put(ctx, os.Stdout, want)
}

// count refuses a record that receivers could not evaluate.
func (c spfPublishCmd) count(ctx context.Context) error {
	ask, err := names(c.Nameserver)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	n, err := spf.Lookups(ctx, ask, dns.Host(c.Domain), c.Record)
	var temporary *dns.Error
	if errors.As(err, &temporary) {
		return fmt.Errorf("what the record includes cannot be looked up (--unchecked publishes it all the same): %w", err)
	}
	if err != nil {
		return fmt.Errorf("SPF: %w", err)
	}
	fmt.Printf("the record takes %d of 10 look-ups\n", n)
	return nil
}
