package main

import (
	"context"
	"crypto/rsa"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"stagecoach/name/authority"
	"stagecoach/repo"
	"stagecoach/rfc/dns"
	"stagecoach/rfc/fortuna"
)

type primaryCmd struct {
	Remote  string      `short:"r" help:"The zone repository: a bare repository or checkout here, or user@host:path#branch over SSH." required:"" placeholder:"REMOTE"`
	Zones   zoneOptions `embed:""`
	State   string      `help:"Folder for what must outlive the process and is not in the repository: the private keys of DNSSEC." default:"/var/lib/stagecoach/primary" placeholder:"DIR"`
	Serving runOptions  `embed:""`

	Nameserver []string `help:"Where to ask for the addresses of name servers outside of our zones, to notify them: udp:IP, tcp:IP or tls:IP (default: this machine's resolver)." placeholder:"NS"`
}

// zoneOptions say how zones are read and served.
type zoneOptions struct {
	Listen           []string `toml:"listen" help:"Where to answer over UDP and TCP (default ${default})." default:":53" placeholder:"HOST:PORT"`
	SSHKey           Secret   `toml:"ssh_key" name:"ssh-key" help:"Key for SSH: ed25519:BASE64, rsa:SEED, or @FILE." placeholder:"SECRET"`
	SSHAuthenticator string   `toml:"ssh_authenticator" name:"ssh-authenticator" aliases:"authenticator" help:"Host key of the SSH server: SHA256:FINGERPRINT, or the path of a known_hosts file." placeholder:"KEY"`
	Poll             Duration `toml:"poll" name:"poll" help:"How often to look for changes; a signed NOTIFY and SIGHUP look at once." default:"1m"`
	Control          string   `toml:"control" help:"Socket by which zone status asks; it is not needed to serve." default:"/run/stagecoach/primary.sock" placeholder:"PATH"`

	Axfr       bool   `toml:"axfr" name:"axfr" help:"Let everybody transfer whole zones; without it a _transfer or _update key is needed."`
	NotifyPort uint16 `toml:"notify_port" name:"notify-port" help:"Where secondaries listen." default:"53"`
	RateLimit  int    `toml:"rate_limit" name:"rate-limit" help:"Like answers over UDP in a second to one network that has not shown a cookie; 0 for no limit." default:"20"`
	Sockets    int    `toml:"sockets" help:"UDP sockets for each address, between which clients are spread." default:"2"`

	Dnssec   bool     `toml:"dnssec" name:"dnssec" help:"Sign the zones with ECDSA P-256." default:"true" negatable:""`
	Unsigned []string `toml:"unsigned" help:"Zones not to sign." placeholder:"ZONE"`
	Split    bool     `toml:"split" help:"Give new zones a KSK and a ZSK that is rolled over, in place of one key."`
	NSEC3    bool     `toml:"nsec3" name:"nsec3" help:"Prove what does not exist by NSEC3, so that names cannot be listed."`
	Roll     Duration `toml:"roll" name:"roll" help:"How long a ZSK signs." default:"90d"`
}

// zoneLimits bound a zone repository: a zone of 100,000 names has about 10 MB.
var zoneLimits = repo.Limits{FileSize: 128 << 20, Total: 512 << 20}

// Help shows examples.
func (primaryCmd) Help() string {
	return `Examples, the first as in the articles:

  stagecoach primary -r git@10.0.0.1:zone.git#main --axfr --ssh-key @ssh.key --ssh-authenticator SHA256:...
  stagecoach primary -r /srv/zone.git --listen 192.0.2.1:53 --listen '[2001:db8::1]:53' --state /var/lib/stagecoach/primary`
}

// Run serves until ctx ends.
func (c primaryCmd) Run(ctx context.Context) error {
	p, err := newProcess(ctx, c.Serving)
	if err != nil {
		return err
	}
	if err := c.build(p); err != nil {
		return p.abort(err)
	}
	return p.wait()
}

func (c primaryCmd) build(p *process) error {
	ask, err := names(c.Nameserver)
	if err != nil {
		return err
	}
	a, err := p.authority(c.Remote, c.Zones, ask, c.State)
	if err != nil {
		return err
	}
	return p.zones(c.Zones, a)
}

// authority reads the zones and keeps them fresh.
func (p *process) authority(remote string, o zoneOptions, ask dns.Exchanger, state string) (*authority.Authority, error) {
	o.SSHKey.warn(p.log, "--ssh-key")
	a, err := o.authority(remote, state)
	if err != nil {
		return nil, err
	}
	a.Resolver, a.Log = ask, p.log
	ctx, cancel := context.WithTimeout(p.front, time.Minute)
	defer cancel()
	if err := a.Load(ctx); err != nil {
		return nil, fmt.Errorf("zone repository: %w", err)
	}
	p.hangup("zones", a.Reload)
	p.reg.MustRegister(zoneMetrics{a})
	return a, nil
}

// zones opens the name server for them.
func (p *process) zones(o zoneOptions, a *authority.Authority) error {
	p.behind("zones", a.Run)
	serveStatus(p, o.Control, a)
	server := &dns.Server{Handler: a, Keys: a.Key, Rate: rateLimit(o.RateLimit), Limits: dns.Limits{Parallel: 20}, Log: p.log}
	return p.dns("dns", server, o.Listen, o.Sockets)
}

func (o zoneOptions) authority(remote, state string) (*authority.Authority, error) {
	source, err := repo.Open(remote, repo.Options{
		Key:      o.SSHKey.Text(),
		HostKeys: o.SSHAuthenticator,
		RSA:      func(seed string) (*rsa.PrivateKey, error) { return fortuna.RSA([]byte(seed), 4096) },
		Limits:   zoneLimits,
	})
	if err != nil {
		return nil, fmt.Errorf("zone repository: %w", err)
	}
	a := &authority.Authority{Repo: source, OpenTransfers: o.Axfr, NotifyPort: o.NotifyPort, Poll: time.Duration(o.Poll)}
	if !o.Dnssec {
		return a, nil
	}
	a.Signing = &authority.Signing{
		Dir: signingFolder(state), Skip: o.Unsigned, Split: o.Split, NSEC3: o.NSEC3, Roll: time.Duration(o.Roll),
	}
	if err := os.MkdirAll(a.Signing.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("keys of DNSSEC (--state says where they lie, --no-dnssec serves without): %w", err)
	}
	return a, nil
}

// signingFolder is where a primary keeps the keys of DNSSEC in its state.
func signingFolder(state string) string { return filepath.Join(state, "dnssec") }

// dns starts a name server on UDP and TCP.
func (p *process) dns(name string, server *dns.Server, addresses []string, sockets int) error {
	for _, address := range addresses {
		conns, l, err := dns.Listen(p.front, p.at(address), max(sockets, 1))
		if err != nil {
			return err
		}
		p.log.Info("listening", "listener", name, "address", l.Addr().String())
		p.servers.Go(func() { p.ended(name+" over UDP", server.ServePacket(p.front, conns...)) })
		p.servers.Go(func() { p.ended(name+" over TCP", server.Serve(p.front, l)) })
	}
	return nil
}
