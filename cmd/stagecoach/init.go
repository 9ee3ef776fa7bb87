package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"stagecoach/tool/setup"
)

type initCmd struct {
	Domain      string       `arg:"" help:"The mail domain." placeholder:"DOMAIN"`
	Address     []netip.Addr `help:"Public address of this machine; may be repeated (default: those of its interfaces)." placeholder:"IP"`
	User        string       `help:"First user: what stands before the @." placeholder:"NAME"`
	Target      []string     `help:"Mailbox that mail to the first user goes to; may be repeated." placeholder:"ADDRESS"`
	Confirm     bool         `help:"Ask at --target by mail before anything is forwarded there." default:"true" negatable:""`
	SecondaryNS []string     `name:"secondary-ns" help:"A second name server elsewhere: HOST, or HOST=IP where it is in the domain; may be repeated (default: ns2 is this machine too)." placeholder:"HOST[=IP]" sep:"none"`
	MX          string       `name:"mx" help:"Host that mail goes to; the PTR of the addresses." default:"mx" placeholder:"HOST"`
	Submission  string       `help:"Host that users send through." default:"smtp" placeholder:"HOST"`
	DMARC       string       `name:"dmarc" help:"What receivers do with mail that is not ours: ${enum}." enum:"none,quarantine,reject" default:"quarantine"`
	Reports     string       `help:"Who gets the reports of receivers (default: postmaster of the domain)." placeholder:"ADDRESS"`
	Keep        bool         `help:"Look up what the domain and www are at present, and keep it: a web site stays where it is." default:"true" negatable:""`
	Staging     bool         `help:"Get certificates from Let's Encrypt's test system, which nobody trusts."`
	Config      string       `short:"c" help:"The configuration file to write." default:"/etc/stagecoach.toml" placeholder:"FILE"`
	State       string       `help:"Folder for repositories, keys and the queue." default:"/var/lib/stagecoach" placeholder:"DIR"`
	Yes         bool         `short:"y" help:"Ask nothing: take flags and defaults."`
	DryRun      bool         `help:"Say what would be done, and do nothing."`
	Install     bool         `help:"Install and start the service too, as \"stagecoach service install\" does."`
}

// Help shows examples.
func (initCmd) Help() string {
	return `Makes all that a domain needs on this machine: keys, repositories for the zone and the users, the
zone with every record that mail needs, the configuration, and a first user. It ends with what is to be
pasted at the registrar and at the hoster. What is there already stays as it is: a second run does what is
missing, and says the rest again.

Examples:

  stagecoach init example.org
  stagecoach init example.org --user ann --target ann@gmail.example --yes --install
  stagecoach init example.org --address 192.0.2.25 --secondary-ns ns.friend.example --dry-run
  stagecoach init example.org --config ./stagecoach.toml --state ./state --yes`
}

// Run asks, makes and tells.
func (c initCmd) Run(ctx context.Context) error {
	return c.run(ctx, newTalk(os.Stdin, os.Stdout, c.Yes || c.DryRun))
}

func (c initCmd) run(ctx context.Context, t *talk) error {
	if err := t.possible(); err != nil {
		return err
	}
	p, err := c.decide(ctx, t)
	if err != nil {
		return err
	}
	if c.DryRun {
		p.summary(t)
		return p.preview(ctx, t)
	}
	if !p.known {
		p.summary(t)
		if ok, err := t.confirm("Go ahead?"); err != nil || !ok {
			return errors.Join(err, errors.New("nothing was done"))
		}
	}
	made, err := p.make(ctx, t)
	if err != nil {
		return err
	}
	if err := p.tell(t, made, c.Install); err != nil {
		return err
	}
	if c.Install {
		return serviceInstallCmd{Config: p.config}.run(ctx, t)
	}
	return nil
}

// A plan is what was decided, and what is there already.
type plan struct {
	domain  setup.Domain
	service setup.Service
	config  string // file
	user    newUser
	now     time.Time

	known bool              // the zone is there already, and what it says was taken over
	zone  map[string][]byte // files of the zone repository as they are, nil for none
}

