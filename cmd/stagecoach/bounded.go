package main

import (
	"net"
	"net/netip"
	"sync"
)

// A bounded listener closes connections at once that are too many, in all or from one address, so
// that slow clients cannot take all there are.
type bounded struct {
	net.Listener
	all, perAddress int

	mu    sync.Mutex
	open  int
	count map[netip.Addr]int
}

func newBounded(l net.Listener, all, perAddress int) *bounded {
	return &bounded{Listener: l, all: all, perAddress: perAddress, count: map[netip.Addr]int{}}
}

// Accept returns the next connection that is not too many.
func (b *bounded) Accept() (net.Conn, error) {
	for {
		c, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := addressOf(c)
		if b.enter(from) {
			return &boundedConn{Conn: c, leave: sync.OnceFunc(func() { b.leave(from) })}, nil
		}
		c.Close()
	}
}

func addressOf(c net.Conn) netip.Addr {
	at, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.Addr{} // a unix socket
	}
	a := at.Addr().Unmap()
	if a.Is6() { // one client has a network of these
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

func (b *bounded) enter(from netip.Addr) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open >= b.all || b.count[from] >= b.perAddress {
		return false
	}
	b.open++
	b.count[from]++
	return true
}

func (b *bounded) leave(from netip.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open--
	if b.count[from]--; b.count[from] == 0 {
		delete(b.count, from)
	}
}

type boundedConn struct {
	net.Conn
	leave func()
}

// Close gives the place back.
func (c *boundedConn) Close() error {
	c.leave()
	return c.Conn.Close()
}
