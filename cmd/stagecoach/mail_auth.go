package main

import (
	"context"
	"fmt"
	"strings"

	our "stagecoach/mail"
	"stagecoach/rfc/arc"
	"stagecoach/rfc/authres"
	"stagecoach/rfc/dkim"
	"stagecoach/rfc/dmarc"
	"stagecoach/rfc/spf"
)

type mailDmarcCmd struct {
	Check mailDmarcCheck `cmd:"" help:"Ask whether anything vouches for the author's domain."`
}

// mailJudgeOptions are what judging a mail takes.
type mailJudgeOptions struct {
	mailSource    `embed:""`
	clientOptions `embed:""`
	namesOptions  `embed:""`
	moment        `embed:""`
	Key           []string `short:"e" name:"extra-key" help:"A DKIM key to use instead of the published one; may be repeated." placeholder:"SELECTOR:DOMAIN:KEY" sep:"none"`
}

// A judgement is all that is found out about a mail.
type judgement struct {
	letter *letter
	author our.Address
	who    client
	noSPF  error // why SPF could not be asked
	noFrom error // why there is no author
	spf    spf.Outcome
	dkim   []dkim.Result
	arc    arc.Result
	dmarc  dmarc.Result
}

func (o mailJudgeOptions) judge(ctx context.Context) (*judgement, error) {
	l, err := o.read()
	if err != nil {
		return nil, err
	}
	x, err := o.open()
	if err == nil {
		x, err = withKeys(x, o.Key)
	}
	if err != nil {
		return nil, err
	}
	at, err := o.time()
	if err != nil {
		return nil, err
	}
	m := l.message()
	j := &judgement{letter: l}
	j.author, j.noFrom = m.Header.Author()
	var ev dmarc.Evidence
	if j.who, j.noSPF = o.find(&m.Header); j.noSPF == nil {
		j.spf = spf.Check(ctx, x, j.who.ip, j.who.helo, j.who.sender)
		ev.SPF = dmarc.Identifier{Domain: j.spf.Domain, Pass: j.spf.Result == spf.Pass, Temporary: j.spf.Result == spf.TempError}
	}
	j.dkim = dkim.Verify(ctx, m, x, dkim.Options{Now: at})
	for _, r := range j.dkim {
		if r.Domain != "" {
			ev.DKIM = append(ev.DKIM, dmarc.Identifier{Domain: r.Domain, Pass: r.Status == dkim.Pass, Temporary: r.Status == dkim.TempError})
		}
	}
	j.arc = arc.Verify(ctx, m, x)
	if j.noFrom == nil {
		j.dmarc = dmarc.Check(ctx, x, j.author.Domain(), ev, dmarc.Options{PublicSuffixes: true})
	}
	return j, nil
}

// ending is the exit status: whether anything vouches for the author's domain.
func (j *judgement) ending() error {
	switch {
	case j.noFrom != nil:
		return no("the mail has no single author: %w", j.noFrom)
	case j.dmarc.Aligned():
		return nil
	case j.dmarc.Value == dmarc.TempError || j.dmarc.Problem != nil && j.dmarc.Value == dmarc.None:
		return later("the DNS failed")
	}
	return no("nothing vouches for %s", j.author.Domain())
}

// dmarcLines say what DMARC found, and why.
func (j *judgement) dmarcLines() []string {
	if j.noFrom != nil {
		return []string{"permerror: " + j.noFrom.Error()}
	}
	r := j.dmarc
	var aligned []string
	if r.SPFAligned {
		aligned = append(aligned, "SPF")
	}
	if r.DKIMAligned {
		aligned = append(aligned, "DKIM")
	}
	by := "nothing that passes is of " + j.author.Domain()
	if len(aligned) > 0 {
		by = strings.Join(aligned, " and ") + " vouch for " + j.author.Domain()
	}
	lines := []string{string(r.Value) + ": " + by}
	if r.Record == nil {
		lines = append(lines, "the domain has no DMARC record")
	} else {
		lines = append(lines, fmt.Sprintf("the record of %s says %s=%s; asked for this mail: %s", r.PolicyDomain, r.Tag, r.Policy, r.Disposition))
	}
	if r.Problem != nil {
		lines = append(lines, r.Problem.Error())
	}
	return lines
}

