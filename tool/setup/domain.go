// Package setup plans a mail domain from a few decisions: its zone, the keys and grants of that,
// the configuration of the service, its systemd unit, and what is to be pasted at the registrar
// and at the hoster. It touches nothing: what it returns is text.
package setup

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"stagecoach/mail"
	"stagecoach/rfc/dns"
)

// A Domain is what was decided of a mail domain. Check makes its names canonical and fills in
// what was left out.
type Domain struct {
	Name        string       // as mail.CanonicalDomain
	Addresses   []netip.Addr // of this machine, as the world sees it
	NameServers []NameServer // default: ns1 and ns2, both on this machine
	MX          string       // host that mail for the domain goes to, and that greets; default: mx
	Submission  string       // host that users send through; default: smtp
	Reports     string       // who gets the reports of DMARC and TLS-RPT; default: postmaster of the domain
	Policy      string       // of DMARC: none, quarantine or reject; default: quarantine
	Keep        []string     // records that the domain has elsewhere, a line of zone text each
}

// A NameServer is one that the zone is delegated to.
type NameServer struct {
	Host string
	// Addresses are those of the glue: of a host in the zone, and of no other.
	Addresses []netip.Addr
	// Elsewhere marks a secondary: it is not this machine.
	Elsewhere bool
}

// Check returns the domain with names that are canonical and defaults in place of what is
// missing; names without a dot are in the domain.
func (d Domain) Check() (Domain, error) {
	name, err := mail.CanonicalDomain(d.Name)
	if err != nil || strings.HasPrefix(name, "[") || !dns.IsName(name) || !strings.Contains(name, ".") {
		return d, fmt.Errorf("%q is no domain: write it as example.org", d.Name)
	}
	d.Name = name
	if d.Addresses, err = checkAddresses(d.Addresses); err != nil {
		return d, err
	}
	for _, host := range []struct {
		name     *string
		fallback string
	}{{&d.MX, "mx"}, {&d.Submission, "smtp"}} {
		if *host.name == "" {
			*host.name = host.fallback
		}
		if *host.name, err = d.host(*host.name); err != nil {
			return d, err
		}
		if !d.holds(*host.name) {
			return d, fmt.Errorf("%s is not in %s, whose zone is to say where it is", *host.name, d.Name)
		}
	}
	if d.Policy == "" {
		d.Policy = "quarantine"
	}
	if !slices.Contains([]string{"none", "quarantine", "reject"}, d.Policy) {
		return d, fmt.Errorf("DMARC policy %q: it is one of none, quarantine, reject", d.Policy)
	}
	if d.Reports == "" {
		d.Reports = "postmaster@" + d.Name
	}
	reports, err := mail.ParseAddress(d.Reports)
	if err != nil {
		return d, fmt.Errorf("reports to %q: %w", d.Reports, err)
	}
	d.Reports = reports.String()
	return d, d.checkServers()
}

func checkAddresses(all []netip.Addr) ([]netip.Addr, error) {
	var out []netip.Addr
	for _, a := range all {
		a = a.Unmap()
		if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.Zone() != "" {
			return nil, fmt.Errorf("%s is no address of a machine", a)
		}
		if !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	if !slices.ContainsFunc(out, netip.Addr.Is4) {
		return nil, errors.New("no IPv4 address: half of the world's mail servers could not reach the domain")
	}
	slices.SortStableFunc(out, func(a, b netip.Addr) int { return a.BitLen() - b.BitLen() })
	return out, nil
}

// host completes the name of a host.
func (d Domain) host(name string) (string, error) {
	if !strings.Contains(name, ".") {
		name += "." + d.Name
	}
	full, err := mail.CanonicalDomain(strings.TrimSuffix(name, "."))
	if err != nil || strings.HasPrefix(full, "[") || !dns.IsName(full) {
		return "", fmt.Errorf("%q is no name of a host", name)
	}
	return full, nil
}

// holds reports whether a name is below the domain.
func (d Domain) holds(host string) bool {
	return host != d.Name && dns.IsSubdomain(dns.Canonical(d.Name), dns.Canonical(host))
}

func (d *Domain) checkServers() error {
	if len(d.NameServers) == 0 {
		d.NameServers = []NameServer{{Host: "ns1"}, {Host: "ns2"}}
	}
	d.NameServers = slices.Clone(d.NameServers)
	seen := map[string]bool{}
	for i := range d.NameServers {
		s := &d.NameServers[i]
		var err error
		if s.Host, err = d.host(s.Host); err != nil {
			return err
		}
		switch {
		case seen[s.Host]:
			return fmt.Errorf("the name server %s is named twice", s.Host)
		case !s.Elsewhere:
			if !d.holds(s.Host) {
				return fmt.Errorf("%s is not in %s: as a name server of somebody else's it is a secondary", s.Host, d.Name)
			}
			s.Addresses = d.Addresses
		case d.holds(s.Host) && len(s.Addresses) == 0:
			return fmt.Errorf("the secondary %s is in %s, so its address is needed: %s=IP", s.Host, d.Name, s.Host)
		}
		seen[s.Host] = true
	}
	if d.NameServers[0].Elsewhere {
		return errors.New("the first name server is the primary, and that is this machine")
	}
	return nil
}

// Hosts are the names that the certificate is for: that of the MX, and those of what users'
// programs and other mail servers connect to.
func (d Domain) Hosts() []string {
	return slices.Compact([]string{d.MX, d.Submission, "mta-sts." + d.Name, "autoconfig." + d.Name})
}

// ParseSecondary reads HOST or HOST=IP[,IP].
func ParseSecondary(text string) (NameServer, error) {
	host, list, given := strings.Cut(text, "=")
	s := NameServer{Host: host, Elsewhere: true}
	if !given {
		return s, nil
	}
	for one := range strings.SplitSeq(list, ",") {
		ip, err := netip.ParseAddr(strings.TrimSpace(one))
		if err != nil {
			return s, fmt.Errorf("secondary %q: write HOST or HOST=IP", text)
		}
		s.Addresses = append(s.Addresses, ip.Unmap())
	}
	return s, nil
}

// FirstSerial is the serial of a zone that begins now: the day and two digits (RFC 1912 section
// 2.2).
func FirstSerial(now time.Time) uint32 {
	y, m, day := now.UTC().Date()
	return uint32(((y*100+int(m))*100 + day) * 100)
}

// IsPublic reports whether the world can reach an address: it is none of those for special
// purposes (RFC 6890).
func IsPublic(a netip.Addr) bool {
	a = a.Unmap()
	if !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	return !slices.ContainsFunc(special, func(p string) bool { return netip.MustParsePrefix(p).Contains(a) })
}

// special are the ranges that the methods of netip.Addr do not know.
var special = []string{
	"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
	"64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16", "fec0::/10",
}
