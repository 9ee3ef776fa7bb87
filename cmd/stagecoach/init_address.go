package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"stagecoach/rfc/dns"
	"stagecoach/tool/setup"
)

// A machine is what this one knows of its addresses.
type machine struct {
	all   []netip.Addr // of its interfaces, without those that pass
	route []netip.Addr // from which it reaches the Internet, one of a family
}

func thisMachine() (machine, error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return machine{}, err
	}
	passing := passingAddresses()
	var m machine
	for _, one := range list {
		prefix, err := netip.ParsePrefix(one.String())
		if a := prefix.Addr().Unmap(); err == nil && !a.IsLinkLocalUnicast() && !passing[a] {
			m.all = append(m.all, a)
		}
	}
	// No packet is sent: the kernel says which address it would send from.
	for _, root := range []string{"198.41.0.4:53", "[2001:503:ba3e::2:30]:53"} {
		c, err := net.Dial("udp", root)
		if err != nil {
			continue
		}
		if at, ok := c.LocalAddr().(*net.UDPAddr); ok {
			m.route = append(m.route, at.AddrPort().Addr().Unmap())
		}
		c.Close()
	}
	return m, nil
}

// passingAddresses are those of IPv6 that Linux changes for privacy, or no longer prefers.
func passingAddresses() map[netip.Addr]bool {
	text, err := os.ReadFile("/proc/net/if_inet6")
	out := map[netip.Addr]bool{}
	if err != nil {
		return out
	}
	const temporary, deprecated, tentative = 0x01, 0x20, 0x40
	s := bufio.NewScanner(bytes.NewReader(text))
	for s.Scan() {
		var address []byte
		var index, length, scope, flags int
		var name string
		if _, err := fmt.Sscanf(s.Text(), "%32x %x %x %x %x %s", &address, &index, &length, &scope, &flags, &name); err != nil {
			continue
		}
		if a, ok := netip.AddrFromSlice(address); ok && flags&(temporary|deprecated|tentative) != 0 {
			out[a] = true
		}
	}
	return out
}

// public returns one address of each family that the world can reach: the one that the machine
// sends from, if there are several.
func (m machine) public() (out []netip.Addr) {
	for _, is := range []func(netip.Addr) bool{netip.Addr.Is4, netip.Addr.Is6} {
		var candidates []netip.Addr
		for _, a := range m.all {
			if is(a) && setup.IsPublic(a) {
				candidates = append(candidates, a)
			}
		}
		if len(candidates) == 0 {
			continue
		}
		best := candidates[0]
		for _, a := range candidates {
			if slices.Contains(m.route, a) {
				best = a
			}
		}
		out = append(out, best)
	}
	return out
}

// choose returns the addresses to publish: the given ones, or those that were found.
func (m machine) choose(t *talk, given []netip.Addr) ([]netip.Addr, error) {
	if len(given) == 0 {
		found := m.public()
		if slices.ContainsFunc(found, netip.Addr.Is4) {
			return found, nil
		}
		var err error
		if given, err = m.askAddress(t, found); err != nil {
			return nil, err
		}
	}
	for _, a := range given {
		if a.IsPrivate() || a.IsLoopback() {
			t.warn("%s is a private address: the world cannot reach it, only a laboratory can.", a)
		}
	}
	return given, nil
}

func (m machine) askAddress(t *talk, found []netip.Addr) ([]netip.Addr, error) {
	if t.quiet {
		return nil, fmt.Errorf("this machine has no public IPv4 address on its interfaces (it has %s): say with --address which one the world sees", list(m.all))
	}
	var out []netip.Addr
	_, err := t.ask(fmt.Sprintf(`By which addresses does the world reach this machine? It has no public IPv4 address of its own (it has %s),
so it stands behind another that has; the pages of the hoster name it. Separate several by commas.`, list(m.all)), list(found), func(s string) error {
		out = nil
		for part := range strings.SplitSeq(s, ",") {
			a, err := netip.ParseAddr(strings.TrimSpace(part))
			if err != nil {
				return errors.New("write addresses as 192.0.2.25, 2001:db8::25")
			}
			out = append(out, a)
		}
		return nil
	})
	return out, err
}

