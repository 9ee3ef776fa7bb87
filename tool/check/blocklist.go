package check

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"

	"stagecoach/rfc/dns"
)

// A List is a block list that is asked over DNS (RFC 5782).
type List struct {
	Zone    string
	IPv4    bool   // it lists IPv4 addresses
	IPv6    bool   // it lists IPv6 addresses
	Domains bool   // it lists domains
	Test    string // a domain that it lists always, for a list of domains; "" is "test", as RFC 5782 section 5 has it
	Page    string // where to ask for removal
}

// Lists returns the block lists that many receivers go by.
func Lists() []List {
	return []List{
		{Zone: "zen.spamhaus.org", IPv4: true, IPv6: true, Page: "https://check.spamhaus.org/"},
		{Zone: "dbl.spamhaus.org", Domains: true, Test: "dbltest.com", Page: "https://check.spamhaus.org/"},
		{Zone: "bl.spamcop.net", IPv4: true, Page: "https://www.spamcop.net/bl.shtml"},
		{Zone: "psbl.surriel.com", IPv4: true, Page: "https://psbl.org/"},
		{Zone: "bl.mailspike.net", IPv4: true, Page: "https://mailspike.io/ip_verify"},
	}
}

func checkLists(ctx context.Context, l *look, f *findings) {
	ips := l.addresses(f)
	if len(l.target.Lists) == 0 {
		f.skip("", "no block list is asked")
		return
	}
	parts := make([]*findings, len(l.target.Lists))
	var all sync.WaitGroup
	for i, one := range l.target.Lists {
		parts[i] = &findings{check: f.check, shown: f.shown}
		all.Go(func() { l.askList(ctx, parts[i], one, ips) })
	}
	all.Wait()
	for _, p := range parts {
		f.lines = append(f.lines, p.lines...)
	}
}

// A blocked question is one that the list does not want to answer.
var errBlocked = errors.New("the list does not answer this resolver")

func (l *look) askList(ctx context.Context, f *findings, one List, ips []netip.Addr) {
	names := map[string]string{} // what it is about, by the name to ask for
	if one.Domains {
		names[l.target.Domain+"."+one.Zone] = l.target.Domain
	}
	for _, ip := range ips {
		if isPublic(ip) && (ip.Is4() && one.IPv4 || ip.Is6() && one.IPv6) {
			names[listName(ip, one.Zone)] = ip.String()
		}
	}
	if len(names) == 0 {
		f.skip(one.Zone, "the list has nothing to say of these addresses")
		return
	}
	if err := l.testList(ctx, one); err != nil {
		f.unknown(one.Zone, "the list cannot be asked from here: %v", err)
		return
	}
	for name, about := range names {
		listed, err := l.listed(ctx, name)
		switch {
		case err != nil:
			f.unknown(about, "%s could not be asked: %v", one.Zone, err)
		case listed != "":
			f.wrong(about, "Look at "+one.Page+" why, mend that, then ask there to be removed.", "it is on the block list %s: %s", one.Zone, listed)
		}
	}
	if !f.bad() {
		f.ok(one.Zone, "nothing of ours is listed")
	}
}

// testList asks for what every list has (RFC 5782 section 5), so that a list which is out of
// service, or does not talk to us, is not taken for good news.
func (l *look) testList(ctx context.Context, one List) error {
	name := listName(netip.AddrFrom4([4]byte{127, 0, 0, 2}), one.Zone)
	if one.Domains {
		name = "test." + one.Zone
		if one.Test != "" {
			name = one.Test + "." + one.Zone
		}
	}
	listed, err := l.listed(ctx, name)
	if err == nil && listed == "" {
		err = errors.New("it does not have its own test entry")
	}
	return err
}

func listName(ip netip.Addr, zone string) string {
	name := strings.TrimSuffix(strings.TrimSuffix(dns.ReverseName(ip), "in-addr.arpa."), "ip6.arpa.")
	return name + zone
}

// listed returns what a list has at a name, "" for nothing.
func (l *look) listed(ctx context.Context, name string) (string, error) {
	a, err := dns.Lookup(ctx, l.env.Names, name, dns.TypeA)
	if dns.IsNegative(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	var codes []string
	for _, ip := range dns.Addresses(a) {
		if err := codeError(ip); err != nil {
			return "", err
		}
		codes = append(codes, ip.String())
	}
	text := strings.Join(codes, ", ")
	if why, err := dns.TXT(ctx, l.env.Names, name); err == nil && len(why) > 0 {
		text += ", " + clean(why[0])
	}
	return text, nil
}

// codeError reads the answers that tell of trouble with the question, and are no listing.
func codeError(ip netip.Addr) error {
	b := ip.As4()
	switch {
	case b[0] != 127:
		return fmt.Errorf("the answer %s is none of a block list: its domain may have a new owner", ip)
	case b == [4]byte{127, 255, 255, 252}:
		return fmt.Errorf("%w: the name of the list is mistyped (%s)", errBlocked, ip)
	case b == [4]byte{127, 255, 255, 254}:
		return fmt.Errorf("%w: the question came over a public resolver, or from an address without a name of its own (%s)", errBlocked, ip)
	case b == [4]byte{127, 255, 255, 255}:
		return fmt.Errorf("%w: there were too many questions (%s)", errBlocked, ip)
	case b[1] == 255 && b[2] == 255:
		return fmt.Errorf("%w (%s)", errBlocked, ip)
	case b == [4]byte{127, 0, 1, 255}:
		return fmt.Errorf("%w: a list of domains was asked for an address (%s)", errBlocked, ip)
	case b == [4]byte{127, 0, 0, 1}:
		return fmt.Errorf("%w (%s)", errBlocked, ip)
	}
	return nil
}
