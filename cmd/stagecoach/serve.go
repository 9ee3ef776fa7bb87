package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"stagecoach/mail"
)

type serveCmd struct {
	Config string `short:"c" help:"The configuration file." default:"/etc/stagecoach.toml" placeholder:"FILE"`
	Check  bool   `help:"Read the configuration, the users, keys and certificates, and say whether the service would start."`
	Sample bool   `help:"Print a configuration file with every setting, its meaning and its default."`
}

// Help shows the smallest configuration.
func (serveCmd) Help() string {
	return `A configuration that is enough:

  domain = "example.org"
  name   = "mx.example.org"
  [users]
  remote = "/var/lib/stagecoach/users.git"
  [tls]
  certificate = "/etc/stagecoach/fullchain.pem"
  key         = "/etc/stagecoach/key.pem"

SIGHUP reads users and certificates again; SIGTERM stops within five seconds.

Examples:

  stagecoach serve --config stagecoach.toml --check
  stagecoach serve --config stagecoach.toml
  stagecoach serve --sample >stagecoach.toml`
}

// Run runs both chains until ctx ends.
func (c serveCmd) Run(ctx context.Context) error {
	if c.Sample {
		fmt.Print(sampleConfig())
		return nil
	}
	cfg, err := readConfig(c.Config)
	if err != nil {
		return err
	}
	p, err := newProcess(ctx, runOptions{Log: cfg.Log, Metrics: cfg.Metrics})
	if err != nil {
		return err
	}
	if c.Check {
		p.idle = true
		if err := cfg.inert(); err != nil {
			return p.abort(err)
		}
	}
	if err := serve(p, cfg); err != nil {
		return p.abort(err)
	}
	if c.Check {
		fmt.Println("the configuration is good")
		return p.shutdown()
	}
	return p.wait()
}

// serve puts both chains together, from their common end to the two edges.
func serve(p *process, c *config) error {
	if err := stateFolder(c.State); err != nil {
		return err
	}
	c.Queue.Spool = c.spool()
	accounts, err := p.accounts(c.identityOptions, c.Users)
	if err != nil {
		return err
	}
	naming, err := p.naming(c)
	if err != nil {
		return err
	}
	if err := p.serveZones(c, naming); err != nil {
		return err
	}
	cert, err := p.shown(c.TLS, c.Cert.within(c.State), true, c.Name, c.Domain)
	if err != nil {
		return err
	}
	if err := errors.Join(p.resolve(c, naming, cert), p.issuing(c, naming.ask)); err != nil {
		return err
	}

	// The common end: forward → sign → queue → relay.
	q, err := p.queue(c.identityOptions, c.Queue)
	if err != nil {
		return err
	}
	signer, err := p.signer(c.Domain, cmp.Or(c.Queue.AuthServID, c.Name), accounts.Book().Domains(), c.Sign, c.State, "", p.obs.stage("queue", false, q))
	if err != nil {
		return err
	}
	if err := p.publishKeys(signer, c.Sign, filepath.Join(c.State, "published.json"), naming.ask); err != nil {
		return err
	}
	signed := p.obs.stage("sign", false, signer)
	forwarder, back, err := p.forwarder(c.Domain, accounts, c.Forward, c.State, signed)
	if err != nil {
		return err
	}
	forwarded := p.obs.stage("forward", false, forwarder)
	relay, err := p.relay(c.identityOptions, c.Relay, naming.ask, accounts, back)
	if err != nil {
		return err
	}
	p.deliver(q, c.Queue.Spool, relay, forwarded) // a report to a user of ours goes to where the user lives
	confirmed, confirms, err := p.confirmer(c.identityOptions, c.Users, accounts, c.State, signed, forwarded)
	if err != nil {
		return err
	}

	// The way out: submit → …
	judge, err := p.spamJudge(c.identityOptions, c.Filter, filepath.Join(c.State, "lessons"), accounts)
	if err != nil {
		return err
	}
	if err := p.signals(judge, c.Filter, filepath.Join(c.State, "lessons"), naming.ask); err != nil {
		return err
	}
	holder, err := p.holder(c.Filter, filepath.Join(c.State, heldFolder), readers(accounts, true), judge, confirmed)
	if err != nil {
		return err
	}
	teacher := p.teacher(accounts, judge, holder.Releases(confirmed))
	submitter := p.submitter(accounts, c.Submit, cert, p.obs.stage("teach", false, teacher))
	submitter.Service = func(a mail.Address) bool { return teacher.Teaches(a) || holder.Takes(a) || confirms(a) }
	if err := p.submission(c.identityOptions, c.Submit, c.Limits, c.Queue.Spool, cert, submitter); err != nil {
		return err
	}
	// The way in: verify → filter → hold → …
	labeller, err := p.filter(judge, c.Filter, p.obs.stage("hold", false, holder))
	if err != nil {
		return err
	}
	filtered := p.obs.stage("filter", false, labeller)
	verifier := p.verifier(c.identityOptions, c.Verify.verifyOptions, naming.ask, accounts, leadsBack(back), filtered)
	verifier.Service = func(a mail.Address) bool { return holder.Takes(a) || confirms(a) }
	verifier.Beside = listed(judge)
	hosted := func() []string { return accounts.Book().Domains() }
	if err := p.autoconfig(c.identityOptions, c.Autoconfig, c.Submit, cert, hosted); err != nil {
		return err
	}
	return p.mx(c.identityOptions, c.Verify, c.Limits, c.Queue.Spool, cert, verifier)
}

// sampleConfig returns a configuration file with everything in it.
func sampleConfig() string {
	var b strings.Builder
	writeSample(&b)
	return b.String()
}
