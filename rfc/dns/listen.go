package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// ListenUDP opens n sockets on one address, between which Linux spreads the clients
// (SO_REUSEPORT); elsewhere it opens one. With port 0 all of them get the same free port.
func ListenUDP(ctx context.Context, address string, n int) ([]*net.UDPConn, error) {
	if !canReusePort || n < 1 {
		n = 1
	}
	lc := net.ListenConfig{}
	if n > 1 {
		lc.Control = func(_, _ string, c syscall.RawConn) error {
			var err error
			if cerr := c.Control(func(fd uintptr) { err = reusePort(fd) }); cerr != nil {
				return cerr
			}
			return err
		}
	}
	var conns []*net.UDPConn
	for range n {
		pc, err := lc.ListenPacket(ctx, "udp"+family(address), address)
		if err != nil {
			for _, c := range conns {
				c.Close()
			}
			return nil, err
		}
		c := pc.(*net.UDPConn)
		c.SetReadBuffer(4 << 20) //nolint:errcheck // the system's own size is enough to work
		conns = append(conns, c)
		address = c.LocalAddr().String()
	}
	return conns, nil
}

// Listen opens one address for UDP, by ListenUDP, and for TCP. With port 0 both get the same
// free port.
func Listen(ctx context.Context, address string, n int) ([]*net.UDPConn, net.Listener, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, nil, err
	}
	var last error
	for range 20 { // a port that is free for one may be taken for the other
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp"+family(address), address)
		if err != nil {
			return nil, nil, err
		}
		conns, err := ListenUDP(ctx, l.Addr().String(), n)
		if err == nil {
			return conns, l, nil
		}
		last = errors.Join(err, l.Close())
		if port != "0" {
			break
		}
	}
	return nil, nil, fmt.Errorf("listening on %s: %w", address, last)
}

// family keeps 0.0.0.0 to IPv4; package net would listen for IPv6 with it as well.
func family(address string) string {
	if ap, err := netip.ParseAddrPort(address); err == nil && ap.Addr().Is4() {
		return "4"
	}
	return ""
}
