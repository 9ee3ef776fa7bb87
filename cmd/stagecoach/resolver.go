package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stagecoach/name/resolver"
	"stagecoach/rfc/dns"
)

type resolverCmd struct {
	Control string `help:"Socket by which a running resolver takes orders." default:"/run/stagecoach/resolver.sock" placeholder:"PATH"`

	Serve resolverServeCmd `cmd:"" default:"withargs" help:"Answer questions on port 53, and over TLS."`
	Query resolverQueryCmd `cmd:"" help:"Ask, and print the answer with its chain of trust, step by step."`
	Flush resolverFlushCmd `cmd:"" help:"Have the running resolver forget a name."`
	Dump  resolverDumpCmd  `cmd:"" help:"Print what the running resolver remembers."`
	Stats resolverStatsCmd `cmd:"" help:"Print what the running resolver has done."`

	Untrust resolverUntrustCmd `cmd:"" help:"Have the running resolver treat a zone as unsigned for a while."`
	Trust   resolverTrustCmd   `cmd:"" help:"Have the running resolver validate such a zone again."`
}

// resolveOptions say how names are resolved, wherever that is done.
type resolveOptions struct {
	Forward   []string     `toml:"forward" help:"A zone that is asked of a resolver: ZONE=udp:IP[:PORT], tcp:... or tls:...; several of one zone stand in for each other." placeholder:"ZONE=NS"`
	Stub      []string     `toml:"stub" help:"A zone that is asked of its own authority, without a walk from the root." placeholder:"ZONE=NS"`
	Open      []string     `toml:"open" help:"Zones to look up although they are for local use only, as 10.in-addr.arpa." placeholder:"ZONE"`
	Untrusted []string     `toml:"untrusted" help:"Zones not to validate, as their signatures are known to be broken (RFC 7646)." placeholder:"ZONE"`
	Anchors   string       `toml:"anchors" help:"File that keeps the root's keys as they roll (RFC 5011); the two of today are built in." placeholder:"FILE"`
	Cache     Size         `toml:"cache" help:"Memory for answers." default:"64M"`
	NoIPv4    bool         `toml:"no_ipv4" name:"no-ipv4" help:"Ask no name servers over IPv4."`
	NoIPv6    bool         `toml:"no_ipv6" name:"no-ipv6" help:"Ask no name servers over IPv6."`
	Hints     []netip.Addr `toml:"hints" help:"Root servers to begin with (default: those of the Internet)." placeholder:"IP"`
	Trust     string       `toml:"trust" help:"File with DS or DNSKEY records to trust instead of the root's of today, for worlds of your own; an empty file turns validation off." placeholder:"FILE"`
	Port      uint16       `toml:"port" name:"dns-port" help:"Where name servers listen." default:"53"`
	Private   bool         `toml:"private" help:"Ask name servers at private and loopback addresses too."`
}

// resolver makes a resolver of the options.
func (o resolveOptions) resolver() (*resolver.Resolver, error) {
	r := &resolver.Resolver{
		Hints: o.Hints, Port: o.Port, Untrusted: o.Untrusted, Open: o.Open, Private: o.Private,
		NoIPv4: o.NoIPv4, NoIPv6: o.NoIPv6, CacheBytes: int(o.Cache), AnchorFile: o.Anchors,
	}
	if o.Trust != "" {
		f, err := os.Open(o.Trust)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		rrs, err := dns.ParseZone(f, ".")
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.Trust, err)
		}
		r.Anchors = append([]dns.RR{}, rrs...)
	}
	var err error
	if r.Routes, err = routes(o.Forward, true); err != nil {
		return nil, fmt.Errorf("--forward: %w", err)
	}
	stubs, err := routes(o.Stub, false)
	if err != nil {
		return nil, fmt.Errorf("--stub: %w", err)
	}
	r.Routes = append(r.Routes, stubs...)
	return r, nil
}

// routes reads "ZONE=NS" texts.
func routes(texts []string, recursive bool) ([]resolver.Route, error) {
	clients := map[string]*dns.Client{}
	var out []resolver.Route
	for _, text := range texts {
		zone, server, ok := strings.Cut(text, "=")
		if !ok || !dns.IsName(zone) {
			return nil, fmt.Errorf("%q: write ZONE=udp:IP, as .=tls:9.9.9.9!dns.quad9.net", text)
		}
		n, err := dns.ParseNameserver(server)
		if err != nil {
			return nil, err
		}
		zone = dns.Canonical(zone)
		if clients[zone] == nil {
			clients[zone] = &dns.Client{}
			out = append(out, resolver.Route{Zone: zone, To: clients[zone], Recursive: recursive})
		}
		clients[zone].Servers = append(clients[zone].Servers, n)
	}
	return out, nil
}

type resolverServeCmd struct {
	Listen  []string               `help:"Where to answer over UDP and TCP (default ${default})." default:"127.0.0.1:53" placeholder:"HOST:PORT"`
	Service resolverServiceOptions `embed:""`
	TLS     tlsOptions             `embed:""`
	Resolve resolveOptions         `embed:""`
	Serving runOptions             `embed:""`
}

