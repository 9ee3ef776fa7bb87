package scenario

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"testing"

	"stagecoach/name/resolver"
	"stagecoach/rfc/dns"
)

// New returns a resolver over the world of a scenario, whose steps do not count. It takes no
// sockets, and works in simulated time.
func New(text string) (*resolver.Resolver, error) {
	p, err := load([]byte(text + "-- steps --\n"))
	if err != nil {
		return nil, err
	}
	return p.resolver, nil
}

// Live is a world whose servers answer on loopback, all at one port.
type Live struct {
	Hints   []netip.Addr
	Anchors []dns.RR
	Port    uint16
	world   *world
}

// Listen opens the world of a scenario, whose servers have addresses in 127.0.0.0/8, until the
// test ends.
func Listen(t testing.TB, text string) *Live {
	t.Helper()
	p, err := load([]byte(text + "-- steps --\n"))
	if err != nil {
		t.Fatal(err)
	}
	live := &Live{Hints: p.resolver.Hints, Anchors: p.resolver.Anchors, world: p.world}
	for range 20 {
		if live.Port, err = p.world.open(t); err == nil {
			return live
		}
	}
	t.Fatal(err)
	return nil
}

// open listens on all addresses at a port that is free on the first.
func (w *world) open(t testing.TB) (uint16, error) {
	port := uint16(0)
	for a := range w.servers {
		if port == 0 {
			l, err := net.Listen("tcp", netip.AddrPortFrom(a, 0).String())
			if err != nil {
				return 0, err
			}
			port = netip.MustParseAddrPort(l.Addr().String()).Port()
			l.Close()
		}
		if err := w.listen(t, netip.AddrPortFrom(a, port)); err != nil {
			return 0, err
		}
	}
	return port, nil
}

// Heal takes the scripts off the servers at some addresses: they behave from now on.
func (l *Live) Heal(addrs ...string) {
	l.world.mu.Lock()
	defer l.world.mu.Unlock()
	for _, a := range addrs {
		l.world.servers[netip.MustParseAddr(a)].rules = nil
	}
}

// listen has a server of the world answer on its address, over UDP and TCP.
func (w *world) listen(t testing.TB, at netip.AddrPort) error {
	a := at.Addr()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", at.String())
	if err != nil {
		c.Close()
		return err
	}
	t.Cleanup(func() { c.Close(); l.Close() })
	go func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := c.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			for _, raw := range w.serve(t.Context(), a, buf[:n], false) {
				if len(raw) > 1232 {
					var m dns.Msg
					if m.Unpack(raw) == nil {
						m.Truncated, m.Answer, m.Ns = true, nil, nil
						raw, _ = m.Pack() //nolint:errcheck // it was packed before
					}
				}
				c.WriteToUDPAddrPort(raw, from) //nolint:errcheck // it asks again
			}
		}
	}()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go w.talk(t, a, c)
		}
	}()
	return nil
}

func (w *world) talk(t testing.TB, a netip.Addr, c net.Conn) {
	defer c.Close()
	for {
		var length [2]byte
		if _, err := io.ReadFull(c, length[:]); err != nil {
			return
		}
		raw := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(c, raw); err != nil {
			return
		}
		for _, out := range w.serve(t.Context(), a, raw, true) {
			if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...)); err != nil {
				return
			}
		}
	}
}
