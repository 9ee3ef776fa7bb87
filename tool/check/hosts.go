package check

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"stagecoach/rfc/dns"
)

func hostChecks() []Check {
	return slices.Concat([]Check{
		{
			ID: "mx", Title: "MX records", run: checkMX,
			Why: "MX records tell the world where mail for the domain goes.",
			Fix: "Give the domain an MX record with the name of its mail server, and that name an A and an AAAA record.",
		},
		{
			ID: "ptr", Title: "PTR records", run: checkPTR,
			Why: "Gmail and many others refuse mail from an address whose name does not lead back to it.",
			Fix: "At the hoster of the machine, set the reverse name (PTR) of the address to the name of the mail server.",
		},
		{
			ID: "ehlo", Title: "EHLO name", run: checkHello,
			Why: "Receivers compare the name that a server gives itself with its addresses.",
			Fix: "Set name in the configuration to a host name that has the address, the one that the PTR record gives.",
		},
	}, smtpChecks(), submissionChecks())
}

func checkMX(_ context.Context, l *look, f *findings) {
	x := l.mx()
	switch {
	case dns.IsNegative(x.err):
		f.wrong(l.target.Domain, "", "there is no MX record")
		return
	case x.err != nil:
		f.unknown(l.target.Domain, "the MX records could not be looked up: %v", x.err)
		return
	}
	for _, m := range x.records {
		switch {
		case m.Host == "":
			f.wrong(l.target.Domain, "Replace the null MX by the name of the mail server.", "the MX record says that the domain takes no mail (RFC 7505)")
		case isAddress(m.Host):
			f.wrong(m.Host, "Give the address a name, and name that in the MX record.", "the MX record has an address where a host name has to stand")
		}
	}
	for _, h := range x.hosts {
		l.checkExchanger(f, h)
	}
	if l.target.Here && !l.comesHere(x.hosts) {
		f.note(l.target.Domain, "Name "+l.target.Name+" in the MX record, if mail is to come here.", "no MX record leads to this service")
	}
	if !f.bad() {
		var names []string
		for _, h := range x.hosts {
			names = append(names, h.name+" ("+join(h.ips)+")")
		}
		f.ok(l.target.Domain, "mail goes to %s", strings.Join(names, ", "))
	}
}

// comesHere reports whether an MX host is the host of the service, or has one of its addresses.
func (l *look) comesHere(hosts []host) bool {
	ips, _ := l.sending() //nolint:errcheck // then the name tells
	return slices.ContainsFunc(hosts, func(h host) bool {
		return h.name == l.target.Name || slices.ContainsFunc(h.ips, func(ip netip.Addr) bool { return slices.Contains(ips, ip) })
	})
}

func isAddress(name string) bool {
	_, err := netip.ParseAddr(strings.TrimSuffix(name, "."))
	return err == nil
}

func (l *look) checkExchanger(f *findings, h host) {
	switch {
	case isAddress(h.name):
	case h.alias != "":
		f.wrong(h.name, "Name the host itself in the MX record.", "the MX host is an alias of %s, which is not allowed (RFC 5321 section 5.1)", h.alias)
	case dns.IsNegative(h.err):
		f.wrong(h.name, "", "the MX host has no address")
	case h.err != nil:
		f.unknown(h.name, "its addresses could not be looked up: %v", h.err)
	}
	for _, ip := range h.ips {
		if !l.env.Private && !isPublic(ip) {
			f.wrong(h.name, "Give the host its public address.", "the world cannot reach %s", ip)
		}
	}
}

func isPublic(ip netip.Addr) bool {
	return ip.IsGlobalUnicast() && !ip.IsPrivate() && !sharedSpace.Contains(ip)
}

// The addresses between customers and their provider (RFC 6598).
var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")

func checkPTR(ctx context.Context, l *look, f *findings) {
	for _, ip := range l.addresses(f) {
		names, err := dns.PTR(ctx, l.env.Names, ip)
		switch {
		case dns.IsNegative(err):
			f.wrong(ip.String(), "", "the address has no name")
			continue
		case err != nil:
			f.unknown(ip.String(), "the name of the address could not be looked up: %v", err)
			continue
		}
		back, other, err := l.leadsBack(ctx, names, ip)
		switch {
		case back != "" && len(names) > 1:
			f.note(ip.String(), "One name is enough; some receivers look at the first only.", "the address has %d names: %s", len(names), strings.Join(names, ", "))
		case back != "":
			f.ok(ip.String(), "its name is %s, which leads back", back)
		case err != nil:
			f.unknown(ip.String(), "its name is %s, whose addresses could not be looked up: %v", names[0], err)
		default:
			f.wrong(ip.String(), "", "its name is %s, whose addresses are %s", names[0], join(other))
		}
	}
}

// leadsBack returns the first name that has the address, or else the addresses of the first
// name, or a temporary error.
func (l *look) leadsBack(ctx context.Context, names []string, ip netip.Addr) (name string, other []netip.Addr, trouble error) {
	for i, name := range names[:min(len(names), maxHosts)] {
		ips, err := dns.Addrs(ctx, l.env.Names, name)
		if slices.Contains(ips, ip) {
			return name, nil, nil
		}
		if err != nil && !dns.IsNegative(err) {
			trouble = err
		}
		if i == 0 {
			other = ips
		}
	}
	return "", other, trouble
}

func checkHello(ctx context.Context, l *look, f *findings) {
	names := map[string][]netip.Addr{}
	var order []string
	add := func(name string, ip netip.Addr) {
		if names[name] == nil {
			order = append(order, name)
		}
		names[name] = append(names[name], ip)
	}
	if ips := l.addresses(f); l.target.Name != "" {
		for _, ip := range ips {
			add(strings.ToLower(l.target.Name), ip)
		}
	}
	for _, d := range l.doors() {
		if name := strings.ToLower(d.hello.name()); d.hello.code != 0 && !slices.Contains(names[name], d.ip) {
			add(name, d.ip)
		}
	}
	for _, name := range order {
		l.checkName(ctx, f, name, names[name])
	}
	if len(order) == 0 && len(f.lines) == 0 {
		f.rest("port-25-in", "", "no server said its name")
	}
}

// checkName looks at a name that the service has, or that a mail server gives itself where it
// takes mail. Of a server that nothing is known of the latter need not be the name with which it
// sends.
func (l *look) checkName(ctx context.Context, f *findings, name string, from []netip.Addr) {
	say := f.wrong
	if l.target.Name == "" {
		say = f.note
	}
	if !strings.Contains(name, ".") || !dns.IsName(name) || strings.HasSuffix(name, ".local") || strings.HasSuffix(name, ".localdomain") {
		say(name, "", "the server calls itself so, which is no full host name (RFC 5321 section 4.1.1.1)")
		return
	}
	ips, err := dns.Addrs(ctx, l.env.Names, name)
	switch missing := differ(from, ips); {
	case dns.IsNegative(err):
		say(name, "", "the server calls itself so, and the name has no address")
	case err != nil:
		f.unknown(name, "its addresses could not be looked up: %v", err)
	case len(missing) > 0:
		say(name, "", "the server calls itself so at %s, which is no address of that name", join(missing))
	default:
		f.ok(name, "the name has the server's addresses")
	}
}
