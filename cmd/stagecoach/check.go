package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	our "stagecoach/mail"
	"stagecoach/tool/check"
)

type checkCmd struct {
	Domain    string        `arg:"" optional:"" help:"The domain (default: that of the configuration)."`
	Config    string        `short:"c" help:"The configuration of the service on this machine (default: /etc/stagecoach.toml, if it is there and of this domain)." placeholder:"FILE"`
	Only      []string      `help:"Make these checks only." placeholder:"CHECK"`
	Skip      []string      `help:"Leave these checks out." placeholder:"CHECK"`
	JSON      bool          `name:"json" help:"Write JSON, as docs/check.md has it."`
	List      bool          `help:"Print the names of all checks, and what they look at."`
	Timeout   time.Duration `help:"Time for all of it; what is not known then could not be told." default:"60s"`
	Name      string        `help:"Host name of the mail server (default: of the configuration)." placeholder:"HOST"`
	Address   []netip.Addr  `help:"Addresses that mail is sent from (default: of the configuration, of the host name, or of the MX hosts)." placeholder:"IP"`
	Selector  []string      `help:"DKIM selectors to look at, besides those of the configuration." placeholder:"SELECTOR"`
	CA        string        `name:"ca" help:"Authority of the certificates as CAA records name it (default: letsencrypt.org where the configuration has an issuer)." placeholder:"DOMAIN"`
	Receivers []string      `help:"Domains whose mail servers are tried on port 25." default:"gmail.com,outlook.com,yahoo.com" placeholder:"DOMAIN"`
	Clock     string        `help:"Clock to compare with: https://HOST/, ntp:HOST, or none." default:"https://www.gstatic.com/generate_204" placeholder:"CLOCK"`

	Nameserver []string `short:"n" help:"Ask these resolvers, instead of resolving from the root. Block lists may not answer them, and DNSSEC is left out." placeholder:"NS"`
	World      checkLab `embed:""`
}

// checkLab is for simulated worlds.
type checkLab struct {
	Hints           []netip.Addr `hidden:"" help:"Root servers." placeholder:"IP"`
	DNSPort         uint16       `hidden:"" name:"dns-port" help:"In place of 53."`
	Trust           string       `hidden:"" help:"File with trust anchors."`
	Private         bool         `hidden:"" help:"Loopback and private addresses are as good as others."`
	Open            []string     `hidden:"" help:"Zones for local use to look up."`
	NoIPv6          bool         `hidden:"" name:"no-ipv6" help:"Ask no name servers over IPv6."`
	SMTPPort        uint16       `hidden:"" name:"smtp-port" help:"In place of 25."`
	SubmissionsPort uint16       `hidden:"" name:"submissions-port" help:"In place of 465."`
	SubmissionPort  uint16       `hidden:"" name:"submission-port" help:"In place of 587."`
	HTTPSPort       uint16       `hidden:"" name:"https-port" help:"In place of 443."`
	CAFile          string       `hidden:"" name:"ca-file" help:"File with the only authorities to trust, in PEM."`
}

// Help says what the lines and the exit status mean.
func (checkCmd) Help() string {
	return `Looks at the domain as the world sees it, from the root name servers on: delegation and name servers,
DNSSEC, MX, PTR, ports, certificates, SPF, DKIM, DMARC, MTA-STS, DANE, block lists, and this machine.
For each thing that is not right it says why that matters and what to do. It changes nothing and sends
no mail. docs/check.md explains each check.

Exit status: 0 all is right, 1 something is wrong, 2 no such check or domain, 75 nothing is wrong, but
something could not be told now, 80 the command line is wrong.

Examples:

  stagecoach check
  stagecoach check example.org
  stagecoach check example.org --only spf --only dkim --selector s1
  stagecoach check example.org --skip blocklist --json | jq '.lines[] | select(.status == "wrong")'
  stagecoach check --list`
}

// Run makes the checks and prints what they found.
func (c checkCmd) Run(ctx context.Context) error {
	if c.List {
		for _, one := range check.Checks() {
			fmt.Printf("%-13s  %s\n", one.ID, one.Title)
		}
		return nil
	}
	options := check.Options{Only: c.Only, Skip: c.Skip, Time: c.Timeout}
	if err := options.Validate(); err != nil {
		return ending{exitUsage, err}
	}
	target, cfg, err := c.target()
	if err != nil {
		return ending{exitUsage, err}
	}
	env, err := c.env(cfg)
	if err != nil {
		return ending{exitUsage, err}
	}
	watch := newWaiting(os.Stderr)
	options.Progress = watch.say
	report, err := check.Run(ctx, env, target, options)
	watch.clear()
	if err != nil {
		return err
	}
	if c.JSON {
		err = report.WriteJSON(os.Stdout)
	} else {
		err = report.WriteText(os.Stdout, checkStyle(os.Stdout))
	}
	return errors.Join(err, checkEnding(report))
}

// exitUsage is the status where there is nothing to check.
const exitUsage = 2

func checkEnding(r *check.Report) error {
	switch r.Result {
	case check.Wrong:
		return ending{1, fmt.Errorf("%s is not all right", r.Domain)}
	case check.Unknown:
		return later("not all could be told of %s now", r.Domain)
	}
	return nil
}

// target is the domain, with what the configuration and the flags say of its service.
func (c checkCmd) target() (check.Target, *config, error) {
	t := check.Target{Domain: c.Domain, Receivers: c.Receivers, Lists: check.Lists()}
	if c.Clock != "none" {
		t.Clock = c.Clock
	}
	if c.World.Private {
		t.Lists = nil // they know of no addresses there
	}
	cfg := c.configure(&t)
	if t.Domain == "" {
		if t.ConfigErr != nil {
			return t, nil, fmt.Errorf("no domain is named, and the configuration cannot be read: %w", t.ConfigErr)
		}
		return t, nil, errors.New("no domain is named, and there is no configuration")
	}
	domain, err := our.CanonicalDomain(t.Domain)
	if err != nil || strings.HasPrefix(domain, "[") {
		return t, nil, fmt.Errorf("%q is no domain", t.Domain)
	}
	t.Domain = domain
	if c.Name != "" {
		if t.Name, err = our.CanonicalDomain(c.Name); err != nil {
			return t, nil, fmt.Errorf("--name %q: %w", c.Name, err)
		}
	}
	if len(c.Address) > 0 {
		t.Addresses = c.Address
	}
	if c.CA != "" {
		t.CA = c.CA
	}
	t.Selectors = append(t.Selectors, c.Selector...)
	return t, cfg, nil
}
