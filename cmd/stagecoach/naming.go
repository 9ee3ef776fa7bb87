package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"path/filepath"

	"stagecoach/name/authority"
	"stagecoach/name/resolver"
	"stagecoach/rfc/dns"
)

// Names in "serve": it answers for its own zones and gets their certificates, if it has them, and
// looks all other names up by itself, from the root down.

type zonesTable struct {
	Remote      string `toml:"remote" help:"The zone repository: a bare repository or checkout here, or user@host:path#branch over SSH. With it the service is the primary name server of its zones." placeholder:"REMOTE"`
	zoneOptions `embed:""`
}

type resolverTable struct {
	Listen                 []string `toml:"listen" help:"Where to answer others over UDP and TCP; without it the service resolves only for itself." placeholder:"HOST:PORT"`
	Control                string   `toml:"control" help:"Socket by which the commands of \"stagecoach resolver\" reach it." default:"/run/stagecoach/resolver.sock" placeholder:"PATH"`
	resolverServiceOptions `embed:""`
	resolveOptions         `embed:""`
}

type issuerTable struct {
	DNSKey        Secret `toml:"dns_key" help:"Key that may read and write the zone: NAME:ALGORITHM:BASE64, or @FILE with that in it. With it the service gets the certificates for the requests in its zones, by ACME." placeholder:"SECRET"`
	DNSServer     string `toml:"dns_server" help:"Address of the zone's primary name server (default: our own)." placeholder:"IP"`
	DNSPort       int    `toml:"dns_port" help:"Port of dns_server." default:"53"`
	issuerOptions `embed:""`
}

// naming is what "serve" knows names by.
type naming struct {
	ask      dns.Exchanger
	resolver *resolver.Resolver   // nil: others are asked
	zones    *authority.Authority // nil: our zones are served elsewhere
}

// naming reads our zones, and makes what looks names up: ours in the zones, whoever the world is
// told to ask for them, and all others from the root down.
func (p *process) naming(c *config) (n naming, err error) {
	if len(c.Relay.Nameserver) > 0 {
		if n.ask, err = names(c.Relay.Nameserver); err != nil {
			return n, err
		}
	} else {
		c.Resolver.Anchors = cmp.Or(c.Resolver.Anchors, filepath.Join(c.State, "anchors"))
		if n.resolver, err = c.Resolver.resolver(); err != nil {
			return n, fmt.Errorf("[resolver]: %w", err)
		}
		n.ask = n.resolver
	}
	if c.Zones.Remote == "" {
		return n, nil
	}
	if n.zones, err = p.authority(c.Zones.Remote, c.Zones.zoneOptions, n.ask, filepath.Join(c.State, "primary")); err != nil {
		return n, err
	}
	if n.resolver != nil {
		for _, z := range n.zones.Status() {
			n.resolver.Routes = append(n.resolver.Routes, resolver.Route{Zone: z.Name, To: n.zones})
		}
	}
	return n, nil
}

// serveZones opens the name server of our zones.
func (p *process) serveZones(c *config, n naming) error {
	if n.zones == nil {
		return nil
	}
	return p.zones(c.Zones.zoneOptions, n.zones)
}

// resolve starts our resolver, and opens it to others if it is to answer them.
func (p *process) resolve(c *config, n naming, cert *certificate) error {
	if n.resolver == nil {
		if len(c.Resolver.Listen) > 0 || len(c.Resolver.ListenTLS) > 0 {
			return errors.New("relay.nameserver and resolver.listen: with other name servers to ask there is no resolver of ours")
		}
		return nil
	}
	p.resolver(n.resolver, c.Resolver.Control)
	return p.resolving(n.resolver, c.Resolver.Listen, c.Resolver.resolverServiceOptions, cert)
}

// issuing starts the issuer, if it has a key.
func (p *process) issuing(c *config, ask dns.Exchanger) error {
	if c.Issuer.DNSKey.IsZero() {
		return nil
	}
	c.Issuer.DNSKey.warn(p.log, "issuer.dns_key")
	server, zone, err := primary(c.Issuer.DNSServer, c.Issuer.DNSPort, c.Issuer.DNSKey)
	if err != nil {
		return fmt.Errorf("[issuer]: %w", err)
	}
	i, err := c.Issuer.issuer(server, zone, ask, filepath.Join(c.State, "issuer"))
	if err != nil {
		return fmt.Errorf("[issuer]: %w", err)
	}
	return p.issue(c.Issuer.issuerOptions, i)
}

// primaryIsOurs has what talks to the primary name server talk to our own, where it is ours and
// no other is named.
func (c *config) primaryIsOurs() {
	host, port, ok := c.Zones.self()
	if !ok {
		return
	}
	own := func(key Secret, server *string, at *int) {
		if !key.IsZero() && *server == "" {
			*server, *at = host, port
		}
	}
	own(c.Cert.DNSKey, &c.Cert.DNSServer, &c.Cert.DNSPort)
	own(c.Issuer.DNSKey, &c.Issuer.DNSServer, &c.Issuer.DNSPort)
	own(c.Sign.DNSKey, &c.Sign.DNSServer, &c.Sign.DNSPort)
}

// self returns where this machine reaches the name server.
func (t zonesTable) self() (host string, port int, ok bool) {
	if t.Remote == "" || len(t.Listen) == 0 {
		return "", 0, false
	}
	host, service, err := net.SplitHostPort(t.Listen[0])
	if err != nil {
		return "", 0, false // who listens there will say so
	}
	switch host {
	case "", "0.0.0.0":
		host = "127.0.0.1"
	case "::":
		host = "::1"
	}
	port, err = net.LookupPort("udp", service)
	return host, port, err == nil
}

// inert has a service that is built for a check alone reach for nothing outside.
func (c *config) inert() (err error) {
	if c.Cert, err = c.Cert.checked(c.Name); err != nil {
		return err
	}
	for table, o := range map[string]struct {
		server *string
		port   int
		key    *Secret
	}{"issuer": {&c.Issuer.DNSServer, c.Issuer.DNSPort, &c.Issuer.DNSKey}, "sign": {&c.Sign.DNSServer, c.Sign.DNSPort, &c.Sign.DNSKey}} {
		if o.key.IsZero() && *o.server == "" {
			continue
		}
		if _, _, err := primary(*o.server, o.port, *o.key); err != nil {
			return fmt.Errorf("[%s]: %w", table, err)
		}
		*o.server, *o.key = "", Secret{}
	}
	c.Submit.TLSListen, c.Submit.StartTLSListen, c.Verify.Listen, c.Autoconfig.Listen = nil, nil, nil, nil
	c.Users.Confirm = false // nobody is asked
	c.Zones.Listen, c.Zones.Control, c.Resolver.Listen, c.Resolver.ListenTLS, c.Resolver.Control = nil, "", nil, nil, ""
	return nil
}
