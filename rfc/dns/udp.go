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

// batch is how many datagrams are read or written by one call to the system, where it can
// (recvmmsg and sendmmsg of Linux).
const batch = 32

// oobSize is room for the control message that says where a datagram came to.
const oobSize = 128

// Datagrams are read from a socket and answered a batch at a time.
type datagrams interface {
	// read waits for datagrams, and returns how many came.
	read() (int, error)
	// get returns one of them, good until the next read, and the control message with it.
	get(i int) (wire []byte, peer netip.AddrPort, oob []byte)
	// answer has the next send take a response to its peer. It is not copied.
	answer(i int, response, oob []byte)
	// send sends. What cannot be sent is lost, as it may be on the way: the client asks again.
	send()
}

func (s *Server) packetLoop(ctx context.Context, c *net.UDPConn, work *sync.WaitGroup) error {
	sock := newSocket(c)
	box, err := newDatagrams(sock)
	if err != nil {
		return err
	}
	var plain Plain
	room := make([][]byte, batch) // for what is answered from memory
	for i := range room {
		room[i] = make([]byte, 0, maxDatagram)
	}
	for failures := 0; ctx.Err() == nil; {
		n, err := box.read()
		if err != nil {
			// ICMP errors and lack of buffers come and go; a closed socket does not.
			if failures++; ctx.Err() == nil && (errors.Is(err, net.ErrClosed) || failures > 1000) {
				return err
			}
			continue
		}
		failures = 0
		for i := range n {
			wire, peer, oob := box.get(i)
			if peer.Port() == 0 {
				continue
			}
			from := sock.from(oob)
			response, known := s.recall(wire, peer.Addr(), &plain, room[i])
			if !known {
				response = s.packet(ctx, wire, peer, work, func(late []byte) {
					c.WriteMsgUDPAddrPort(late, from, peer) //nolint:errcheck // as send loses
				})
			}
			if response != nil {
				box.answer(i, response, from)
			}
		}
		box.send()
	}
	return nil
}

// packet returns the answer to a request that is quick to answer; any other is answered beside
// the loop, by send.
func (s *Server) packet(ctx context.Context, wire []byte, peer netip.AddrPort, work *sync.WaitGroup, send func([]byte)) []byte {
	r := &Request{Peer: peer, Transport: UDP}
	t, refusal := s.parse(wire, r)
	if t == nil {
		if refusal != nil && s.allow(peer.Addr(), kind{name: "!"}) == pass {
			return refusal
		}
		return nil
	}
	if s.quick != nil {
		if m := t.quick(); m != nil {
			return t.judged(m, t.pack(m))
		}
	}
	select {
	case s.pending <- struct{}{}:
	default:
		return nil // too many wait already; the client asks again
	}
	work.Go(func() {
		defer func() { <-s.pending }()
		t.run(ctx, func(m *Msg, wire []byte) error {
			if wire = t.judged(m, wire); wire != nil {
				send(wire)
			}
			return nil
		})
	})
	return nil
}

// judged returns what the rate limit leaves of a response.
func (t *task) judged(m *Msg, wire []byte) []byte {
	if t.s.Rate == nil || t.trusted() {
		return wire
	}
	switch t.s.allow(t.r.Peer.Addr(), kindOf(m)) {
	case slip:
		return t.slip()
	case drop:
		return nil
	}
	return wire
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

func (s *Server) allow(ip netip.Addr, k kind) verdict {
	if s.Rate == nil {
		return pass
	}
	return s.Rate.judge(ip, k, s.now())
}

// A socket knows whether answers must name the address that they come from: so it is where it
// listens on every address of the machine.
type socket struct {
	*net.UDPConn
	every bool
	six   bool
}

func newSocket(c *net.UDPConn) socket {
	local := c.LocalAddr().(*net.UDPAddr).AddrPort().Addr()
	s := socket{UDPConn: c, every: local.IsUnspecified(), six: !local.Unmap().Is4()}
	if s.every { // IPv4 clients come to a socket for IPv6 too, with control messages of their own
		ipv4.NewPacketConn(c).SetControlMessage(ipv4.FlagDst|ipv4.FlagInterface, true) //nolint:errcheck // without, the kernel picks
	}
	if s.every && s.six {
		ipv6.NewPacketConn(c).SetControlMessage(ipv6.FlagDst|ipv6.FlagInterface, true) //nolint:errcheck // without, the kernel picks
	}
	return s
}

// from returns the control message by which an answer leaves from where the request came to.
func (s socket) from(oob []byte) []byte {
	if !s.every {
		return nil
	}
	var four ipv4.ControlMessage
	if four.Parse(oob) == nil && four.Dst.To4() != nil {
		return (&ipv4.ControlMessage{Src: four.Dst}).Marshal()
	}
	var six ipv6.ControlMessage
	if s.six && six.Parse(oob) == nil && six.Dst != nil {
		return (&ipv6.ControlMessage{Src: six.Dst, IfIndex: linkOnly(six.Dst, six.IfIndex)}).Marshal()
	}
	return nil
}

// linkOnly names the interface for link-local addresses, which say nothing without it.
func linkOnly(ip net.IP, index int) int {
	if ip.IsLinkLocalUnicast() {
		return index
	}
	return 0
}
