package resolver

import (
	"net/netip"
	"strings"

	"stagecoach/rfc/dns"
)

// rootHints are the addresses of a.root-servers.net to m.root-servers.net, as of 2024.
const rootHints = `
198.41.0.4 170.247.170.2 192.33.4.12 199.7.91.13 192.203.230.10 192.5.5.241 192.112.36.4
198.97.190.53 192.36.148.17 192.58.128.30 193.0.14.129 199.7.83.42 202.12.27.33
2001:503:ba3e::2:30 2801:1b8:10::b 2001:500:2::c 2001:500:2d::d 2001:500:a8::e 2001:500:2f::f
2001:500:12::d0d 2001:500:1::53 2001:7fe::53 2001:503:c27::2:30 2001:7fd::1 2001:500:9f::42
2001:dc3::35
`

// rootAnchors are the root's keys of 2017 and 2024 (RFC 9718).
const rootAnchors = `
. 86400 IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D
. 86400 IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16
`

// RootHints returns the addresses of the Internet's root servers.
func RootHints() []netip.Addr {
	var out []netip.Addr
	for _, s := range strings.Fields(rootHints) {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

// RootAnchors returns the DS records of the Internet's root.
func RootAnchors() []dns.RR {
	rrs, err := dns.ParseZone(strings.NewReader(rootAnchors), ".")
	if err != nil {
		panic(err) // the constant above
	}
	return rrs
}

// hints returns where the walk begins before the root's own answer is known.
func (r *Resolver) hints() []netip.AddrPort {
	addrs := r.Hints
	if addrs == nil {
		addrs = RootHints()
	}
	var out []netip.AddrPort
	for _, a := range addrs {
		out = append(out, netip.AddrPortFrom(a, r.Port))
	}
	return out
}