// decide finds out what is there, and asks for the rest.
func (c initCmd) decide(ctx context.Context, t *talk) (*plan, error) {
	p := &plan{now: time.Now(), domain: setup.Domain{Name: c.Domain, MX: c.MX, Submission: c.Submission, Policy: c.DMARC, Reports: c.Reports}}
	var err error
	if p.config, err = filepath.Abs(c.Config); err != nil {
		return nil, err
	}
	if p.domain.Name, err = domainName(c.Domain); err != nil {
		return nil, err
	}
	state, err := p.existing(c.State)
	if err != nil {
		return nil, err
	}
	p.service = setup.Service{State: state, Staging: c.Staging}
	here, err := thisMachine()
	if err != nil {
		return nil, err
	}
	if p.zone, err = filesOf(ctx, p.service.Zones()); err != nil {
		return nil, err
	}
	if text, ok := p.zone[p.domain.Name]; ok {
		p.known = true
		if p.domain, err = setup.Read(p.domain.Name, string(text), here.all); err != nil {
			return nil, err
		}
		c.differs(t, p.domain)
	} else if err := c.ask(ctx, t, p, here); err != nil {
		return nil, err
	}
	here.serve(&p.service, p.domain)
	if p.service.NoWeb = !p.known && here.hasWeb(p.domain); p.service.NoWeb {
		t.warn(`a web server has port 443 here, so that this service leaves it alone. Mail programs do not find their settings then, and
MTA-STS has no effect, unless that server hands https://autoconfig.%[1]s and https://mta-sts.%[1]s on: see [autoconfig] in the configuration.`, p.domain.Name)
	}
	return p, c.askUser(ctx, t, p)
}

// ask decides about a domain that has no zone here yet.
func (c initCmd) ask(ctx context.Context, t *talk, p *plan, here machine) error {
	var err error
	if p.domain.Addresses, err = here.choose(t, c.Address); err != nil {
		return err
	}
	secondaries := c.SecondaryNS
	if len(secondaries) == 0 {
		if secondaries, err = askSecondary(t); err != nil {
			return err
		}
	}
	for _, text := range secondaries {
		s, err := setup.ParseSecondary(text)
		if err != nil {
			return err
		}
		if len(p.domain.NameServers) == 0 {
			p.domain.NameServers = []setup.NameServer{{Host: "ns1"}}
		}
		p.domain.NameServers = append(p.domain.NameServers, s)
	}
	if c.Keep {
		p.domain.Keep = presentRecords(ctx, t, p.domain)
	}
	p.domain, err = p.domain.Check()
	return err
}

func askSecondary(t *talk) ([]string, error) {
	answer, err := t.ask(`Is there a second name server, on another machine? Then the domain is found while this one is away.
Registrars want two names in any case; without one, both are this machine. Write HOST, or HOST=IP.`, "none", func(s string) error {
		if s == "none" {
			return nil
		}
		_, err := setup.ParseSecondary(s)
		return err
	})
	if err != nil || answer == "none" {
		return nil, err
	}
	return []string{answer}, nil
}

// domainName returns a name in its canonical form.
func domainName(s string) (string, error) {
	d, err := setup.Domain{Name: strings.TrimSuffix(s, "."), Addresses: []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}}.Check()
	return d.Name, err
}

// existing looks at a configuration that is there already, and returns the state folder that
// holds: its own, or the one of the flag.
func (p *plan) existing(state string) (string, error) {
	have, err := glanceConfig(p.config)
	if err != nil {
		return "", err
	}
	if have.Domain != "" {
		if name, err := domainName(have.Domain); err != nil || name != p.domain.Name {
			return "", fmt.Errorf("%s is there already, and for %s: a service has one main domain. Name another file with --config, and another folder with --state", p.config, have.Domain)
		}
		if have.State != "" {
			state = have.State
		} else {
			state = setup.DefaultState
		}
	}
	return filepath.Abs(state)
}
