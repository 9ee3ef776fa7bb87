package relay

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"stagecoach/mail"
)

// A Route sends the mail for a domain to a server that the operator names, past DNS' MX.
type Route struct {
	Domain string // canonical, or "*" for all that have no route of their own
	Host   string // name or IP address; "" with Path
	Port   uint16 // 0: that of the Relay
	Path   string // of a unix socket
}

// ParseRoute reads DOMAIN=HOST, DOMAIN=HOST:PORT or DOMAIN=unix:PATH, where DOMAIN may be "*",
// and an IPv6 address as HOST stands in brackets.
func ParseRoute(s string) (Route, error) {
	domain, to, ok := strings.Cut(s, "=")
	if !ok {
		return Route{}, fmt.Errorf("route %q: want DOMAIN=HOST:PORT", s)
	}
	r := Route{Domain: domain}
	if domain != "*" {
		var err error
		if r.Domain, err = mail.CanonicalDomain(domain); err != nil {
			return Route{}, fmt.Errorf("route %q: %w", s, err)
		}
	}
	if path, ok := strings.CutPrefix(to, "unix:"); ok {
		if r.Path = path; path == "" {
			return Route{}, fmt.Errorf("route %q: no path", s)
		}
		return r, nil
	}
	if err := r.parseHost(to); err != nil {
		return Route{}, fmt.Errorf("route %q: %w", s, err)
	}
	return r, nil
}

func (r *Route) parseHost(to string) error {
	r.Host = to
	if ip, err := netip.ParseAddr(strings.Trim(to, "[]")); err == nil && (ip.Is4() || strings.HasPrefix(to, "[")) {
		r.Host = ip.String()
		return nil
	}
	if strings.Contains(to, ":") {
		host, port, err := net.SplitHostPort(to)
		if err != nil {
			return errors.New("no HOST:PORT behind the =")
		}
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return fmt.Errorf("%q is no port", port)
		}
		r.Host, r.Port = host, uint16(n)
	}
	if ip, err := netip.ParseAddr(r.Host); err == nil {
		r.Host = ip.String()
		return nil
	}
	host, err := mail.CanonicalDomain(strings.TrimSuffix(r.Host, "."))
	if err != nil || strings.HasPrefix(host, "[") {
		return fmt.Errorf("%q is no host", r.Host)
	}
	r.Host = host
	return nil
}

// String returns the route as ParseRoute reads it.
func (r Route) String() string {
	switch {
	case r.Path != "":
		return r.Domain + "=unix:" + r.Path
	case r.Port == 0 && strings.Contains(r.Host, ":"):
		return r.Domain + "=[" + r.Host + "]"
	case r.Port == 0:
		return r.Domain + "=" + r.Host
	}
	return r.Domain + "=" + net.JoinHostPort(r.Host, strconv.Itoa(int(r.Port)))
}

// UnmarshalText lets routes stand in flags and configuration.
func (r *Route) UnmarshalText(b []byte) error {
	p, err := ParseRoute(string(b))
	if err == nil {
		*r = p
	}
	return err
}

// MarshalText returns String.
func (r Route) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// routeFor returns the route for a domain: its own, else that of all.
func (r *Relay) routeFor(domain string) (Route, bool) {
	var all *Route
	for i := range r.Routes {
		switch r.Routes[i].Domain {
		case domain:
			return r.Routes[i], true
		case "*":
			if all == nil {
				all = &r.Routes[i]
			}
		}
	}
	if all == nil {
		return Route{}, false
	}
	return *all, true
}
