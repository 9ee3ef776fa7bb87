package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"stagecoach/stage/queue"
)

type queueCmd struct {
	Spool  string `help:"Folder of the queue (default: as the configuration file says)." placeholder:"DIR"`
	Config string `short:"c" help:"The configuration file of the service." default:"/etc/stagecoach.toml" placeholder:"FILE"`

	List    queueListCmd    `cmd:"" help:"List what waits, a line for each mail and destination."`
	Show    queueShowCmd    `cmd:"" help:"Show one mail: its recipients, their last replies, its header."`
	Hold    queueHoldCmd    `cmd:"" help:"Try no more until release."`
	Release queueReleaseCmd `cmd:"" help:"End hold; also for what was damaged."`
	Retry   queueRetryCmd   `cmd:"" help:"Try at once."`
	Drop    queueDropCmd    `cmd:"" help:"Remove without a report to the sender."`
	Stats   queueStatsCmd   `cmd:"" help:"Print how much waits and what has become of the rest."`
}

// client finds the control socket of the service.
func (c *queueCmd) client() (*queue.Client, error) {
	spool := c.Spool
	if spool == "" {
		cfg, err := readConfig(c.Config)
		if err != nil {
			return nil, fmt.Errorf("no --spool is given, and the configuration cannot be read: %w", err)
		}
		spool = cfg.spool()
	}
	return &queue.Client{Socket: queue.ControlSocket(spool)}, nil
}

// spool returns the folder of the queue.
func (c *config) spool() string {
	if c.Queue.Spool != "" {
		return c.Queue.Spool
	}
	return filepath.Join(c.State, "queue")
}

type filterOptions struct {
	Sender    string   `help:"Envelope sender; * and ? stand for anything. '<>' is the null path." placeholder:"PATTERN"`
	Recipient string   `help:"A recipient, or the address that the sender wrote." placeholder:"PATTERN"`
	Domain    string   `help:"Domain of the destination." placeholder:"PATTERN"`
	OlderThan Duration `help:"Accepted longer ago than this." placeholder:"DURATION"`
	NewerThan Duration `help:"Accepted more recently than this." placeholder:"DURATION"`
	State     string   `help:"${enum}." enum:",queued,active,deferred,held,damaged" default:""`
	Error     string   `help:"Part of the text of the last error." placeholder:"TEXT"`
	Limit     int      `help:"Not more than so many." placeholder:"N"`
	JSON      bool     `name:"json" help:"Print JSON, an object a line."`
}

func (o filterOptions) filter() queue.Filter {
	return queue.Filter{
		Sender: o.Sender, Recipient: o.Recipient, Domain: o.Domain, OlderThan: time.Duration(o.OlderThan), NewerThan: time.Duration(o.NewerThan),
		State: queue.State(o.State), Error: o.Error, Limit: o.Limit,
	}
}

type queueListCmd struct {
	filterOptions `embed:""`
}

// Help shows examples.
func (queueListCmd) Help() string {
	return `Examples:

  stagecoach queue list --state deferred --domain gmail.com
  stagecoach queue list --sender '*@example.org' --older-than 4h --json`
}

// Run prints entries as they come; a long queue needs no memory.
func (c queueListCmd) Run(ctx context.Context, q *queueCmd) error {
	client, err := q.client()
	if err != nil {
		return err
	}
	if c.JSON {
		enc := json.NewEncoder(os.Stdout)
		for item, err := range client.List(ctx, c.filter()) {
			if err := errors.Join(err, enc.Encode(item)); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	defer w.Flush()
	n := 0
	for item, err := range client.List(ctx, c.filter()) {
		if err != nil {
			return err
		}
		if n++; n == 1 {
			fmt.Fprintln(w, "ID\tSTATE\tAGE\tTRIES\tNEXT\tSIZE\tFROM\tTO\tLAST ERROR")
		}
		fmt.Fprintln(w, line(item))
		if n%200 == 0 {
			w.Flush()
		}
	}
	if n == 0 {
		fmt.Fprintln(os.Stderr, "nothing in the queue matches")
	}
	return nil
}

func line(i queue.Item) string {
	next := "-"
	if !i.Due.IsZero() {
		next = "now"
		if d := time.Until(i.Due); d > time.Second {
			next = "in " + d.Round(time.Second).String()
		}
	}
	to := make([]string, len(i.Recipients))
	for n, r := range i.Recipients {
		to[n] = r.Address.String()
	}
	age := time.Since(i.Accepted).Round(time.Second)
	return strings.Join([]string{i.ID.String(), string(i.State), age.String(), fmt.Sprint(i.Attempts), next, fmt.Sprint(i.Size),
		"<" + i.Sender + ">", strings.Join(to, " "), lastError(i)}, "\t")
}

func lastError(i queue.Item) string {
	if i.Error != "" {
		return i.Error
	}
	for _, r := range i.Recipients {
		if r.Error != "" {
			return r.Error
		}
	}
	return ""
}

type queueShowCmd struct {
	ID   string `arg:"" help:"The id, as list prints it." placeholder:"ID"`
	JSON bool   `name:"json" help:"Print JSON, an object a line."`
}

// Help shows an example.
func (queueShowCmd) Help() string {
	return "Example:\n\n  stagecoach queue show 06ehx2m0k3q6f9r8t1v5w7y9zc"
}

// Run prints the mail once for each destination.
func (c queueShowCmd) Run(ctx context.Context, q *queueCmd) error {
	client, err := q.client()
	if err != nil {
		return err
	}
	id, err := queue.ParseID(c.ID)
	if err != nil {
		return err
	}
	found := false
	for d, err := range client.Show(ctx, id) {
		if err != nil {
			return err
		}
		found = true
		if c.JSON {
			if err := json.NewEncoder(os.Stdout).Encode(d); err != nil {
				return err
			}
			continue
		}
		showDetails(os.Stdout, d)
	}
	if !found {
		return fmt.Errorf("no mail %s is in the queue", c.ID)
	}
	return nil
}

func showDetails(w io.Writer, d queue.Details) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name string, value any) {
		if s := fmt.Sprint(value); s != "" {
			fmt.Fprintf(t, "%s\t%s\n", name, s)
		}
	}
	row("id", d.ID)
	row("log id", d.Trace)
	row("state", d.State)
	row("destination", d.Domain)
	row("accepted", d.Accepted.Format(time.RFC3339))
	row("attempts", d.Attempts)
	if !d.Due.IsZero() {
		row("next attempt", d.Due.Format(time.RFC3339))
	}
	row("size", d.Size)
	row("from", "<"+d.Sender+">")
	row("submitted by", d.Submitter)
	row("reports go out", d.Verified)
	row("last error", d.Error)
	for _, r := range d.Recipients {
		row("to", r.Address)
		row("  written to", r.Original)
		row("  last reply", r.Error)
	}
	t.Flush()
	fmt.Fprintf(w, "\n%s\n", strings.TrimRight(d.Header, "\r\n"))
}

