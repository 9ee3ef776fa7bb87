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
	Listen  []string    `help:"Where to answer over UDP and TCP (default ${default})." default:":53" placeholder:"HOST:PORT"`
	Zones   zoneOptions `embed:""`
	State   string      `help:"Folder for what must outlive the process and is not in the repository: the private keys of DNSSEC." default:"/var/lib/stagecoach/primary" placeholder:"DIR"`
	Control string      `help:"Socket by which zone status asks; it is not needed to serve." default:"/run/stagecoach/primary.sock" placeholder:"PATH"`

	Axfr       bool     `name:"axfr" help:"Let everybody transfer whole zones; without it a _transfer or _update key is needed."`
	Nameserver []string `help:"Where to ask for the addresses of name servers outside of our zones, to notify them: udp:IP, tcp:IP or tls:IP (default: this machine's resolver)." placeholder:"NS"`
	NotifyPort uint16   `name:"notify-port" help:"Where secondaries listen." default:"53"`
	RateLimit  int      `name:"rate-limit" help:"Like answers over UDP in a second to one network that has not shown a cookie; 0 for no limit." default:"20"`
	Sockets    int      `help:"UDP sockets for each address, between which clients are spread." default:"2"`

	Dnssec   bool       `name:"dnssec" help:"Sign the zones with ECDSA P-256." default:"true" negatable:""`
	Unsigned []string   `help:"Zones not to sign." placeholder:"ZONE"`
	Split    bool       `help:"Give new zones a KSK and a ZSK that is rolled over, in place of one key."`
	NSEC3    bool       `name:"nsec3" help:"Prove what does not exist by NSEC3, so that names cannot be listed."`
	Roll     Duration   `help:"How long a ZSK signs." default:"90d"`
	Serving  runOptions `embed:""`
}

// zoneOptions say where the zones are kept.
type zoneOptions struct {
	Remote           string   `short:"r" help:"The zone repository: a bare repository or checkout here, or user@host:path#branch over SSH." required:"" placeholder:"REMOTE"`
	SSHKey           Secret   `name:"ssh-key" help:"Key for SSH: ed25519:BASE64, rsa:SEED, or @FILE." placeholder:"SECRET"`
	SSHAuthenticator string   `name:"ssh-authenticator" aliases:"authenticator" help:"Host key of the SSH server: SHA256:FINGERPRINT, or the path of a known_hosts file." placeholder:"KEY"`
	Poll             Duration `help:"How often to look for changes; a signed NOTIFY and SIGHUP look at once." default:"1m"`
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
	c.Zones.SSHKey.warn(p.log, "--ssh-key")
	a, err := c.authority(p)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(p.front, time.Minute)
	defer cancel()
	if err := a.Load(ctx); err != nil {
		return fmt.Errorf("zone repository: %w", err)
	}
	p.hangup("zones", a.Reload)
	p.reg.MustRegister(zoneMetrics{a})
	p.behind("zones", a.Run)
	serveStatus(p, c.Control, a)
	server := &dns.Server{Handler: a, Keys: a.Key, Rate: rateLimit(c.RateLimit), Limits: dns.Limits{Parallel: 20}, Log: p.log}
	return p.dns(server, c.Listen, c.Sockets)
}

func (c primaryCmd) authority(p *process) (*authority.Authority, error) {
	source, err := repo.Open(c.Zones.Remote, repo.Options{
		Key:      c.Zones.SSHKey.Text(),
		HostKeys: c.Zones.SSHAuthenticator,
		RSA:      func(seed string) (*rsa.PrivateKey, error) { return fortuna.RSA([]byte(seed), 4096) },
		Limits:   zoneLimits,
	})
	if err != nil {
		return nil, fmt.Errorf("zone repository: %w", err)
	}
	ask, err := names(c.Nameserver)
	if err != nil {
		return nil, err
	}
	a := &authority.Authority{
		Repo: source, OpenTransfers: c.Axfr, Resolver: ask, NotifyPort: c.NotifyPort,
		Poll: time.Duration(c.Zones.Poll), Log: p.log,
	}
	if !c.Dnssec {
		return a, nil
	}
	a.Signing = &authority.Signing{
		Dir: signingFolder(c.State), Skip: c.Unsigned, Split: c.Split, NSEC3: c.NSEC3, Roll: time.Duration(c.Roll),
	}
	if err := os.MkdirAll(a.Signing.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("keys of DNSSEC (--state says where they lie, --no-dnssec serves without): %w", err)
	}
	return a, nil
}

// signingFolder is where a primary keeps the keys of DNSSEC in its state.
func signingFolder(state string) string { return filepath.Join(state, "dnssec") }

// dns starts a name server on UDP and TCP.
func (p *process) dns(server *dns.Server, addresses []string, sockets int) error {
	for _, address := range addresses {
		conns, l, err := dns.Listen(p.front, address, max(sockets, 1))
		if err != nil {
			return err
		}
		p.log.Info("listening", "listener", "dns", "address", l.Addr().String())
		p.servers.Go(func() { p.ended("dns over UDP", server.ServePacket(p.front, conns...)) })
		p.servers.Go(func() { p.ended("dns over TCP", server.Serve(p.front, l)) })
	}
	return nil
}
