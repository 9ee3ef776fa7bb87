package check

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"stagecoach/rfc/dns"
)

func zoneChecks() []Check {
	return []Check{
		{
			ID: "resolver", Title: "Names can be resolved from here", run: checkResolver,
			Why: "Without it hardly anything can be told.",
			Fix: "Open UDP and TCP port 53 outwards, or ask another resolver: --nameserver udp:IP.",
		},
		{
			ID: "delegation", Title: "Delegation by the parent", run: checkDelegation,
			Why: "Without a delegation to the right servers nobody in the world finds the domain.",
			Fix: "At the registrar, name exactly the name servers that the zone names itself.",
		},
		{
			ID: "glue", Title: "Glue", run: checkGlue,
			Why: "The parent has to give the addresses of name servers that lie within the domain; wrong ones send the world to a wrong machine.",
			Fix: "At the registrar, give each name server within the domain the addresses that the zone has for it.",
		},
		{
			ID: "nameservers", Title: "Name servers answer", run: checkServers,
			Why: "A server that is named and does not answer for the zone makes every n-th question slow, or fail.",
			Fix: "Have the server serve the zone, and open UDP and TCP port 53 in every firewall; or take its NS record away.",
		},
		{
			ID: "soa", Title: "Serial numbers agree", run: checkSOA,
			Why: "Servers with another serial give old records to a part of the world.",
			Fix: "Look why the secondary does not transfer the zone: NOTIFY, allowed transfers, keys, its log.",
		},
		{
			ID: "ns", Title: "NS records agree", run: checkNS,
			Why: "Resolvers believe the zone over its parent; where they differ, the world sees different servers at different times.",
			Fix: "Give the zone and the parent the same NS records.",
		},
		{
			ID: "dnssec", Title: "DNSSEC chain", run: checkChain,
			Why: "Who validates takes a zone whose chain is broken for one that does not exist; without signatures DANE means nothing, and answers can be forged.",
			Fix: "Compare the DS records at the registrar with those that \"stagecoach zone ds\" prints, and look whether signatures have expired.",
		},
		{
			ID: "ds", Title: "DS records", run: checkDS,
			Why: "The DS at the parent has to be the digest of a key of the zone.",
			Fix: "At the registrar, enter the DS record that \"stagecoach zone ds\" prints, and remove others.",
		},
	}
}

func checkResolver(ctx context.Context, l *look, f *findings) {
	names, err := dns.NS(ctx, l.env.Names, ".")
	if err != nil {
		f.silent("", "the name servers of the root cannot be found: %v", err)
		return
	}
	f.ok("", "the root has %d name servers", len(names))
}

// ready returns the zone, or nil where nothing can be told of it, and the check has said so.
func (l *look) ready(f *findings) *zone {
	z := l.zone()
	switch {
	case z.err != nil:
		f.unknown(l.target.Domain, "the zone could not be found: %v", z.err)
	case z.missing && f.check.ID == "delegation":
		f.wrong(l.target.Domain, "Register the domain, and have the registrar name its name servers.", "the domain does not exist")
	case z.missing:
		f.rest("delegation", l.target.Domain, "the domain does not exist")
	default:
		return z
	}
	return nil
}

func checkDelegation(_ context.Context, l *look, f *findings) {
	z := l.ready(f)
	switch {
	case z == nil:
		return
	case z.handedErr != nil:
		f.unknown(z.apex, "the servers of %s did not answer: %v", dot(z.parent), z.handedErr)
		return
	case len(z.handed) == 0:
		f.wrong(z.apex, "", "the servers of %s do not delegate the zone", dot(z.parent))
		return
	}
	for _, h := range z.hosts {
		switch {
		case h.alias != "":
			f.wrong(h.name, "Name the server itself in the NS record.", "the name server is an alias of %s, which is not allowed (RFC 2181 section 10.3)", h.alias)
		case dns.IsNegative(h.err) && len(z.glue[h.name]) == 0:
			f.wrong(h.name, "Give the name server an A and an AAAA record.", "the name server has no address")
		}
	}
	if own := z.own(); len(own) > 0 {
		for _, name := range z.handed {
			if !slices.Contains(own, name) {
				f.wrong(name, "", "%s delegates to it, but the zone has no such NS record", dot(z.parent))
			}
		}
		for _, name := range own {
			if !slices.Contains(z.handed, name) {
				f.wrong(name, "", "the zone names it, but %s does not delegate to it", dot(z.parent))
			}
		}
	}
	if len(z.handed) == 1 {
		f.note(z.apex, "Add a second name server in another network, as \"stagecoach secondary\" on another machine.", "there is only one name server; when it is away, so is the domain (RFC 2182)")
	}
	if !f.bad() {
		f.ok(z.apex, "%s delegates to %s", dot(z.parent), strings.Join(z.handed, ", "))
	}
}

func dot(zone string) string {
	if zone == "" {
		return "the root"
	}
	return "." + zone
}

// own returns the names in the zone's own NS records, as most of its servers tell them.
func (z *zone) own() []string {
	count := map[string]int{}
	var best []string
	for _, s := range z.servers {
		if key := strings.Join(s.ns, " "); len(s.ns) > 0 {
			if count[key]++; count[key] > count[strings.Join(best, " ")] {
				best = s.ns
			}
		}
	}
	return best
}