// changeOptions are those of all commands that change the queue.
type changeOptions struct {
	filterOptions `embed:""`
	IDs           []string `arg:"" name:"id" optional:"" help:"Ids, as list prints them."`
	All           bool     `help:"Everything in the queue, when neither an id nor a filter is given."`
	DryRun        bool     `short:"n" help:"Only say how many it would be."`
}

func (c changeOptions) do(ctx context.Context, q *queueCmd, action queue.Action) error {
	client, err := q.client()
	if err != nil {
		return err
	}
	filters, err := c.filters()
	if err != nil {
		return err
	}
	var sum queue.Result
	for _, f := range filters {
		r, err := client.Do(ctx, action, f, c.DryRun)
		if err != nil {
			return err
		}
		sum = queue.Result{Matched: sum.Matched + r.Matched, Changed: sum.Changed + r.Changed, Busy: sum.Busy + r.Busy, Failed: sum.Failed + r.Failed}
	}
	if c.JSON {
		return json.NewEncoder(os.Stdout).Encode(sum)
	}
	if c.DryRun {
		fmt.Printf("%s would change %d of the %d that match\n", action, sum.Changed, sum.Matched)
		return nil
	}
	fmt.Printf("%s: %d of %d changed", action, sum.Changed, sum.Matched)
	if sum.Busy > 0 {
		fmt.Printf(", %d under way just now", sum.Busy)
	}
	fmt.Println()
	if sum.Failed > 0 {
		return fmt.Errorf("%d could not be changed: the log says why", sum.Failed)
	}
	return nil
}

// filters returns one filter, or one for each id. Without either it asks for --all, so that
// an empty shell variable does not empty the queue.
func (c changeOptions) filters() ([]queue.Filter, error) {
	f := c.filter()
	if len(c.IDs) == 0 {
		if f == (queue.Filter{}) && !c.All {
			return nil, errors.New("name ids or a filter, or say --all")
		}
		return []queue.Filter{f}, nil
	}
	all := make([]queue.Filter, len(c.IDs))
	for i, id := range c.IDs {
		if _, err := queue.ParseID(id); err != nil {
			return nil, err
		}
		all[i] = f
		all[i].ID = id
	}
	return all, nil
}

type (
	queueHoldCmd struct {
		changeOptions `embed:""`
	}
	queueReleaseCmd struct {
		changeOptions `embed:""`
	}
	queueRetryCmd struct {
		changeOptions `embed:""`
	}
	queueDropCmd struct {
		changeOptions `embed:""`
	}
)

const changeExamples = `Examples:

  stagecoach queue %[1]s 06ehx2m0k3q6f9r8t1v5w7y9zc
  stagecoach queue %[1]s --domain gmail.com --error 4.7.28 --dry-run
  stagecoach queue %[1]s --sender 'ann@*' --older-than 2h`

// Help shows examples.
func (queueHoldCmd) Help() string { return fmt.Sprintf(changeExamples, "hold") }

// Help shows examples.
func (queueReleaseCmd) Help() string { return fmt.Sprintf(changeExamples, "release") }

// Help shows examples.
func (queueRetryCmd) Help() string { return fmt.Sprintf(changeExamples, "retry") }

// Help shows examples.
func (queueDropCmd) Help() string { return fmt.Sprintf(changeExamples, "drop") }

// Run holds.
func (c queueHoldCmd) Run(ctx context.Context, q *queueCmd) error { return c.do(ctx, q, queue.Hold) }

// Run releases.
func (c queueReleaseCmd) Run(ctx context.Context, q *queueCmd) error {
	return c.do(ctx, q, queue.Release)
}

// Run has them tried at once.
func (c queueRetryCmd) Run(ctx context.Context, q *queueCmd) error { return c.do(ctx, q, queue.Retry) }

// Run removes.
func (c queueDropCmd) Run(ctx context.Context, q *queueCmd) error { return c.do(ctx, q, queue.Drop) }

type queueStatsCmd struct{}

// Help shows an example.
func (queueStatsCmd) Help() string {
	return "Example:\n\n  stagecoach queue stats --spool /var/lib/stagecoach/queue"
}

// Run prints JSON.
func (queueStatsCmd) Run(ctx context.Context, q *queueCmd) error {
	client, err := q.client()
	if err != nil {
		return err
	}
	s, err := client.Stats(ctx)
	if err != nil {
		return err
	}
	enc := json.NewEncoder(os.Stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(s)
}
