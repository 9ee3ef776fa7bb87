package main

import (
	"crypto"
	"crypto/tls"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"stagecoach/name/cert"
	"stagecoach/rfc/dns"
)

// certOptions have the certificate come by DNS instead of by files, as the articles' stages do.
type certOptions struct {
	DNSKey    Secret   `toml:"dns_key" name:"dns-key" help:"Key that may write the certificate records of the zone: NAME:ALGORITHM:BASE64, or @FILE with that in it. With it the certificate comes by DNS, from \"stagecoach letsencrypt\"." placeholder:"SECRET"`
	DNSServer string   `toml:"dns_server" name:"dns-server" help:"Address of the zone's primary name server." placeholder:"IP"`
	DNSPort   int      `toml:"dns_port" name:"dns-port" help:"Port of --dns-server." default:"53"`
	KeySeed   Secret   `toml:"key_seed" name:"key-seed" help:"Text from which the certificate's RSA key follows, as in the articles (default: an ECDSA key is made and kept in the folder)." placeholder:"SECRET"`
	Folder    string   `toml:"folder" name:"cert-folder" help:"Where the key and the last certificate are kept (\"serve\": in its state folder); without it a restart shows a self-made certificate until the zone was read." placeholder:"DIR"`
	Names     []string `toml:"names" name:"cert-name" help:"More names for the certificate, in the same zone." placeholder:"HOST"`
	DANE      bool     `toml:"dane" name:"dane" help:"Publish the key for other mail servers too, as TLSA records at _25._tcp (the zone must be signed)."`
}

func (o certOptions) wanted() bool { return !o.DNSKey.IsZero() || o.DNSServer != "" }

// within has the folder be one in the state folder, unless another is named.
func (o certOptions) within(state string) certOptions {
	if o.Folder == "" {
		o.Folder = filepath.Join(state, "certificates")
	}
	return o
}

// checked sees whether the options are good, and returns none: a check asks for no certificate.
func (o certOptions) checked(host string) (certOptions, error) {
	if !o.wanted() {
		return o, nil
	}
	_, zone, err := primary(o.DNSServer, o.DNSPort, o.DNSKey)
	if err == nil && !dns.IsSubdomain(zone, host) {
		err = fmt.Errorf("%s is not in the zone of the DNS key", host)
	}
	return certOptions{}, err
}

// primary reads the name server and its key.
func primary(server string, port int, secret Secret) (*dns.Client, string, error) {
	if secret.IsZero() {
		return nil, "", errors.New("--dns-key: no key for the name server is given")
	}
	key, err := dns.ParseKey(secret.Text())
	if err != nil {
		return nil, "", fmt.Errorf("--dns-key: %w", err)
	}
	zone, err := cert.ZoneOf(key)
	if err != nil {
		return nil, "", fmt.Errorf("--dns-key: %w", err)
	}
	if port < 1 || port > 65535 {
		return nil, "", fmt.Errorf("port %d: no port", port)
	}
	at, err := dns.ParseAddrPort(server, uint16(port))
	if err != nil {
		return nil, "", fmt.Errorf("--dns-server %q: %w", server, err)
	}
	return cert.NewPrimary(at, key), zone, nil
}

// keeper makes what holds a certificate that comes by DNS.
func (o certOptions) keeper(pins bool, host string) (*cert.Keeper, error) {
	server, zone, err := primary(o.DNSServer, o.DNSPort, o.DNSKey)
	if err != nil {
		return nil, err
	}
	k := &cert.Keeper{Names: append([]string{host}, o.Names...), Zone: zone, Primary: server, Dir: o.Folder}
	if o.DANE && pins {
		k.Pins = []string{"_25._tcp." + host}
	}
	if k.Key, err = o.key(host); err != nil {
		return nil, fmt.Errorf("certificate key: %w", err)
	}
	return k, nil
}

func (o certOptions) key(host string) (crypto.Signer, error) {
	if !o.KeySeed.IsZero() {
		return cert.SeedKey(o.KeySeed.Text())
	}
	if o.Folder == "" {
		return nil, errors.New("neither --key-seed nor --cert-folder is given: where is the key?")
	}
	if err := stateFolder(o.Folder); err != nil {
		return nil, err
	}
	return cert.FileKey(filepath.Join(o.Folder, host+".key"))
}

// shown returns what servers show: a certificate that comes by DNS, or that of files. pins says
// that it is for the servers of the world.
func (p *process) shown(files tlsOptions, o certOptions, pins bool, names ...string) (*certificate, error) {
	if !o.wanted() {
		return p.certificate(files, names...)
	}
	if files.Certificate != "" || files.Key != "" {
		return nil, errors.New("a certificate comes by DNS or from files: give the options of one")
	}
	o.DNSKey.warn(p.log, "--dns-key")
	o.KeySeed.warn(p.log, "--key-seed")
	k, err := o.keeper(pins, names[0])
	if err != nil {
		return nil, err
	}
	c := &certificate{}
	k.Log, k.Changed = p.log, func(pair *tls.Certificate) { c.current.Store(pair) }
	if err := k.Load(); err != nil {
		return nil, err
	}
	p.log.Info("the certificate comes by DNS", "names", strings.Join(k.Names, " "), "self-made", k.Status().SelfMade)
	p.reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "stagecoach_certificate_left_seconds", Help: "How long the certificate is still good that is shown; of a self-made one 0.",
		ConstLabels: prometheus.Labels{"name": names[0]},
	}, func() float64 {
		if s := k.Status(); !s.SelfMade {
			return s.Left.Seconds()
		}
		return 0
	}))
	p.behind("certificate", k.Run)
	p.hangup("certificate by DNS", k.Look)
	return c, nil
}