func list(all []netip.Addr) string {
	var out []string
	for _, a := range all {
		if !a.IsLoopback() {
			out = append(out, a.String())
		}
	}
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, ", ")
}

// serve says where the name server listens, and from where mail is sent. It listens on single
// addresses, as on most machines a resolver has port 53 of the loopback addresses.
func (m machine) serve(s *setup.Service, d setup.Domain) {
	for _, a := range d.Addresses {
		at := a
		if !slices.Contains(m.all, a) && !a.IsLoopback() { // it is that of a gateway before us
			i := slices.IndexFunc(m.route, func(r netip.Addr) bool { return r.Is4() == a.Is4() })
			if i < 0 {
				s.Listen = nil // everywhere
				return
			}
			at = m.route[i]
		}
		if l := netip.AddrPortFrom(at, 53); !slices.Contains(s.Listen, l) {
			s.Listen = append(s.Listen, l)
		}
	}
	six := slices.ContainsFunc(d.Addresses, netip.Addr.Is6)
	s.NoIPv6 = !six && slices.ContainsFunc(m.all, func(a netip.Addr) bool { return a.Is6() && setup.IsPublic(a) })
	for _, a := range d.Addresses {
		others := slices.ContainsFunc(m.all, func(o netip.Addr) bool { return o != a && o.Is4() == a.Is4() && setup.IsPublic(o) })
		if others && slices.Contains(m.all, a) {
			s.Source = append(s.Source, a)
		}
	}
}

// hasWeb reports whether somebody answers on port 443 of this machine, where no service of ours is
// configured yet.
func (m machine) hasWeb(d setup.Domain) bool {
	for _, a := range append([]netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}, d.Addresses...) {
		if !slices.Contains(m.all, a) {
			continue
		}
		if c, err := net.DialTimeout("tcp", netip.AddrPortFrom(a, 443).String(), time.Second); err == nil {
			c.Close()
			return true
		}
	}
	return false
}

// presentRecords are those of a domain and its www that are in use and no matter of mail, as zone
// text. A web site would be lost with the change of name servers else.
func presentRecords(ctx context.Context, t *talk, d setup.Domain) []string {
	ask, err := names(nil)
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return keptRecords(ctx, t, d, ask)
}

func keptRecords(ctx context.Context, t *talk, d setup.Domain, ask dns.Exchanger) (out []string) {
	look := func(name string, kind uint16) *dns.Answer {
		a, err := dns.Lookup(ctx, ask, name, kind)
		if err != nil {
			return &dns.Answer{}
		}
		return a
	}
	keep := func(name, kind, data string) {
		out = append(out, fmt.Sprintf("%s. %s %s", name, kind, data))
	}
	for _, name := range []string{d.Name, "www." + d.Name} {
		if alias := dns.Records[*dns.CNAMERecord](look(name, dns.TypeCNAME)); len(alias) > 0 && name != d.Name {
			keep(name, "CNAME", dns.Canonical(alias[0].Target))
			continue
		}
		for _, ip := range append(dns.Addresses(look(name, dns.TypeA)), dns.Addresses(look(name, dns.TypeAAAA))...) {
			kind := "A"
			if ip.Is6() {
				kind = "AAAA"
			}
			keep(name, kind, ip.String())
		}
	}
	for _, rr := range dns.Records[*dns.TXTRecord](look(d.Name, dns.TypeTXT)) {
		if !strings.HasPrefix(strings.ToLower(dns.Text(rr)), "v=spf1") {
			keep(d.Name, "TXT", dns.Data(rr))
		}
	}
	if len(out) > 0 {
		t.warn("%s has records at present, which go into the new zone so that they stay:", d.Name)
		for _, line := range out {
			t.say("  %s", line)
		}
		t.say("Names other than %s and www cannot be found from outside: copy them into the zone before the name servers change.", d.Name)
	}
	if len(dns.Records[*dns.DSRecord](look(d.Name, dns.TypeDS))) > 0 {
		t.warn("%s is signed at present (DS). Have the registrar remove that DS, and wait a day, before the name servers change;\nelse the world takes our answers for forged.", d.Name)
	}
	for _, server := range dns.MailServers(look(d.Name, dns.TypeMX)) {
		t.warn("Mail for %s goes to %s at present; it comes here when the name servers change.", d.Name, server.Host)
	}
	return out
}