func checkGlue(_ context.Context, l *look, f *findings) {
	z := l.ready(f)
	switch {
	case z == nil:
		return
	case z.handedErr != nil:
		f.unknown(z.apex, "the servers of %s did not answer: %v", dot(z.parent), z.handedErr)
		return
	case z.same:
		f.skip(z.apex, "the servers of %s answer for the zone themselves", dot(z.parent))
		return
	}
	within := 0
	for _, h := range z.hosts {
		if !slices.Contains(z.handed, h.name) || !dns.IsSubdomain(dns.Canonical(z.apex), dns.Canonical(h.name)) {
			continue
		}
		within++
		glue := z.glue[h.name]
		switch missing, extra := differ(h.ips, glue), differ(glue, h.ips); {
		case len(glue) == 0:
			f.wrong(h.name, "", "the parent gives no address for it, and it lies within the zone")
		case h.err != nil && !dns.IsNegative(h.err):
			f.unknown(h.name, "its addresses could not be looked up: %v", h.err)
		case len(extra) > 0:
			f.wrong(h.name, "", "the parent gives %s, the zone %s", join(glue), join(h.ips))
		case len(missing) > 0:
			f.note(h.name, "", "the parent does not give %s", join(missing))
		}
	}
	switch {
	case within == 0:
		f.ok(z.apex, "no name server lies within the zone, so none is needed")
	case !f.bad():
		f.ok(z.apex, "the parent gives the addresses that the zone gives")
	}
}

// differ returns what is in a and not in b.
func differ(a, b []netip.Addr) []netip.Addr {
	var out []netip.Addr
	for _, ip := range a {
		if !slices.Contains(b, ip) {
			out = append(out, ip)
		}
	}
	return out
}

func join(ips []netip.Addr) string {
	if len(ips) == 0 {
		return "none"
	}
	out := make([]string, len(ips))
	for i, ip := range ips {
		out[i] = ip.String()
	}
	return strings.Join(out, ", ")
}

func checkServers(_ context.Context, l *look, f *findings) {
	z := l.ready(f)
	if z == nil {
		return
	}
	good := 0
	for _, s := range z.servers {
		switch {
		case s.noRoute:
			f.skip(s.String(), "this machine has no way to such addresses")
		case s.udp == nil && s.tcp == nil:
			good++
		case s.lame:
			f.wrong(s.String(), "", "the server is lame: %v", cmp.Or(s.udp, s.tcp))
		case isRefused(s.udp) || isRefused(s.tcp):
			f.wrong(s.String(), "", "nothing listens there on %s", transports(isRefused(s.udp), isRefused(s.tcp)))
		case s.udp == nil && isSilence(s.tcp):
			f.wrong(s.String(), "Open TCP port 53: long answers and transfers need it (RFC 7766).", "the server answers over UDP, not over TCP")
		case s.tcp == nil && isSilence(s.udp):
			f.wrong(s.String(), "Open UDP port 53.", "the server answers over TCP, not over UDP")
		case s.udp != nil:
			f.silent(s.String(), "no answer: %v", s.udp)
		default:
			f.silent(s.String(), "no answer over TCP: %v", s.tcp)
		}
	}
	if good > 0 && !f.bad() {
		f.ok(z.apex, "all addresses of name servers answer as authorities, over UDP and TCP: %s", z.addresses())
	} else if good > 0 {
		f.ok(z.apex, "%d of %d addresses of name servers answer", good, len(z.servers))
	} else if len(z.servers) == 0 {
		f.rest("delegation", z.apex, "no name server has an address")
	}
}

// addresses lists those of the name servers.
func (z *zone) addresses() string {
	var ips []netip.Addr
	for _, s := range z.servers {
		ips = append(ips, s.ip)
	}
	return join(ips)
}

func transports(udp, tcp bool) string {
	switch {
	case udp && tcp:
		return "UDP and TCP"
	case udp:
		return "UDP"
	}
	return "TCP"
}

func checkSOA(_ context.Context, l *look, f *findings) {
	z := l.ready(f)
	if z == nil {
		return
	}
	var newest *dns.SOARecord
	for _, s := range z.servers {
		if s.soa != nil && (newest == nil || dns.SerialNewer(s.soa.Serial, newest.Serial)) {
			newest = s.soa
		}
	}
	if newest == nil {
		f.rest("nameservers", z.apex, "no server gave its SOA")
		return
	}
	for _, s := range z.servers {
		if s.soa != nil && s.soa.Serial != newest.Serial {
			f.wrong(s.String(), "", "it has serial %d, another server %d", s.soa.Serial, newest.Serial)
		} else if s.soa != nil && dns.Data(s.soa) != dns.Data(newest) {
			f.wrong(s.String(), "", "its SOA differs from that of another server, with the same serial %d", newest.Serial)
		}
	}
	if newest.Expire < newest.Refresh+newest.Retry {
		f.note(z.apex, "Set expire to some weeks, refresh to hours, retry to less.", "expire (%d s) is shorter than refresh and retry together: secondaries give up too early", newest.Expire)
	}
	if newest.Minttl > 24*3600 {
		f.note(z.apex, "Set the last number of the SOA to 5 to 60 minutes.", "what does not exist is remembered for %v", time.Duration(newest.Minttl)*time.Second)
	}
	if !f.bad() {
		f.ok(z.apex, "all servers have serial %d", newest.Serial)
	}
}

func checkNS(_ context.Context, l *look, f *findings) {
	z := l.ready(f)
	if z == nil {
		return
	}
	own := z.own()
	if len(own) == 0 {
		f.rest("nameservers", z.apex, "no server gave its NS records")
		return
	}
	for _, s := range z.servers {
		if s.ns != nil && !slices.Equal(s.ns, own) {
			f.wrong(s.String(), "", "it names %s, the others %s", list(s.ns), list(own))
		}
	}
	if !f.bad() {
		f.ok(z.apex, "all servers name %s", list(own))
	}
}

func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