// resolverServiceOptions say whom a resolver answers.
type resolverServiceOptions struct {
	ListenTLS []string       `toml:"listen_tls" name:"listen-tls" help:"Where to answer over TLS (port 853)." placeholder:"HOST:PORT"`
	Allow     []netip.Prefix `toml:"allow" help:"Networks that are answered besides this machine." placeholder:"CIDR"`
	PerClient int            `toml:"per_client" name:"per-client" help:"Questions of one client in work at the same time." default:"100"`
	Sockets   int            `toml:"sockets" help:"UDP sockets for each address, between which clients are spread." default:"2"`
}

// Help shows examples.
func (resolverServeCmd) Help() string {
	return `Examples:

  stagecoach resolver serve --listen 127.0.0.1:53 --anchors /var/lib/stagecoach/anchors
  stagecoach resolver serve --listen 10.0.0.2:53 --allow 10.0.0.0/24 --stub example.org=udp:10.0.0.1`
}

// Run serves until ctx ends.
func (c resolverServeCmd) Run(ctx context.Context, parent *resolverCmd) error {
	p, err := newProcess(ctx, c.Serving)
	if err != nil {
		return err
	}
	if err := c.build(p, parent.Control); err != nil {
		return p.abort(err)
	}
	return p.wait()
}

func (c resolverServeCmd) build(p *process, control string) error {
	r, err := c.Resolve.resolver()
	if err != nil {
		return err
	}
	var cert *certificate
	if len(c.Service.ListenTLS) > 0 {
		if cert, err = p.certificate(c.TLS, "localhost"); err != nil {
			return err
		}
	}
	if p.own.IsValid() && slices.Equal(c.Listen, []string{"127.0.0.1:53"}) {
		c.Listen = []string{":53"}
	}
	p.resolver(r, control)
	return p.resolving(r, c.Listen, c.Service, cert)
}

// resolver keeps a resolver's trust anchors, shows its statistics, and takes orders for it at a
// socket, if there is a path for one.
func (p *process) resolver(r *resolver.Resolver, control string) {
	r.Log = p.log
	watchResolver(p.reg, r)
	if r.Anchors == nil || len(r.Anchors) > 0 { // none: nothing is validated
		p.behind("trust anchors", r.Run)
	}
	if control == "" {
		return
	}
	if err := os.MkdirAll(filepath.Dir(control), 0o755); err != nil {
		p.log.Warn("the resolver takes no orders", "err", err)
	} else if l, err := listen(p.front, "unix:"+control); err != nil {
		p.log.Warn("the resolver takes no orders", "err", err)
	} else {
		p.behind("control", func(ctx context.Context) error { return r.ServeControl(ctx, l) })
	}
}

// resolving opens a resolver to clients.
func (p *process) resolving(r *resolver.Resolver, addresses []string, o resolverServiceOptions, cert *certificate) error {
	server := &dns.Server{
		Handler: &resolver.Service{Resolver: r, Allow: p.trusted(o.Allow), PerClient: o.PerClient},
		Limits:  dns.Limits{Parallel: 20, Pending: 5000}, // more than the resolver works at
		Log:     p.log,
	}
	if err := p.dns("resolver", server, addresses, o.Sockets); err != nil {
		return err
	}
	for _, address := range o.ListenTLS {
		l, err := listen(p.front, address)
		if err != nil {
			return err
		}
		p.log.Info("listening", "listener", "resolver over TLS", "address", l.Addr().String())
		t := tls.NewListener(l, cert.Config())
		p.servers.Go(func() { p.ended("resolver over TLS", server.Serve(p.front, t)) })
	}
	return nil
}

// watchResolver shows the statistics of a resolver under /metrics.
func watchResolver(reg prometheus.Registerer, r *resolver.Resolver) {
	for name := range r.Stats().All() {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "stagecoach_resolver_" + strings.ToLower(name), Help: "See the fields of resolver.Stats: " + name + ".",
		}, func() float64 { return r.Stats().All()[name] }))
	}
}

type resolverQueryCmd struct {
	Name    string         `arg:"" help:"The name to ask for."`
	Type    string         `arg:"" help:"The type, as MX or TLSA." default:"A"`
	Anew    bool           `help:"Resolve from scratch in this process, instead of asking the running resolver."`
	Resolve resolveOptions `embed:""`
}

// Help shows examples.
func (resolverQueryCmd) Help() string {
	return `Examples:

  stagecoach resolver query example.org MX
  stagecoach resolver query _25._tcp.mx.example.org TLSA --anew`
}

// Run asks the running resolver, which knows what the mail service knows, or begins anew.
func (c resolverQueryCmd) Run(ctx context.Context, parent *resolverCmd) error {
	if _, err := os.Stat(parent.Control); err == nil && !c.Anew {
		return orderQuery(ctx, parent.Control, c.Name, c.Type)
	}
	t, ok := dns.ParseType(c.Type)
	if !ok || !dns.IsName(c.Name) {
		return fmt.Errorf("%q %q is no name and type", c.Name, c.Type)
	}
	r, err := c.Resolve.resolver()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	e, err := r.Explain(ctx, dns.NewQuery(c.Name, t))
	if err != nil {
		return err
	}
	fmt.Print(e)
	if e.Response.Rcode == dns.RcodeServerFailure {
		return errNoAnswer
	}
	return nil
}
