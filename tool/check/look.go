package check

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"

	"stagecoach/rfc/dns"
)

// A look is what the checks of one round share: each fact is found out once, by the first that
// asks.
type look struct {
	env    *Env
	target Target

	zone        func() *zone
	mx          func() *exchangers
	sending     func() ([]netip.Addr, error)
	here        func() bool
	doors       func() []*door // of the MX hosts
	outside     func() *outside
	submissions func() *service
	submission  func() *service
	sts         func() *stsPolicy
}

func newLook(ctx context.Context, env *Env, t Target) *look {
	l := &look{env: env, target: t}
	l.zone = sync.OnceValue(func() *zone { return l.findZone(ctx) })
	l.mx = sync.OnceValue(func() *exchangers { return l.findMX(ctx) })
	l.sending = sync.OnceValues(func() ([]netip.Addr, error) { return l.findSending(ctx) })
	l.here = sync.OnceValue(l.isHere)
	l.doors = sync.OnceValue(func() []*door { return l.knock(ctx) })
	l.outside = sync.OnceValue(func() *outside { return l.lookOut(ctx) })
	l.submissions = sync.OnceValue(func() *service { return l.findService(ctx, "_submissions._tcp.", env.Ports.Submissions, true) })
	l.submission = sync.OnceValue(func() *service { return l.findService(ctx, "_submission._tcp.", env.Ports.Submission, false) })
	l.sts = sync.OnceValue(func() *stsPolicy { return l.findSTS(ctx) })
	return l
}

// exchangers are the mail servers of the domain.
type exchangers struct {
	err     error // of the look-up, negative or temporary
	records []dns.MailServer
	hosts   []host // of records with a name
}

// A host is a name with its addresses.
type host struct {
	name  string
	ips   []netip.Addr
	alias string // where a CNAME leads, "" for none
	err   error
}

// maxHosts and maxAddresses bound the work that a zone can make for us.
const (
	maxHosts     = 12
	maxAddresses = 4 // of one host and family
)

func (l *look) findMX(ctx context.Context) *exchangers {
	x := &exchangers{}
	if x.records, x.err = dns.MX(ctx, l.env.Names, l.target.Domain); x.err != nil {
		return x
	}
	var names []string
	for _, m := range x.records {
		if m.Host != "" && !slices.Contains(names, m.Host) && len(names) < maxHosts {
			names = append(names, m.Host)
		}
	}
	x.hosts = l.findHosts(ctx, names)
	return x
}

// findHosts looks names up, all at the same time.
func (l *look) findHosts(ctx context.Context, names []string) []host {
	out := make([]host, len(names))
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() { out[i] = l.findHost(ctx, name) })
	}
	all.Wait()
	return out
}

func (l *look) findHost(ctx context.Context, name string) host {
	h := host{name: name}
	if a, err := dns.Lookup(ctx, l.env.Names, name, dns.TypeCNAME); err == nil {
		if c := dns.Records[*dns.CNAMERecord](a); len(c) > 0 {
			h.alias = dns.Host(c[0].Target)
		}
	}
	ips, err := dns.Addrs(ctx, l.env.Names, name)
	h.err = err
	four, six := 0, 0
	for _, ip := range ips {
		count := &six
		if ip.Is4() {
			count = &four
		}
		if *count++; *count <= maxAddresses {
			h.ips = append(h.ips, ip)
		}
	}
	return h
}

// findSending returns the addresses that mail of the domain is sent from: as configured, else
// those of the host of the service, else those of the MX hosts.
func (l *look) findSending(ctx context.Context) ([]netip.Addr, error) {
	if len(l.target.Addresses) > 0 {
		return l.target.Addresses, nil
	}
	var hosts []host
	if l.target.Name != "" {
		hosts = l.findHosts(ctx, []string{l.target.Name})
	}
	if len(hosts) == 0 || dns.IsNegative(hosts[0].err) {
		x := l.mx()
		if x.err != nil && !dns.IsNegative(x.err) {
			return nil, x.err
		}
		hosts = x.hosts
	}
	var out []netip.Addr
	for _, h := range hosts {
		if h.err != nil && !dns.IsNegative(h.err) {
			return nil, h.err
		}
		for _, ip := range h.ips {
			if !slices.Contains(out, ip) {
				out = append(out, ip)
			}
		}
	}
	if len(out) == 0 {
		return nil, errNoAddress
	}
	return out, nil
}

// errNoAddress says that nothing is known of where mail is sent from. It is no trouble of the
// moment: the line on MX says what is wrong.
var errNoAddress = errors.New("no address is known that mail is sent from")

// addresses is sending for a check: nil where the check can do nothing, and has said so.
func (l *look) addresses(f *findings) []netip.Addr {
	ips, err := l.sending()
	switch {
	case errors.Is(err, errNoAddress):
		f.rest("mx", "", err.Error())
	case err != nil:
		f.unknown("", "the addresses that mail is sent from could not be looked up: %v", err)
	}
	return ips
}

// isHere reports whether this machine is the one that sends the domain's mail.
func (l *look) isHere() bool {
	if l.target.Here {
		return true
	}
	local, err := l.env.Local()
	ips, _ := l.sending() //nolint:errcheck // without addresses it is not
	return err == nil && slices.ContainsFunc(ips, func(ip netip.Addr) bool { return slices.Contains(local, ip) })
}
