// Package lab is a small Internet on the loopback addresses of one machine, for tests and for
// the demo: a root and TLD name servers, a resolver that walks them, two big receivers with
// the rules of Gmail and Outlook under reserved names, a correspondent with a strict policy,
// sinks that misbehave as they are told, and a certification authority.
//
// Every host has its own address in 127.0.0.0/8 and speaks real DNS and real SMTP. All SMTP
// hosts listen on one port, which stands for 25, and all name servers on another, which
// stands for 53; so nothing needs root, and nothing leaves the machine. Where a system has
// no 127.0.0.0/8 (macOS without aliases), Start says so.
package lab

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"

	"stagecoach/rfc/dns"
)

// The domains that every lab has.
const (
	BigMailDomain       = "bigmail.example"       // receives by the rules of Gmail
	LookoutDomain       = "lookout.example"       // receives by the rules of Outlook
	CorrespondentDomain = "correspondent.example" // receives all it can, publishes p=reject
)

// Config says how to lay a lab out. The zero Config is the usual one.
type Config struct {
	Block    netip.Prefix // a /24 all of whose addresses are this machine's; zero: one in 127.0.0.0/8, at random
	Beyond   netip.Prefix // where mail of the lab may go besides loopback; zero: nowhere
	SMTPPort uint16       // on all addresses; 0: a free one is picked
	DNSPort  uint16       // on all addresses; 0: a free one is picked
	Log      *slog.Logger // what the hosts do; nil: silence
}

// A Lab is one small Internet. Its methods may be called by many goroutines.
type Lab struct {
	CA            *CA
	BigMail       *Provider
	Lookout       *Provider
	Correspondent *Provider

	net      *network
	log      *slog.Logger
	tld      *authority // example. and test.
	arpa     *authority
	hosting  *authority // all other zones
	resolver *resolver

	ctx    context.Context //nolint:containedctx // a lab is a set of servers; it lives as long as they do
	cancel context.CancelFunc
	all    sync.WaitGroup

	mu  sync.Mutex
	err error
}

// Start builds the lab and starts its servers. They stop when ctx ends or Close is called;
// Close also waits for them.
func Start(ctx context.Context, c Config) (*Lab, error) {
	n, err := newNetwork(ctx, c.Block, c.SMTPPort, c.DNSPort)
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	n.beyond = c.Beyond
	ca, err := NewCA()
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	l := &Lab{CA: ca, net: n, log: c.Log}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	l.ctx, l.cancel = context.WithCancel(ctx)
	if err := l.build(); err != nil {
		return nil, fmt.Errorf("lab: %w", errors.Join(err, l.Close()))
	}
	return l, nil
}

func (l *Lab) build() error {
	if err := l.startNames(); err != nil {
		return err
	}
	var err error
	if l.BigMail, err = l.NewProvider(BigMailDomain, Policy{Rules: Gmail(), DMARC: "none"}); err != nil {
		return err
	}
	if l.Lookout, err = l.NewProvider(LookoutDomain, Policy{Rules: Outlook(), DMARC: "none"}); err != nil {
		return err
	}
	l.Correspondent, err = l.NewProvider(CorrespondentDomain, Policy{Rules: Lenient(), DMARC: "reject"})
	return err
}

// Close stops all servers, waits for them, and returns the first trouble that one had.
func (l *Lab) Close() error {
	l.cancel()
	l.all.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// run keeps a server until the lab ends.
func (l *Lab) run(name string, serve func(context.Context) error) {
	l.all.Go(func() {
		err := serve(l.ctx)
		if err == nil || l.ctx.Err() != nil {
			return
		}
		l.log.Error("a host of the lab stopped", "host", name, "error", err)
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.err == nil {
			l.err = fmt.Errorf("%s: %w", name, err)
		}
	})
}

// SMTPPort returns the port that stands for 25 on every address of the lab.
func (l *Lab) SMTPPort() uint16 { return l.net.smtpPort }

// DNSPort returns the port that stands for 53.
func (l *Lab) DNSPort() uint16 { return l.net.dnsPort }

// Block returns the addresses of the lab.
func (l *Lab) Block() netip.Prefix { return l.net.block }

// Nameserver returns the full-service resolver in the form of the --nameserver flag.
func (l *Lab) Nameserver() string {
	return dns.Nameserver{Transport: dns.UDP, Addr: netip.AddrPortFrom(l.net.at(resolverPlace), l.net.dnsPort)}.String()
}

// Names returns a client of the lab's resolver.
func (l *Lab) Names() dns.Exchanger {
	n, err := dns.ParseNameserver(l.Nameserver())
	if err != nil {
		panic(err) // Nameserver wrote it
	}
	return &dns.Client{Servers: []dns.Nameserver{n}}
}

// Address returns an address of the lab that nobody has, without any record. A program that
// the lab does not run may take it.
func (l *Lab) Address() (netip.Addr, error) { return l.net.next() }

// NewHost returns a free address and gives it the name, both ways: an A and a PTR record. A
// zone of the lab must hold the name.
func (l *Lab) NewHost(name string) (netip.Addr, error) {
	a, err := l.net.next()
	if err != nil {
		return a, err
	}
	name = strings.TrimSuffix(name, ".")
	return a, l.SetRecords(fmt.Sprintf("%s. A %s\n%s PTR %s.", name, a, reverse(a), name))
}