type mailDmarcCheck struct {
	mailJudgeOptions `embed:""`
}

// Help shows examples.
func (mailDmarcCheck) Help() string {
	return `SPF and DKIM are asked, too, since DMARC rests on them.
Exit status: 0 something vouches for the author's domain, record or not, 2 nothing does, 75 the DNS failed.

Example:

  stagecoach mail dmarc check --ip 192.0.2.1 -s ann@example.org hello.eml`
}

// Run asks.
func (c mailDmarcCheck) Run(ctx context.Context) error {
	j, err := c.judge(ctx)
	if err != nil {
		return err
	}
	for _, line := range j.dmarcLines() {
		fmt.Println(printable(line))
	}
	return j.ending()
}

type mailAuthCmd struct {
	mailJudgeOptions `embed:""`
	Stamp            string `help:"Print the mail instead, with an Authentication-Results field of this host on top." placeholder:"HOST"`
}

// Help shows examples.
func (mailAuthCmd) Help() string {
	return `With --dns-static and --at old mails can be judged by the records of their time.
Exit status: 0 something vouches for the author's domain, 2 nothing does, 75 the DNS failed; with --stamp 0.

Examples:

  stagecoach mail auth received.eml
  stagecoach mail auth --dns-static zones/ --at 2022-12-21T00:00:00Z --ip 192.0.2.1 -s ann@example.org old.eml`
}

// Run judges.
func (c mailAuthCmd) Run(ctx context.Context) error {
	j, err := c.judge(ctx)
	if err != nil {
		return err
	}
	if c.Stamp != "" {
		m := j.letter.message()
		m.Header.Prepend(j.results(c.Stamp).Field())
		return j.letter.write("", []byte(m.String()))
	}
	j.print()
	return j.ending()
}

func (j *judgement) print() {
	line := func(name, format string, args ...any) {
		fmt.Printf("%-7s %s\n", name, printable(fmt.Sprintf(format, args...)))
	}
	if j.noFrom == nil {
		line("author", "%s", j.author)
	}
	if j.noSPF != nil {
		line("spf", "not asked: %s", j.noSPF)
	} else {
		line("client", "%s, HELO %s, MAIL FROM <%s> (from %s)", j.who.ip, j.who.helo, j.who.sender, j.who.source)
		line("spf", "%s: %s", j.spf.Result, spfReason(j.spf))
	}
	for _, r := range j.dkim {
		switch r.Status {
		case dkim.None:
			line("dkim", "none")
		case dkim.Pass:
			line("dkim", "pass: %s, selector %s, %s, %d bits", r.Domain, r.Selector, r.Algorithm, r.Bits)
		default:
			line("dkim", "%s: %s, selector %s: %s", r.Status, r.Domain, r.Selector, dkimReason(r))
		}
	}
	line("arc", "%s", arcLine(j.arc))
	for i, text := range j.dmarcLines() {
		line([]string{"dmarc", ""}[min(i, 1)], "%s", text)
	}
}

// results is the judgement as an Authentication-Results field has it (RFC 8601).
func (j *judgement) results(id string) authres.Results {
	out := authres.Results{ID: id}
	if j.noSPF == nil {
		out.Results = append(out.Results, authres.Result{Method: "spf", Value: string(j.spf.Result), Props: []authres.Prop{{Type: "smtp", Name: "mailfrom", Value: j.spf.Sender}}})
	}
	for _, r := range j.dkim {
		res := authres.Result{Method: "dkim", Value: string(r.Status), Reason: r.Reason}
		if r.Domain != "" {
			res.Props = []authres.Prop{{Type: "header", Name: "d", Value: r.Domain}, {Type: "header", Name: "s", Value: r.Selector}, {Type: "header", Name: "b", Value: r.Prefix}}
		}
		out.Results = append(out.Results, res)
	}
	out.Results = append(out.Results, authres.Result{Method: "arc", Value: string(j.arc.Status)})
	if j.noFrom == nil {
		res := authres.Result{Method: "dmarc", Value: string(j.dmarc.Value), Props: []authres.Prop{{Type: "header", Name: "from", Value: j.author.Domain()}}}
		if j.dmarc.Policy != "" {
			res.Comment = "p=" + string(j.dmarc.Policy)
		}
		out.Results = append(out.Results, res)
	}
	return out
}
