package main

import (
	"cmp"
	"context"
	"errors"
	"path/filepath"

	"stagecoach/account"
	"stagecoach/mail"
	"stagecoach/stage/confirm"
	"stagecoach/stage/hold"
)

// One stage a process. Each command puts the same parts together as "serve" does, with a
// server in front where no edge is, and a next hop behind where no queue is.

type submissionCmd struct {
	identityOptions  `embed:""`
	SubmissionDomain string        `help:"Host name of the submission server, as the certificate has it (default: --name)." placeholder:"HOST"`
	Destination      string        `help:"The stage behind: IP, HOST:PORT or unix:PATH." placeholder:"HOST:PORT"`
	Users            userOptions   `embed:""`
	TLS              tlsOptions    `embed:""`
	Cert             certOptions   `embed:""`
	Submit           submitOptions `embed:""`
	Filter           taughtOptions `embed:"" prefix:"filter-"`
	Limits           limitOptions  `embed:""`
	Spool            string        `help:"Folder for large messages on their way (default: the system's folder for temporary files)." placeholder:"DIR"`
	Serving          runOptions    `embed:""`
}

// Help shows an example.
func (submissionCmd) Help() string {
	return `Example:

  stagecoach submission --domain example.org --name smtp.example.org -r git@10.0.0.1:users.git#main \
      --ssh-key @ssh.key --ssh-authenticator SHA256:... --certificate chain.pem --certificate-key key.pem \
      --destination 10.0.0.4`
}

// Run serves until ctx ends.
func (c submissionCmd) Run(ctx context.Context) error {
	if c.Name == "" {
		c.Name = c.SubmissionDomain
	}
	return run(ctx, &c.identityOptions, c.Serving, func(p *process) error {
		next, err := nextHop(c.Name, c.Destination)
		if err != nil {
			return err
		}
		accounts, err := p.accounts(c.identityOptions, c.Users)
		if err != nil {
			return err
		}
		cert, err := p.shown(c.TLS, c.Cert, false, c.Name)
		if err != nil {
			return err
		}
		next, takes, err := p.lessons(c.identityOptions, c.Filter, accounts, next)
		if err != nil {
			return err
		}
		submitter := p.submitter(accounts, c.Submit, cert, next)
		submitter.Service = func(a mail.Address) bool { return takes(a) || confirm.Like(a) } // the relay has the key
		return p.submission(c.identityOptions, c.Submit, c.Limits, c.Spool, cert, submitter)
	})
}

type verifierCmd struct {
	identityOptions `embed:""`
	Destination     string        `help:"The stage behind: IP, HOST:PORT or unix:PATH." placeholder:"HOST:PORT"`
	Listen          []string      `help:"Where to take mail from the world (default ${default})." default:":25" placeholder:"HOST:PORT"`
	Nameserver      []string      `help:"Where to ask for names: udp:IP[:PORT], tcp:IP[:PORT] or tls:IP[:PORT][!NAME] (default: this machine's resolver)." placeholder:"NS"`
	Users           userOptions   `embed:""`
	TLS             tlsOptions    `embed:""`
	Cert            certOptions   `embed:""`
	Verify          verifyOptions `embed:""`
	Limits          limitOptions  `embed:""`
	Spool           string        `help:"Folder for large messages on their way (default: the system's folder for temporary files)." placeholder:"DIR"`
	SRSKey          Secret        `name:"srs-key" help:"The relay's key of return addresses: bounces to addresses that it did not make are then refused at RCPT." placeholder:"SECRET"`
	Serving         runOptions    `embed:""`
}

// Help shows an example.
func (verifierCmd) Help() string {
	return `Example:

  stagecoach verifier --domain example.org --name mx.example.org --nameserver tcp:10.0.0.2 \
      -r git@10.0.0.1:users.git#main --ssh-key @ssh.key --ssh-authenticator SHA256:... --destination 10.0.0.8

Without -r every address in the domain is taken, and the relay refuses unknown ones after DATA.`
}

