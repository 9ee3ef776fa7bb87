package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"stagecoach/name/authority"
	"stagecoach/rfc/dns"
)

type secondaryCmd struct {
	Listen  []string   `help:"Where to answer over UDP and TCP (default ${default})." default:":53" placeholder:"HOST:PORT"`
	Zone    []string   `help:"A zone to transfer in (default: those in the names of the keys)." placeholder:"ZONE"`
	Primary []string   `help:"Where the zones come from: tcp:IP[:PORT] (default: the address in the name of the key)." placeholder:"NS"`
	DNSKey  []Secret   `name:"dns-key" help:"Key that signs what is asked about its zone and all below: NAME:ALGORITHM:BASE64, or @FILE with that." placeholder:"SECRET"`
	State   string     `help:"Folder for the copies of the zones." default:"/var/lib/stagecoach/secondary" placeholder:"DIR"`
	Control string     `help:"Socket by which zone status asks; it is not needed to serve." default:"/run/stagecoach/secondary.sock" placeholder:"PATH"`
	Sockets int        `help:"UDP sockets for each address, between which clients are spread." default:"2"`
	Rate    int        `name:"rate-limit" help:"Like answers over UDP in a second to one network that has not shown a cookie; 0 for no limit." default:"20"`
	Serving runOptions `embed:""`
}

// Help shows examples.
func (secondaryCmd) Help() string {
	return `Examples; the name of the second key says which zone comes from where:

  stagecoach secondary --zone example.org --primary tcp:10.0.0.3 --dns-key @transfer.key
  stagecoach secondary --dns-key @key   # 10.0.0.3.10.0.0.6._transfer.example.org:SHA256:...`
}

// Run serves until ctx ends.
func (c secondaryCmd) Run(ctx context.Context) error {
	p, err := newProcess(ctx, c.Serving)
	if err != nil {
		return err
	}
	if err := c.build(p); err != nil {
		return p.abort(err)
	}
	return p.wait()
}

func (c secondaryCmd) build(p *process) error {
	zones, err := c.zones(p)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.State, 0o700); err != nil {
		return err
	}
	s := &authority.Secondary{Zones: zones, Dir: c.State, Log: p.log}
	if err := s.Load(); err != nil {
		return err
	}
	p.behind("zones", s.Run)
	p.reg.MustRegister(copyMetrics{s})
	serveCopies(p, c.Control, s)
	return p.dns("dns", &dns.Server{Handler: s, Keys: s.FindKey, Rate: rateLimit(c.Rate), Limits: dns.Limits{Parallel: 20}, Log: p.log}, c.Listen, c.Sockets)
}

// zones puts zones, primaries and keys together.
func (c secondaryCmd) zones(p *process) ([]authority.SecondaryZone, error) {
	var keys []dns.Key
	for _, s := range c.DNSKey {
		s.warn(p.log, "--dns-key")
		k, err := dns.ParseKey(s.Text())
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	var primaries []dns.Nameserver
	for _, text := range c.Primary {
		n, err := dns.ParseNameserver(text)
		if err != nil {
			return nil, fmt.Errorf("--primary: %w", err)
		}
		primaries = append(primaries, n)
	}
	names := c.Zone
	if len(names) == 0 {
		for _, k := range keys {
			if zone, _ := keyScope(k.Name); zone != "." && !slices.Contains(names, zone) {
				names = append(names, zone)
			}
		}
	}
	if len(names) == 0 {
		return nil, errors.New("no --zone is named, and no --dns-key with a zone in its name")
	}
	var out []authority.SecondaryZone
	for _, name := range names {
		z := authority.SecondaryZone{Name: name, Primaries: primaries, Key: keyOf(keys, name)}
		if _, primary := keyScope(z.Key.Name); len(primaries) == 0 && primary.IsValid() {
			z.Primaries = []dns.Nameserver{{Transport: dns.TCP, Addr: netip.AddrPortFrom(primary, 53)}}
		}
		if len(z.Primaries) == 0 {
			return nil, fmt.Errorf("zone %s: no --primary, and no address in the name of its key", name)
		}
		out = append(out, z)
	}
	return out, nil
}

// keyScope returns the zone of a key and the address of the primary, if its name says one:
// [PRIMARY.]SECONDARY._transfer.ZONE, with IPv4 addresses.
func keyScope(name string) (zone string, primary netip.Addr) {
	labels := dns.Labels(dns.Canonical(name))
	for i, l := range slices.Backward(labels) {
		if l != "_transfer" && l != "_update" && l != "_notify" {
			continue
		}
		if l == "_transfer" && i >= 4 {
			first := i - 4 // x.PRIMARY._transfer tells a secondary its primary
			if i >= 8 {
				first = i - 8
			}
			if ip, err := netip.ParseAddr(strings.Join(labels[first:first+4], ".")); err == nil {
				primary = ip
			}
		}
		return dns.Canonical(strings.Join(labels[i+1:], ".")), primary
	}
	return ".", primary
}

// keyOf returns the key of the closest zone around a name.
func keyOf(keys []dns.Key, zone string) (best dns.Key) {
	depth := -1
	for _, k := range keys {
		of, _ := keyScope(k.Name)
		if n := len(dns.Labels(of)); dns.IsSubdomain(of, dns.Canonical(zone)) && n > depth {
			best, depth = k, n
		}
	}
	return best
}

// rateLimit limits answers over UDP, but for this machine; nil for no limit.
func rateLimit(same int) *dns.RateLimit {
	if same <= 0 {
		return nil
	}
	return &dns.RateLimit{Same: same, Spare: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}}
}
