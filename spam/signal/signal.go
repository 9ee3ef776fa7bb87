// Package signal is what is known of a sender beside his mail: how his domain and network have behaved,
// and which block lists have his address.
package signal

import (
	"net/netip"

	"golang.org/x/net/publicsuffix"
)

// A Source is where a mail came from.
type Source struct {
	Domain string     // that vouches for the author (DMARC), "" when none does
	Addr   netip.Addr // of the client; zero when unknown
}

// domain returns the registered domain, since domains below it cost nothing.
func (s Source) domain() string {
	if org, err := publicsuffix.EffectiveTLDPlusOne(s.Domain); err == nil {
		return org
	}
	return s.Domain
}

// network returns what one holder usually has: a /24 of IPv4, a /48 of IPv6.
func (s Source) network() string {
	a := s.Addr.Unmap().WithZone("")
	if !public(a) {
		return ""
	}
	bits := 24
	if a.Is6() {
		bits = 48
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return ""
	}
	return p.String()
}

// public reports whether an address is one of the world's.
func public(a netip.Addr) bool {
	return a.IsValid() && a.IsGlobalUnicast() && !a.IsPrivate()
}
