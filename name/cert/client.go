package cert

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"stagecoach/rfc/dns"
)

// Client returns an HTTP client for an authority, whose name it looks up by x; nil: as the machine
// does. roots are what it trusts; nil: what the machine trusts.
func Client(x dns.Exchanger, roots *x509.CertPool) *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	if x != nil {
		t.DialContext = (&dialer{names: x}).dial
	}
	return &http.Client{Transport: t, Timeout: time.Minute}
}

// connecting is how long one address of several gets.
const connecting = 10 * time.Second

type dialer struct {
	names dns.Exchanger
	plain net.Dialer
}

// dial connects to "HOST:PORT" at one of its addresses, IPv6 and IPv4 by turns.
func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	ips, err := d.addresses(ctx, host)
	if err != nil {
		return nil, err
	}
	var failures error
	for _, ip := range ips {
		one, cancel := context.WithTimeout(ctx, connecting)
		conn, err := d.plain.DialContext(one, network, net.JoinHostPort(ip.String(), port))
		cancel()
		if err == nil {
			return conn, nil
		}
		if failures = errors.Join(failures, err); ctx.Err() != nil {
			break
		}
	}
	return nil, failures
}

func (d *dialer) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip}, nil
	}
	if name := dns.Host(host); name == "localhost" || strings.HasSuffix(name, ".localhost") { // RFC 6761 section 6.3
		return []netip.Addr{netip.IPv6Loopback(), netip.AddrFrom4([4]byte{127, 0, 0, 1})}, nil
	}
	found, err := dns.Addrs(ctx, d.names, host)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s has no address", host)
	}
	six := slices.DeleteFunc(slices.Clone(found), netip.Addr.Is4)
	four := slices.DeleteFunc(found, netip.Addr.Is6)
	var out []netip.Addr
	for i := range max(len(six), len(four)) {
		if i < len(six) {
			out = append(out, six[i])
		}
		if i < len(four) {
			out = append(out, four[i])
		}
	}
	return out, nil
}
