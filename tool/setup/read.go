package setup

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"stagecoach/rfc/dns"
)

// Read returns what a zone that exists says of a domain: its name servers, the host of its mail
// and that of submission, and their addresses. here are addresses of this machine, which tell
// our name servers from those elsewhere; the first name server counts as ours in any case.
func Read(name, zone string, here []netip.Addr) (Domain, error) {
	d := Domain{Name: name}
	rrs, err := dns.ParseZone(strings.NewReader(zone), name)
	if err != nil {
		return d, err
	}
	addresses := map[string][]netip.Addr{}
	var servers []string
	best := 1 << 16
	for _, rr := range rrs {
		owner := dns.Host(dns.Canonical(rr.Header().Name))
		switch rr := rr.(type) {
		case *dns.ARecord:
			if a, ok := netip.AddrFromSlice(rr.A); ok {
				addresses[owner] = append(addresses[owner], a.Unmap())
			}
		case *dns.AAAARecord:
			if a, ok := netip.AddrFromSlice(rr.AAAA); ok {
				addresses[owner] = append(addresses[owner], a)
			}
		case *dns.NSRecord:
			if owner == name {
				servers = append(servers, dns.Host(dns.Canonical(rr.Ns)))
			}
		case *dns.MXRecord:
			if owner == name && int(rr.Preference) < best {
				best, d.MX = int(rr.Preference), dns.Host(dns.Canonical(rr.Mx))
			}
		case *dns.SRVRecord:
			if owner == "_submissions._tcp."+name {
				d.Submission = dns.Host(dns.Canonical(rr.Target))
			}
		}
	}
	if len(servers) == 0 || d.MX == "" || len(addresses[d.MX]) == 0 {
		return d, fmt.Errorf("the zone of %s in the repository has no name servers (NS), no mail server (MX), or no address for it: it was not made for this service", name)
	}
	d.Addresses = addresses[d.MX]
	here = append(slices.Clone(here), d.Addresses...)
	for i, host := range servers {
		s := NameServer{Host: host, Addresses: addresses[host]}
		s.Elsewhere = i > 0 && !slices.ContainsFunc(s.Addresses, func(a netip.Addr) bool { return slices.Contains(here, a) })
		d.NameServers = append(d.NameServers, s)
	}
	return d, nil
}

// Lacks returns the records of a wanted zone of which another has none of that name and type, a
// line of zone text each. Both are zone text.
func Lacks(name, have, want string) ([]string, error) {
	type set struct {
		name string
		kind uint16
	}
	there := map[set]bool{}
	rrs, err := dns.ParseZone(strings.NewReader(have), name)
	if err != nil {
		return nil, err
	}
	for _, rr := range rrs {
		there[set{dns.Canonical(rr.Header().Name), rr.Header().Rrtype}] = true
	}
	if rrs, err = dns.ParseZone(strings.NewReader(want), name); err != nil {
		return nil, err
	}
	var out []string
	for _, rr := range rrs {
		if !there[set{dns.Canonical(rr.Header().Name), rr.Header().Rrtype}] {
			out = append(out, rr.String())
		}
	}
	return out, nil
}
