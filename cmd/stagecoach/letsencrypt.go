package main

import (
	"cmp"
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stagecoach/name/cert"
	"stagecoach/rfc/dns"
)

type letsencryptCmd struct {
	DNSKey     Secret        `name:"dns-key" help:"Key that may read and write the zone: NAME:ALGORITHM:BASE64 with a label _update in its name, or @FILE with that in it." placeholder:"SECRET"`
	DNSServer  string        `name:"dns-server" help:"Address of the zone's primary name server." placeholder:"IP"`
	Port       int           `help:"Port of --dns-server." default:"53"`
	Nameserver []string      `help:"Where to ask for the authority, and for the zone's name servers that are outside of it: udp:IP[:PORT], tcp:... or tls:... (default: this machine's resolver)." placeholder:"NS"`
	Listen     string        `help:"Where to take signed NOTIFYs, for a primary that does not use our connection to it." placeholder:"HOST:PORT"`
	State      string        `help:"Folder that remembers orders and failures." default:"/var/lib/stagecoach/letsencrypt" placeholder:"DIR"`
	Status     bool          `help:"Print what is remembered there, and end."`
	Issuer     issuerOptions `embed:""`
	Serving    runOptions    `embed:""`
}

// issuerOptions say of whom certificates are got, and how.
type issuerOptions struct {
	Zone           []string `toml:"zone" help:"Zones to follow (default: the one in the name of the key)." placeholder:"ZONE"`
	Production     bool     `toml:"production" help:"Use the real Let's Encrypt. Without it certificates come from its staging server, and nobody trusts them."`
	Directory      string   `toml:"directory" help:"Directory of another ACME server." placeholder:"URL"`
	CAFile         string   `toml:"ca_file" name:"ca-file" help:"Certificates in PEM to trust that server by, instead of the system's." placeholder:"FILE"`
	AccountKeySeed Secret   `toml:"account_key_seed" name:"account-key-seed" help:"Seed of the account's key, as in the articles; for other types than rsa the key itself in base64 (default: an ECDSA key is made and kept in the state folder)." placeholder:"SECRET"`
	AccountKeyType string   `toml:"account_key_type" name:"account-key-type" help:"What the seed is for: ${enum}." enum:"rsa,ed25519,p256,p384,p521" default:"rsa"`
	AccountBits    int      `toml:"account_bits" name:"account-bits" help:"Size of an RSA account key." default:"4096"`
	Email          string   `toml:"email" help:"Address that the authority may write to." placeholder:"ADDRESS"`
	EABKeyID       string   `toml:"eab_key_id" name:"eab-key-id" help:"Name of an account that the authority knows already (external account binding)." placeholder:"ID"`
	EABKey         Secret   `toml:"eab_key" name:"eab-key" help:"Key of that account, in base64url." placeholder:"SECRET"`
	AnyNames       bool     `toml:"any_names" help:"Let a request have any names of the zone, as in the articles, instead of those whose records have it too."`
	ZonePort       uint16   `toml:"zone_port" help:"Port of the zone's name servers." default:"53"`
}

// Help shows examples.
func (letsencryptCmd) Help() string {
	return `Follows a zone and gets a certificate for every request in it, at _letsencrypt._tcp.HOST.

Examples:

  stagecoach letsencrypt --dns-key @dns.key --dns-server 10.0.0.1 --account-key-seed @account.seed \
      --email postmaster@example.org --production
  stagecoach letsencrypt --status`
}

// Run serves until ctx ends.
func (c letsencryptCmd) Run(ctx context.Context) error {
	if c.Status {
		return c.printStatus()
	}
	p, err := newProcess(ctx, c.Serving)
	if err != nil {
		return err
	}
	if err := c.start(p); err != nil {
		return p.abort(err)
	}
	return p.wait()
}

func (c letsencryptCmd) start(p *process) error {
	c.DNSKey.warn(p.log, "--dns-key")
	i, err := c.issuer()
	if err != nil {
		return err
	}
	if err := p.issue(c.Issuer, i); err != nil {
		return err
	}
	if c.Listen != "" {
		return c.notifies(p, i)
	}
	return nil
}

// issue starts what gets the certificates that are asked for in zones.
func (p *process) issue(o issuerOptions, i *cert.Issuer) error {
	o.AccountKeySeed.warn(p.log, "--account-key-seed")
	o.EABKey.warn(p.log, "--eab-key")
	i.Log = p.log
	if err := i.Load(); err != nil {
		return err
	}
	p.log.Info("following zones for requests", "zones", i.Zones, "directory", i.Directory)
	p.reg.MustRegister(issuerMetrics{i})
	p.behind("issuer", i.Run)
	p.hangup("requests for certificates", func(context.Context) error { i.Wake(); return nil })
	return nil
}

