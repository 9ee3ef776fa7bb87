package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"stagecoach/rfc/dns"
)

// The name server of all zones that have none of their own.
const hostingName = "ns.hosting.example."

// The top-level domains besides example., which has the servers' names in it.
var otherTLDs = []string{"test.", "net.", "com."}

// startNames starts the root, the servers of the top-level domains and of arpa., the hosting
// server and the resolver.
func (l *Lab) startNames() error {
	at := l.net.at
	root, err := newZone(".", fmt.Sprintf(`
@              SOA a.root.example. hostmaster.hosting.example. 1 3600 600 86400 60
@              NS  a.root.example.
example.       NS  a.tld.example.
arpa.          NS  a.arpa.example.
a.root.example. A %s
a.tld.example.  A %s
a.arpa.example. A %s`, at(rootPlace), at(tldPlace), at(arpaPlace)))
	if err != nil {
		return err
	}
	l.tld = newAuthority()
	for _, name := range otherTLDs {
		root.add(dns.MustParseRR(name + " 300 NS a.tld.example."))
		z, err := newZone(name, "@ NS a.tld.example.")
		if err != nil {
			return err
		}
		if err := l.tld.put(z); err != nil {
			return err
		}
	}
	example, err1 := newZone("example.", fmt.Sprintf(`
@          NS a.tld
a.root     A %s
a.tld      A %s
a.arpa     A %s
hosting    NS ns.hosting
ns.hosting A %s`, at(rootPlace), at(tldPlace), at(arpaPlace), at(hostingPlace)))
	arpa, err2 := newZone("arpa.", "@ NS a.arpa.example.")
	inAddr, err3 := newZone("in-addr.arpa.", "@ NS a.arpa.example.")
	hosting, err4 := newZone("hosting.example.", fmt.Sprintf("ns A %s", at(hostingPlace)))
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return err
	}
	if err := l.tld.put(example); err != nil {
		return err
	}
	l.arpa, l.hosting = newAuthority(arpa, inAddr), newAuthority(hosting)
	l.resolver = newResolver(l.net.dnsPort, at(rootPlace))
	for _, s := range []struct {
		name  string
		place int
		x     dns.Exchanger
	}{
		{"root", rootPlace, newAuthority(root)},
		{"tld", tldPlace, l.tld},
		{"arpa", arpaPlace, l.arpa},
		{"hosting", hostingPlace, l.hosting},
		{"resolver", resolverPlace, l.resolver},
	} {
		if err := l.startNameserver(s.name, at(s.place), s.x); err != nil {
			return err
		}
	}
	return l.SetRecords(fmt.Sprintf("%s PTR ns.hosting.example.", reverse(at(hostingPlace))))
}

// startNameserver serves x on the DNS port of an address, over UDP and TCP.
func (l *Lab) startNameserver(name string, a netip.Addr, x dns.Exchanger) error {
	addr := netip.AddrPortFrom(a, l.net.dnsPort).String()
	udp, tcp, err := dns.Listen(l.ctx, addr, 1)
	if err != nil {
		return err
	}
	s := &dns.Server{Handler: dns.Serving(x), Log: l.log}
	l.run("name server "+name, func(ctx context.Context) error { return s.ServePacket(ctx, udp...) })
	l.run("name server "+name, func(ctx context.Context) error { return s.Serve(ctx, tcp) })
	return nil
}

// AddZone adds a zone below a top-level domain of the lab, with names relative to its apex, and delegates
// it. A SOA and an NS record are made where the text has none. It must not exist yet.
func (l *Lab) AddZone(apex, text string) error {
	z, err := newZone(apex, text)
	if err != nil {
		return err
	}
	parent := l.tld.zoneOf(z.apex)
	if parent == nil || parent.apex == z.apex {
		return fmt.Errorf("zone %s is below no top-level domain of the lab", apex)
	}
	if up := l.hosting.zoneOf(z.apex); up != nil && up.apex != z.apex {
		parent = up
	}
	if err := l.hosting.put(z); err != nil {
		return err
	}
	parent.set([]dns.RR{dns.MustParseRR(z.apex + " 300 NS " + hostingName)})
	l.resolver.forget()
	return nil
}

// Delegate hands a zone below a top-level domain of the lab to a name server that the lab does not run:
// its name and its address, where it listens on DNSPort.
func (l *Lab) Delegate(apex, server string, a netip.Addr) error {
	apex, server = dns.Canonical(apex), dns.Canonical(server)
	parent := l.tld.zoneOf(apex)
	if parent == nil || parent.apex == apex {
		return fmt.Errorf("zone %s is below no top-level domain of the lab", apex)
	}
	rrs, err := parse(fmt.Sprintf("%s NS %s", apex, server), ".")
	if err != nil {
		return err
	}
	if dns.IsSubdomain(parent.apex, server) {
		rrs = append(rrs, dns.MustParseRR(fmt.Sprintf("%s 300 A %s", server, a)))
	}
	parent.set(rrs)
	l.resolver.forget()
	return nil
}

// SetRecords puts records, with names relative to the root, into the zones of the lab that
// hold those names (in-addr.arpa is one). All records of the same name and type are replaced.
// They are seen at once: the resolver forgets what it knew.
func (l *Lab) SetRecords(text string) error {
	rrs, err := parse(text, ".")
	if err != nil {
		return err
	}
	sets := make(map[*zone][]dns.RR)
	for _, rr := range rrs {
		z := l.holder(rr.Header().Name)
		if z == nil {
			return fmt.Errorf("no zone of the lab holds %s", rr.Header().Name)
		}
		sets[z] = append(sets[z], rr)
	}
	for z, rrs := range sets {
		z.set(rrs)
	}
	l.resolver.forget()
	return nil
}

// RemoveRecords takes records of the given types ("MX", "TXT") away from a name, all of them
// when no type is given.
func (l *Lab) RemoveRecords(name string, types ...string) error {
	z := l.holder(name)
	if z == nil {
		return fmt.Errorf("no zone of the lab holds %s", name)
	}
	var ts []uint16
	for _, s := range types {
		t, ok := dns.ParseType(s)
		if !ok {
			return fmt.Errorf("%q is no type of record", s)
		}
		ts = append(ts, t)
	}
	z.remove(name, ts...)
	l.resolver.forget()
	return nil
}

// SetPTR names an address of the lab; "" takes its name away.
func (l *Lab) SetPTR(a netip.Addr, name string) error {
	if name == "" {
		return l.RemoveRecords(reverse(a))
	}
	return l.SetRecords(fmt.Sprintf("%s PTR %s.", reverse(a), strings.TrimSuffix(name, ".")))
}

// holder returns the zone that holds a name. The TLDs themselves are the lab's own.
func (l *Lab) holder(name string) *zone {
	name = dns.Canonical(name)
	if z := l.hosting.zoneOf(name); z != nil {
		return z
	}
	return l.arpa.zoneOf(name)
}
