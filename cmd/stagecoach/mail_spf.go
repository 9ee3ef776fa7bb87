package main

import (
	"context"
	"fmt"
	"strings"

	our "stagecoach/mail"
	"stagecoach/rfc/spf"
)

type mailSpfCmd struct {
	Check mailSpfCheck `cmd:"" help:"Ask whether a client may send for a domain."`
	Stamp mailSpfStamp `cmd:"" help:"Put the answer on top of a mail, as Received-SPF."`
}

type mailSpfCheck struct {
	Mail          string `arg:"" optional:"" help:"A mail to take from what is not given; - is standard input." placeholder:"MAIL"`
	clientOptions `embed:""`
	namesOptions  `embed:""`
}

// Help shows examples.
func (mailSpfCheck) Help() string {
	return `With a mail that has a Received-SPF field, its answer is shown beside the one of now.
Exit status: 0 pass, 2 another answer, 75 the DNS failed.

Examples:

  stagecoach mail spf check --ip 192.0.2.1 -s ann@example.org
  stagecoach mail spf check received.eml`
}

// Run asks.
func (c mailSpfCheck) Run(ctx context.Context) error {
	var h *our.Header
	expected := ""
	if c.Mail != "" {
		l, err := readLetter(c.Mail, "auto")
		if err != nil {
			return err
		}
		h = &l.message().Header
		if body := h.Value(spf.FieldName); body != "" {
			word, _, _ := strings.Cut(body, " ")
			expected = fmt.Sprintf(" (expected: %s)", printable(word))
		}
	}
	o, err := c.check(ctx, c.clientOptions, h)
	if err != nil {
		return err
	}
	fmt.Printf("%s from %s: %s%s\n", printable(o.Sender), o.IP, o.Result, expected)
	if why := spfReason(o); why != "" {
		fmt.Printf("  %s\n", printable(why))
	}
	return spfEnding(o)
}

func (o namesOptions) check(ctx context.Context, given clientOptions, h *our.Header) (spf.Outcome, error) {
	who, err := given.find(h)
	if err != nil {
		return spf.Outcome{}, err
	}
	x, err := o.open()
	if err != nil {
		return spf.Outcome{}, err
	}
	return spf.Check(ctx, x, who.ip, who.helo, who.sender), nil
}

func spfReason(o spf.Outcome) string {
	switch {
	case o.Problem != nil:
		return o.Problem.Error()
	case o.Result == spf.None:
		return o.Domain + " has no SPF record"
	case o.Mechanism == "default":
		return "nothing in the record of " + o.Domain + " matches"
	case o.Mechanism != "":
		return "the record of " + o.Domain + " says so with " + o.Mechanism
	}
	return ""
}

func spfEnding(o spf.Outcome) error {
	switch o.Result {
	case spf.Pass:
		return nil
	case spf.TempError:
		return later("the DNS failed")
	}
	return no("SPF does not pass: %s", o.Result)
}

type mailSpfStamp struct {
	mailSource    `embed:""`
	clientOptions `embed:""`
	namesOptions  `embed:""`
	Hostname      string `help:"Who says so." default:"localhost" placeholder:"NAME"`
	Output        string `short:"o" help:"Where to write the mail (default: standard output)." placeholder:"FILE"`
}

// Help shows examples.
func (mailSpfStamp) Help() string {
	return `Exit status: 0 the mail is stamped, whatever the answer, 75 the DNS failed and so says the stamp.

Example:

  stagecoach mail spf stamp --hostname mx.example.net --ip 192.0.2.1 -s ann@example.org --helo mail.example.org hello.eml`
}

// Run stamps.
func (c mailSpfStamp) Run(ctx context.Context) error {
	l, err := c.read()
	if err != nil {
		return err
	}
	m := l.message()
	o, err := c.check(ctx, c.clientOptions, &m.Header)
	if err != nil {
		return err
	}
	m.Header.Prepend(o.Field(c.Hostname))
	if err := l.write(c.Output, []byte(m.String())); err != nil {
		return err
	}
	if o.Result == spf.TempError {
		return later("the DNS failed")
	}
	return nil
}