func (c letsencryptCmd) issuer() (*cert.Issuer, error) {
	server, zone, err := primary(c.DNSServer, c.Port, c.DNSKey)
	if err != nil {
		return nil, err
	}
	ask, err := names(c.Nameserver)
	if err != nil {
		return nil, err
	}
	i, err := c.Issuer.issuer(server, zone, ask, c.State)
	if err == nil && len(c.Nameserver) == 0 { // the machine's own look-up knows its hosts file too
		i.HTTP, err = c.Issuer.client(nil)
	}
	return i, err
}

// issuer reads the options. zone is that of the key for the primary.
func (o issuerOptions) issuer(server cert.Primary, zone string, ask dns.Exchanger, state string) (*cert.Issuer, error) {
	i := &cert.Issuer{Zones: o.Zone, Primary: server, Resolver: ask, Directory: cert.Staging, AnyNames: o.AnyNames, Dir: state, Port: o.ZonePort}
	if len(i.Zones) == 0 {
		if zone == "." {
			return nil, errors.New("the key is for all zones: name those to follow (--zone)")
		}
		i.Zones = []string{dns.Host(zone)}
	}
	if o.Production {
		i.Directory = cert.Production
	}
	if o.Directory != "" {
		if u, err := url.Parse(o.Directory); err != nil || u.Scheme != "https" || o.Production {
			return nil, fmt.Errorf("--directory %q: want an https URL, and not --production as well", o.Directory)
		}
		i.Directory = o.Directory
	}
	var err error
	if i.HTTP, err = o.client(ask); err != nil {
		return nil, err
	}
	i.Account = cert.Account{Email: o.Email, KeyID: o.EABKeyID, MACKey: o.EABKey.Text()}
	if (o.EABKeyID == "") != o.EABKey.IsZero() {
		return nil, errors.New("--eab-key-id and --eab-key belong together")
	}
	i.Account.Key, err = o.accountKey(state)
	return i, err
}

func (o issuerOptions) accountKey(state string) (crypto.Signer, error) {
	if !o.AccountKeySeed.IsZero() {
		return cert.AccountKey(o.AccountKeyType, o.AccountKeySeed.Text(), o.AccountBits)
	}
	if err := os.MkdirAll(state, 0o700); err != nil {
		return nil, err
	}
	return cert.FileKey(filepath.Join(state, "account.key"))
}

// client speaks to the authority, which ask finds; nil: as the machine does.
func (o issuerOptions) client(ask dns.Exchanger) (*http.Client, error) {
	if o.CAFile == "" {
		return cert.Client(ask, nil), nil
	}
	text, err := os.ReadFile(o.CAFile)
	if err != nil {
		return nil, fmt.Errorf("--ca-file: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("--ca-file %s: there is no certificate in it", o.CAFile)
	}
	return cert.Client(ask, roots), nil
}

// notifies takes NOTIFYs over UDP and TCP.
func (c letsencryptCmd) notifies(p *process, i *cert.Issuer) error {
	udp, tcp, err := dns.Listen(p.front, c.Listen, 1)
	if err != nil {
		return err
	}
	key, err := dns.ParseKey(c.DNSKey.Text())
	if err != nil {
		return err
	}
	s := &dns.Server{Handler: i, Keys: func(name string) (dns.Key, bool) { return key, name == key.Name }, Log: p.log}
	p.servers.Go(func() { p.ended("notifies", s.ServePacket(p.front, udp...)) })
	p.servers.Go(func() { p.ended("notifies", s.Serve(p.front, tcp)) })
	return nil
}

func (c letsencryptCmd) printStatus() error {
	all, err := cert.Remembered(c.State)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "HOST\tGOOD UNTIL\tRENEWAL\tNO ORDER BEFORE\tFAILURES\tLAST ERROR")
	for _, s := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\n", s.Host, day(s.NotAfter), day(s.Renewal), day(s.Next), s.Failures, cmp.Or(printable(s.Error), "-"))
	}
	return w.Flush()
}

func day(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04")
}

// issuerMetrics are read off the issuer when somebody asks.
type issuerMetrics struct{ issuer *cert.Issuer }

// Describe names the metrics.
func (m issuerMetrics) Describe(to chan<- *prometheus.Desc) {
	to <- m.left()
	to <- m.failures()
}

func (issuerMetrics) left() *prometheus.Desc {
	return prometheus.NewDesc("stagecoach_issued_left_seconds", "How long the certificate in the zone is still good; 0 if there is none.", []string{"name"}, nil)
}

func (issuerMetrics) failures() *prometheus.Desc {
	return prometheus.NewDesc("stagecoach_issuer_failures", "Failed attempts to get a certificate since the last success.", []string{"name"}, nil)
}

// Collect reads them.
func (m issuerMetrics) Collect(to chan<- prometheus.Metric) {
	for _, s := range m.issuer.Status() {
		left := 0.0
		if !s.NotAfter.IsZero() {
			left = time.Until(s.NotAfter).Seconds()
		}
		to <- prometheus.MustNewConstMetric(m.left(), prometheus.GaugeValue, left, s.Host)
		to <- prometheus.MustNewConstMetric(m.failures(), prometheus.GaugeValue, float64(s.Failures), s.Host)
	}
}