// Run serves until ctx ends.
func (c verifierCmd) Run(ctx context.Context) error {
	return run(ctx, &c.identityOptions, c.Serving, func(p *process) error {
		next, err := nextHop(c.Name, c.Destination)
		if err != nil {
			return err
		}
		ask, err := names(c.Nameserver)
		if err != nil {
			return err
		}
		var accounts *account.Directory
		if c.Users.Remote != "" {
			if accounts, err = p.accounts(c.identityOptions, c.Users); err != nil {
				return err
			}
		}
		cert, err := p.shown(c.TLS, c.Cert, true, c.Name, c.Domain)
		if err != nil {
			return err
		}
		c.SRSKey.warn(p.log, "--srs-key")
		back, err := newReturnPath(c.Domain, c.SRSKey.Bytes())
		if err != nil {
			return err
		}
		returns := leadsBack(back)
		if c.SRSKey.IsZero() { // the relay will know
			returns = back.Is
		}
		verifier := p.verifier(c.identityOptions, c.Verify, ask, accounts, returns, next)
		verifier.Service = func(a mail.Address) bool { return confirm.Like(a) || hold.Like(a) } // those behind have the keys
		return p.mx(c.identityOptions, verifyTable{Listen: c.Listen, verifyOptions: c.Verify}, c.Limits, c.Spool, cert, verifier)
	})
}

type spamfilterCmd struct {
	identityOptions `embed:""`
	Destination     string       `help:"The stage behind: IP, HOST:PORT or unix:PATH." placeholder:"HOST:PORT"`
	Inner           innerOptions `embed:""`
	Users           userOptions  `embed:""`
	Filter          spamOptions  `embed:"" prefix:"filter-"`
	Nameserver      []string     `help:"Where to ask block lists: udp:IP[:PORT], tcp:IP[:PORT] or tls:IP[:PORT][!NAME] (default: this machine's resolver)." placeholder:"NS"`
	Limits          limitOptions `embed:""`
	Spool           string       `help:"Folder for large messages on their way (default: the system's folder for temporary files)." placeholder:"DIR"`
	Serving         runOptions   `embed:""`
}

// Help shows an example.
func (spamfilterCmd) Help() string {
	return `Example:

  stagecoach spamfilter --domain example.org --listen 10.0.0.8:25 --from 10.0.0.0/24 --destination 10.0.0.5

With --filter-lessons what users taught counts, in a folder that the submission stage writes. With --filter-held
and -r it holds spam back and sends digests, which the next stages sign and forward.`
}

// Run serves until ctx ends.
func (c spamfilterCmd) Run(ctx context.Context) error {
	return run(ctx, &c.identityOptions, c.Serving, func(p *process) error {
		next, err := nextHop(c.Name, c.Destination)
		if err != nil {
			return err
		}
		var accounts *account.Directory
		if c.Users.Remote != "" {
			if accounts, err = p.accounts(c.identityOptions, c.Users); err != nil {
				return err
			}
		}
		judge, err := p.spamJudge(c.identityOptions, c.Filter, "", accounts)
		if err != nil {
			return err
		}
		ask, err := names(c.Nameserver)
		if err != nil {
			return err
		}
		if err := p.signals(judge, c.Filter, "", ask); err != nil {
			return err
		}
		if c.Filter.Held != "" {
			if accounts == nil {
				return errors.New("--filter-held needs -r: mail is held for users, who must be known")
			}
			holder, err := p.holder(c.Filter, "", readers(accounts, true), judge, next)
			if err != nil {
				return err
			}
			next = p.obs.stage("hold", false, holder)
		}
		f, err := p.filter(judge, c.Filter, next)
		if err != nil {
			return err
		}
		return p.inner("filter", c.identityOptions, c.Inner, c.Limits, c.Spool, f)
	})
}

type signerCmd struct {
	identityOptions `embed:""`
	Destination     string       `help:"The stage behind: IP, HOST:PORT or unix:PATH." placeholder:"HOST:PORT"`
	Inner           innerOptions `embed:""`
	Sign            signOptions  `embed:""`
	Limits          limitOptions `embed:""`
	OnlyOurs        bool         `help:"Sign only mail whose From is in the domain and which was submitted by a user, instead of all that comes. Then mail from the world may pass here too, and is sealed."`
	AuthServID      string       `name:"authserv-id" help:"Name of the verifier whose findings are sealed (default: our name)." placeholder:"HOST"`
	Spool           string       `help:"Folder for large messages on their way (default: the system's folder for temporary files)." placeholder:"DIR"`
	State           string       `help:"Folder that remembers which keys are published: then a restart signs at once, also while the name server is away." placeholder:"DIR"`
	Nameserver      []string     `help:"Where to ask for the zone's name servers that are outside of it: udp:IP[:PORT], tcp:... or tls:... (default: this machine's resolver)." placeholder:"NS"`
	Serving         runOptions   `embed:""`
}

