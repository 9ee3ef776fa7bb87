package relay

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"stagecoach/mail"
	"stagecoach/rfc/dns"
)

// Bounds of what a hostile domain can make us do for one mail.
const (
	maxHosts = 16 // of an MX list
	maxTries = 20 // addresses
)

// What DNS says for good. Everything else that goes wrong with it is temporary.
var (
	errNullMX   = mail.Reject(556, "5.1.10", "the recipient's domain does not take mail")
	errNoDomain = mail.Reject(550, "5.1.2", "the recipient's domain does not exist")
	errNoServer = mail.Reject(550, "5.4.4", "the recipient's domain has no mail server with a usable address")
	errLoop     = mail.Reject(554, "5.4.6", "we are the recipient's mail server, and do not know what to do with it")
)

var errNoNames = errors.New("relay: nothing to look names up with")

// mx returns the hosts of a domain in the order in which they are to be tried: by
// preference, equal ones shuffled (RFC 5321 section 5.1). Where we stand among them
// ourselves by name, the list ends.
func (r *Relay) mx(ctx context.Context, domain string) ([]Host, error) {
	if r.Names == nil {
		return nil, lookupError(errNoNames)
	}
	a, err := dns.Lookup(ctx, r.Names, domain, dns.TypeMX)
	if errors.Is(err, dns.ErrNoData) {
		var e *dns.Error
		secure := errors.As(err, &e) && e.Secure
		return r.cutNames([]Host{{Name: domain, Secure: secure}}) // the implicit MX
	}
	if err != nil {
		return nil, lookupError(err)
	}
	var hosts []Host
	null := false
	for _, s := range dns.MailServers(a) {
		if s.Host == "" {
			null = true
			continue
		}
		hosts = append(hosts, Host{Name: strings.ToLower(s.Host), Preference: s.Preference, Secure: a.Secure})
	}
	if null && len(hosts) == 0 {
		return nil, errNullMX // RFC 7505 section 3; beside others it has no meaning
	}
	rand.Shuffle(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] })
	slices.SortStableFunc(hosts, func(a, b Host) int { return int(a.Preference) - int(b.Preference) })
	return r.cutNames(hosts)
}

// cutNames drops the hosts that are no nearer to the recipient than we are.
func (r *Relay) cutNames(hosts []Host) ([]Host, error) {
	for _, h := range hosts {
		if strings.EqualFold(h.Name, strings.TrimSuffix(r.Name, ".")) {
			hosts = nearer(hosts, h.Preference)
			break
		}
	}
	if len(hosts) == 0 {
		return nil, errLoop
	}
	return hosts[:min(len(hosts), maxHosts)], nil
}

func nearer(hosts []Host, than uint16) []Host {
	n := 0
	for n < len(hosts) && hosts[n].Preference < than {
		n++
	}
	return hosts[:n]
}

// lookupError makes a refusal of what a look-up of a domain returned.
func lookupError(err error) error {
	switch {
	case errors.Is(err, dns.ErrNotExist):
		return errNoDomain.Because(err)
	case errors.Is(err, dns.ErrNoData):
		return errNoServer.Because(err)
	}
	return mail.Defer(451, "4.4.3", "the recipient's domain cannot be looked up now").Because(err)
}

// addrs returns the addresses of a host, IPv6 and IPv4 in turn.
func (r *Relay) addrs(ctx context.Context, host string) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip}, nil
	}
	if host == "localhost" { // RFC 6761 section 6.3
		return []netip.Addr{netip.IPv6Loopback(), netip.AddrFrom4([4]byte{127, 0, 0, 1})}, nil
	}
	if r.Names == nil {
		return nil, errNoNames
	}
	lookup := dns.LookupAddrs
	if r.NoIPv6 {
		lookup = func(ctx context.Context, x dns.Exchanger, name string) (*dns.Answer, error) {
			return dns.Lookup(ctx, x, name, dns.TypeA)
		}
	}
	a, err := lookup(ctx, r.Names, host)
	if err != nil {
		return nil, err
	}
	return interleave(dns.Addresses(a)), nil
}

func interleave(all []netip.Addr) []netip.Addr {
	var six, four, out []netip.Addr
	for _, ip := range all {
		if ip.Is4() {
			four = append(four, ip)
		} else {
			six = append(six, ip)
		}
	}
	for len(six) > 0 || len(four) > 0 {
		if len(six) > 0 {
			out, six = append(out, six[0]), six[1:]
		}
		if len(four) > 0 {
			out, four = append(out, four[0]), four[1:]
		}
	}
	return out
}

// Networks that no mail server of the world stands in (RFC 6890).
var nowhere = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("100::/64"),
}

// mayContact reports whether an address that DNS or a recipient named may be connected to:
// nobody is to reach the services of our own machine and network by an MX record of his.
func (r *Relay) mayContact(ip netip.Addr) bool {
	ip = ip.Unmap()
	within := func(p netip.Prefix) bool { return p.Contains(ip) }
	if slices.ContainsFunc(r.Allow, within) {
		return true
	}
	return ip.IsGlobalUnicast() && !ip.IsPrivate() && !slices.ContainsFunc(nowhere, within)
}

func (r *Relay) isOurAddr(ip netip.Addr) bool { return slices.Contains(r.OurAddrs, ip.Unmap()) }

// key returns a text that two lists of hosts share only when they name the same servers.
func key(hosts []Host) string {
	var words []string
	for _, h := range hosts {
		words = append(words, strconv.Itoa(int(h.Preference))+" "+h.Name+" "+strconv.FormatBool(h.Secure))
	}
	slices.Sort(words)
	return strings.Join(words, ",")
}
