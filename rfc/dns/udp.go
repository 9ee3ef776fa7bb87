package dns

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// maxDatagram is the longest request that is read off UDP. UPDATEs are the long ones.
const maxDatagram = 4096

// ServePacket answers the requests that come to the sockets, which it closes. It returns when
// ctx ends, after the answers in work, or when a socket fails for good.
func (s *Server) ServePacket(ctx context.Context, conns ...*net.UDPConn) error {
	s.start()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var loops, work sync.WaitGroup
	for _, c := range conns {
		context.AfterFunc(ctx, func() { c.SetReadDeadline(time.Unix(1, 0)) }) //nolint:errcheck // closed already
		loops.Go(func() {
			if err := s.packetLoop(ctx, c, &work); err != nil {
				cancel(err)
			}
		})
	}
	loops.Wait()
	work.Wait()
	for _, c := range conns {
		c.Close()
	}
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

func (s *Server) packetLoop(ctx context.Context, c *net.UDPConn, work *sync.WaitGroup) error {
	sock := newSocket(c)
	buf := make([]byte, maxDatagram)
	oob := make([]byte, 128)
	for failures := 0; ctx.Err() == nil; {
		n, oobn, _, peer, err := c.ReadMsgUDPAddrPort(buf, oob[:sock.oobSize])
		if err != nil {
			// ICMP errors and lack of buffers come and go; a closed socket does not.
			if failures++; ctx.Err() == nil && (errors.Is(err, net.ErrClosed) || failures > 1000) {
				return err
			}
			continue
		}
		failures = 0
		peer = netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port())
		if peer.Port() == 0 {
			continue
		}
		s.packet(ctx, buf[:n], peer, sock.answerTo(c, peer, oob[:oobn]), work)
	}
	return nil
}

// packet answers one request: at once where that is quick, else beside the loop.
func (s *Server) packet(ctx context.Context, wire []byte, peer netip.AddrPort, write func([]byte), work *sync.WaitGroup) {
	r := &Request{Peer: peer, Transport: UDP}
	t, refusal := s.parse(wire, r)
	if t == nil {
		if refusal != nil && s.allow(peer.Addr(), "!") == pass {
			write(refusal)
		}
		return
	}
	send := func(m *Msg, out []byte) error {
		if !t.trusted() {
			switch s.allow(peer.Addr(), kindOf(m)) {
			case slip:
				out = t.slip()
			case drop:
				return nil
			}
		}
		write(out)
		return nil
	}
	if s.quick != nil {
		if m := t.quick(); m != nil {
			send(m, t.pack(m)) //nolint:errcheck // it returns none
			return
		}
	}
	select {
	case s.pending <- struct{}{}:
	default:
		return // too many wait already; the client asks again
	}
	work.Go(func() {
		defer func() { <-s.pending }()
		t.run(ctx, send)
	})
}

// quick is Handler.Quick, contained.
func (t *task) quick() (m *Msg) {
	defer func() {
		if p := recover(); p != nil {
			t.s.report("panic", t.r, errors.New("in Quick"))
			m = NewResponse(t.r.Msg, RcodeServerFailure)
		}
	}()
	return t.s.quick.Quick(t.r)
}

func (s *Server) allow(ip netip.Addr, kind string) verdict {
	if s.Rate == nil {
		return pass
	}
	return s.Rate.judge(ip, kind, s.now())
}

// A socket knows whether answers must name the address that they come from: so it is where it
// listens on every address of the machine.
type socket struct {
	oobSize int
	six     bool
}

func newSocket(c *net.UDPConn) socket {
	local := c.LocalAddr().(*net.UDPAddr).AddrPort().Addr()
	if !local.Unmap().IsUnspecified() {
		return socket{}
	}
	if local.Is4() {
		ipv4.NewPacketConn(c).SetControlMessage(ipv4.FlagDst|ipv4.FlagInterface, true) //nolint:errcheck // without, the kernel picks
		return socket{oobSize: 128}
	}
	ipv6.NewPacketConn(c).SetControlMessage(ipv6.FlagDst|ipv6.FlagInterface, true) //nolint:errcheck // without, the kernel picks
	return socket{oobSize: 128, six: true}
}

// answerTo returns how to write to peer from the address that it wrote to.
func (s socket) answerTo(c *net.UDPConn, peer netip.AddrPort, oob []byte) func([]byte) {
	var from []byte
	if s.oobSize > 0 && s.six {
		var cm ipv6.ControlMessage
		if cm.Parse(oob) == nil && cm.Dst != nil {
			from = (&ipv6.ControlMessage{Src: cm.Dst, IfIndex: linkOnly(cm.Dst, cm.IfIndex)}).Marshal()
		}
	} else if s.oobSize > 0 {
		var cm ipv4.ControlMessage
		if cm.Parse(oob) == nil && cm.Dst != nil {
			from = (&ipv4.ControlMessage{Src: cm.Dst}).Marshal()
		}
	}
	return func(wire []byte) {
		c.WriteMsgUDPAddrPort(wire, from, peer) //nolint:errcheck // the client asks again
	}
}

// linkOnly names the interface for link-local addresses, which say nothing without it.
func linkOnly(ip net.IP, index int) int {
	if ip.IsLinkLocalUnicast() {
		return index
	}
	return 0
}
