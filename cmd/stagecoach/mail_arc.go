package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"stagecoach/rfc/arc"
	"stagecoach/rfc/authres"
)

type mailArcCmd struct {
	Verify mailArcVerify `cmd:"" help:"Verify the chain of a mail."`
	Sign   mailArcSign   `cmd:"" help:"Add a set to the chain of a mail."`
}

type mailArcVerify struct {
	mailSource   `embed:""`
	namesOptions `embed:""`
	Key          []string `short:"e" name:"extra-key" help:"A key to use instead of the published one; may be repeated." placeholder:"SELECTOR:DOMAIN:KEY" sep:"none"`
}

// Help shows examples.
func (mailArcVerify) Help() string {
	return `A chain that passes says who handed the mail on, the first hand first. Whom of them to believe is for the reader.
Exit status: 0 pass, 2 it fails, or there is none, 75 a key could not be looked up now.

Example:

  stagecoach mail arc verify forwarded.eml`
}

// Run verifies.
func (c mailArcVerify) Run(ctx context.Context) error {
	l, err := c.read()
	if err != nil {
		return err
	}
	x, err := c.open()
	if err == nil {
		x, err = withKeys(x, c.Key)
	}
	if err != nil {
		return err
	}
	r := arc.Verify(ctx, l.message(), x)
	fmt.Println(printable(arcLine(r)))
	switch r.Status {
	case arc.Pass:
		return nil
	case arc.TempError:
		return later("a key could not be looked up")
	case arc.None:
		return no("there is no ARC chain")
	}
	return no("the ARC chain is broken")
}

func arcLine(r arc.Result) string {
	line := string(r.Status)
	if r.Length > 0 {
		line += fmt.Sprintf(", %d hands", r.Length)
	}
	if len(r.Sealers) > 0 {
		line += ": " + strings.Join(r.Sealers, " -> ")
	}
	if r.Problem != nil {
		line += ": " + r.Problem.Error()
	}
	return line
}

type mailArcSign struct {
	mailSource     `embed:""`
	mailKeyOptions `embed:""`
	namesOptions   `embed:""`
	AuthServID     string   `name:"authserv-id" help:"Whose Authentication-Results of the mail to seal (default: --domain)." placeholder:"HOST"`
	Field          []string `short:"f" help:"Field to sign; may be repeated (default: as for DKIM, and DKIM-Signature)." placeholder:"NAME"`
	Output         string   `short:"o" help:"Where to write the mail (default: standard output)." placeholder:"FILE"`
}

// Help shows examples.
func (mailArcSign) Help() string {
	return `The chain so far is verified, and the topmost Authentication-Results of --authserv-id becomes what is sealed; "none"
where the mail has none of it, as "mail auth --stamp" would write it.

Example:

  stagecoach mail auth --stamp mx.example.net in.eml | stagecoach mail arc sign --authserv-id mx.example.net --private-key @s1.pem -d example.net`
}

// Run seals.
func (c mailArcSign) Run(ctx context.Context) error {
	l, err := c.read()
	if err != nil {
		return err
	}
	s := arc.Sealer{Domain: c.Domain, Selector: c.Selector, Time: time.Now(), Fields: c.Field}
	if s.Key, err = c.key(); err != nil {
		return err
	}
	x, err := c.open()
	if err != nil {
		return err
	}
	m := l.message()
	found := authres.Results{ID: c.AuthServID}
	if found.ID == "" {
		found.ID = c.Domain
	}
	for f := range m.Header.Fields(authres.FieldName) {
		if r, err := authres.Parse(f.Body()); err == nil && strings.EqualFold(r.ID, found.ID) {
			found = r
			break
		}
	}
	chain := arc.Verify(ctx, m, x)
	fields, err := s.Seal(m, found, chain)
	if err != nil {
		if chain.Status == arc.TempError {
			return later("%w", err)
		}
		return err
	}
	m.Header.Prepend(fields...)
	return l.write(c.Output, []byte(m.String()))
}
