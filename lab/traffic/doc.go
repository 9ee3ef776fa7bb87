// Package traffic drives an SMTP server on loopback with mail and finds out what became of
// each message: a lean client, a sink that accepts everything, a ledger of what was sent and
// acknowledged, and a checker that says what was lost and what came twice.
//
// It is written apart from rfc/smtp on purpose: what measures a server must not share its
// mistakes. Nothing here talks to an address outside of loopback (see Loopback).
package traffic

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// ErrNotLoopback is what Loopback says of every other address.
var ErrNotLoopback = errors.New("only loopback addresses may be put under load")

// Loopback resolves a target as HOST:PORT and returns it, if every address of the host is a
// loopback address; the error wraps ErrNotLoopback if one is not.
func Loopback(ctx context.Context, target string) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(target)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("target %q: %w", target, err)
	}
	n, err := net.DefaultResolver.LookupPort(ctx, "tcp", port)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("target %q: %w", target, err)
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return checkLoopback(target, uint16(n), ip)
	}
	// Only the names of this machine are looked up: a stranger's name never is.
	if host != "localhost" && host != "ip6-localhost" {
		return netip.AddrPort{}, fmt.Errorf("target %q: %w", target, ErrNotLoopback)
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("target %q: %w", target, err)
	}
	return checkLoopback(target, uint16(n), ips...)
}

func checkLoopback(target string, port uint16, ips ...netip.Addr) (netip.AddrPort, error) {
	var chosen netip.Addr
	for _, ip := range ips {
		ip = ip.Unmap()
		if !ip.IsLoopback() {
			return netip.AddrPort{}, fmt.Errorf("target %q: %w", target, ErrNotLoopback)
		}
		if !chosen.IsValid() || ip.Is4() && !chosen.Is4() {
			chosen = ip
		}
	}
	if !chosen.IsValid() {
		return netip.AddrPort{}, fmt.Errorf("target %q: no address", target)
	}
	return netip.AddrPortFrom(chosen, port), nil
}
