package resolver

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// A Network carries queries to name servers.
type Network interface {
	// UDP sends a query from a socket that is used for nothing else before or after, and
	// gives accept every datagram that comes back from server, until accept returns true or
	// ctx ends. The datagram is accept's only until it returns.
	UDP(ctx context.Context, server netip.AddrPort, query []byte, accept func([]byte) bool) error
	// TCP sends a query over a connection and returns the response, both without their
	// lengths.
	TCP(ctx context.Context, server netip.AddrPort, query []byte) ([]byte, error)
}

// sockets is the Network of this machine.
type sockets struct{}

// UDP binds to a random port of all above 1023 (RFC 5452 section 9.2: the system would pick
// from fewer), and connects, so that the kernel drops what comes from elsewhere. Errors by ICMP
// are ignored: anybody can send them.
func (sockets) UDP(ctx context.Context, server netip.AddrPort, query []byte, accept func([]byte) bool) error {
	c, err := dialUDP(ctx, server)
	if err != nil {
		return err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) }) //nolint:errcheck // closed already
	defer stop()
	if _, err := c.Write(query); err != nil && !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	buf := make([]byte, 4096)
	for failures := 0; failures < 100; {
		n, err := c.Read(buf)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			failures++
			if !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.EHOSTUNREACH) {
				return err
			}
			continue
		}
		if accept(buf[:n]) {
			return nil
		}
	}
	return errors.New("the network does not let the server be reached")
}

func dialUDP(ctx context.Context, server netip.AddrPort) (net.Conn, error) {
	any := netip.IPv4Unspecified()
	if server.Addr().Is6() {
		any = netip.IPv6Unspecified()
	}
	d := net.Dialer{Control: dontFragment}
	var last error
	for range 16 {
		port := randomPort()
		d.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(any, port))
		c, err := d.DialContext(ctx, "udp", server.String())
		if err == nil {
			return c, nil
		}
		last = err
		if !errors.Is(err, syscall.EADDRINUSE) && !errors.Is(err, syscall.EACCES) {
			return nil, err
		}
	}
	return nil, last
}

// randomPort returns each port from 1024 to 65535 with the same chance: 16 bits less 0.02.
func randomPort() uint16 {
	for {
		var b [2]byte
		rand.Read(b[:]) //nolint:errcheck // never fails since Go 1.24
		if p := binary.BigEndian.Uint16(b[:]); p >= 1024 {
			return p
		}
	}
}

// TCP opens a connection for one query.
func (sockets) TCP(ctx context.Context, server netip.AddrPort, query []byte) ([]byte, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", server.String())
	if err != nil {
		return nil, err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) }) //nolint:errcheck // closed already
	defer stop()
	out := binary.BigEndian.AppendUint16(nil, uint16(len(query)))
	if _, err := c.Write(append(out, query...)); err != nil {
		return nil, err
	}
	var length [2]byte
	if _, err := io.ReadFull(c, length[:]); err != nil {
		return nil, err
	}
	raw := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err = io.ReadFull(c, raw)
	return raw, err
}

func newSecret() (s [16]byte) {
	rand.Read(s[:]) //nolint:errcheck // never fails since Go 1.24
	return s
}

// clientCookie returns the cookie by which a server tells us (RFC 7873 section 4.1): another
// one for each server, so that they cannot compare notes.
func (r *Resolver) clientCookie(server netip.Addr) []byte {
	m := hmac.New(sha256.New, r.secret[:])
	m.Write(server.AsSlice())
	return m.Sum(nil)[:8]
}