// Help shows an example.
func (signerCmd) Help() string {
	return `With --dns-key the record of each key is compared at the start and, where it differs, published. Until it is
served, mail that the key would sign is answered with 451. Without --dns-key the record to publish stands in
the log, and "stagecoach dkim record" prints it.

Examples:

  stagecoach signer --domain example.org --selector s1 --private-key @dkim.key \
      --dns-key @dns.key --dns-server 10.0.0.3 --listen 10.0.0.4:25 --from 10.0.0.0/24 --destination 10.0.0.5
  stagecoach signer --domain example.org --dkim-key rsa1=rsa.pem --dkim-key ed1=ed25519.pem \
      --dns-key @dns.key --dns-server 10.0.0.3 --state /var/lib/stagecoach/signer --destination 10.0.0.5`
}

// Run serves until ctx ends.
func (c signerCmd) Run(ctx context.Context) error {
	return run(ctx, &c.identityOptions, c.Serving, func(p *process) error {
		next, err := nextHop(c.Name, c.Destination)
		if err != nil {
			return err
		}
		all := c.Domain
		if c.OnlyOurs {
			all = ""
		}
		s, err := p.signer(c.Domain, cmp.Or(c.AuthServID, c.Name), []string{c.Domain}, c.Sign, "", all, next)
		if err != nil {
			return err
		}
		ask, err := names(c.Nameserver)
		if err != nil {
			return err
		}
		file := ""
		if c.State != "" {
			file = filepath.Join(c.State, "published.json")
		}
		if err := p.publishKeys(s, c.Sign, file, ask); err != nil {
			return err
		}
		return p.inner("sign", c.identityOptions, c.Inner, c.Limits, c.Spool, s)
	})
}

type relayCmd struct {
	identityOptions `embed:""`
	Inner           innerOptions   `embed:""`
	Users           userOptions    `embed:""`
	Forward         forwardOptions `embed:""`
	Queue           queueOptions   `embed:""`
	Relay           relayOptions   `embed:""`
	Limits          limitOptions   `embed:""`
	Reports         string         `help:"Where our own reports go to be signed: the signer (default: unsigned into the queue)." placeholder:"HOST:PORT"`
	Serving         runOptions     `embed:""`
}

// Help shows an example.
func (relayCmd) Help() string {
	return `Example:

  stagecoach relay --domain example.org --name mx.example.org --nameserver tcp:10.0.0.2 --spool /var/spool/stagecoach \
      -r git@10.0.0.1:users.git#main --ssh-key @ssh.key --ssh-authenticator SHA256:... \
      --listen 10.0.0.5:25 --from 10.0.0.0/24 --reports 10.0.0.4`
}

// Run serves until ctx ends.
func (c relayCmd) Run(ctx context.Context) error {
	return run(ctx, &c.identityOptions, c.Serving, func(p *process) error {
		if err := stateFolder(c.Queue.Spool); err != nil {
			return err
		}
		accounts, err := p.accounts(c.identityOptions, c.Users)
		if err != nil {
			return err
		}
		ask, err := names(c.Relay.Nameserver)
		if err != nil {
			return err
		}
		q, err := p.queue(c.identityOptions, c.Queue)
		if err != nil {
			return err
		}
		forwarder, back, err := p.forwarder(c.Domain, accounts, c.Forward, c.Queue.Spool, p.obs.stage("queue", false, q))
		if err != nil {
			return err
		}
		relay, err := p.relay(c.identityOptions, c.Relay, ask, accounts, back)
		if err != nil {
			return err
		}
		var send mail.Handler = q
		reports := p.obs.stage("forward", false, forwarder)
		if c.Reports != "" { // the signer hands them back to us
			if reports, err = nextHop(c.Name, c.Reports); err != nil {
				return err
			}
			forwarder.Reports, send = reports, reports
		}
		p.deliver(q, c.Queue.Spool, relay, reports)
		taking, _, err := p.confirmer(c.identityOptions, c.Users, accounts, c.Queue.Spool, send, forwarder)
		if err != nil {
			return err
		}
		return p.inner("relay", c.identityOptions, c.Inner, c.Limits, c.Queue.Spool, taking)
	})
}

// run checks who we are, builds the parts of a process, and waits for its end.
func run(ctx context.Context, id *identityOptions, o runOptions, build func(*process) error) error {
	if id.Domain == "" {
		return errors.New("no --domain: which domain is served?")
	}
	if err := id.check(); err != nil {
		return err
	}
	p, err := newProcess(ctx, o)
	if err != nil {
		return err
	}
	if err := build(p); err != nil {
		return p.abort(err)
	}
	return p.wait()
}
