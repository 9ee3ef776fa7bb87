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

// A batcher is the socket of either family of addresses.
type batcher interface {
	ReadBatch(ms []ipv4.Message, flags int) (int, error)
	WriteBatch(ms []ipv4.Message, flags int) (int, error)
}

func (s *Server) packetLoop(ctx context.Context, c *net.UDPConn, work *sync.WaitGroup) error {
	sock := newSocket(c)
	in := make([]ipv4.Message, batch)
	for i := range in {
		in[i].Buffers = [][]byte{make([]byte, maxDatagram)}
		in[i].OOB = make([]byte, sock.oobSize)
	}
	out := make([]ipv4.Message, 0, batch)
	var plain Plain
	room := make([][]byte, batch) // for what is answered from memory
	for i := range room {
		room[i] = make([]byte, 0, maxDatagram)
	}
	for failures := 0; ctx.Err() == nil; {
		n, err := sock.ReadBatch(in, 0)
		if err != nil {
			// ICMP errors and lack of buffers come and go; a closed socket does not.
			if failures++; ctx.Err() == nil && (errors.Is(err, net.ErrClosed) || failures > 1000) {
				return err
			}
			continue
		}
		failures = 0
		out = out[:0]
		for i, m := range in[:n] {
			addr, ok := m.Addr.(*net.UDPAddr)
			if !ok || addr.Port == 0 {
				continue
			}
			reply := ipv4.Message{Addr: addr, OOB: sock.from(m.OOB[:m.NN])}
			peer, wire := peerOf(addr), m.Buffers[0][:m.N]
			response, known := s.recall(wire, peer.Addr(), &plain, room[i])
			if !known {
				response = s.packet(ctx, wire, peer, work, sock, reply)
			}
			if response != nil {
				reply.Buffers = [][]byte{response}
				out = append(out, reply)
			}
		}
		sock.send(out)
	}
	return nil
}

func peerOf(addr *net.UDPAddr) netip.AddrPort {
	ap := addr.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// packet returns the answer to a request that is quick to answer; any other is answered beside
// the loop.
func (s *Server) packet(ctx context.Context, wire []byte, peer netip.AddrPort, work *sync.WaitGroup, sock socket, reply ipv4.Message) []byte {
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
				reply.Buffers = [][]byte{wire}
				sock.send([]ipv4.Message{reply})
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
	batcher
	oobSize int
	six     bool
}

func newSocket(c *net.UDPConn) socket {
	local := c.LocalAddr().(*net.UDPAddr).AddrPort().Addr()
	four, six := ipv4.NewPacketConn(c), ipv6.NewPacketConn(c)
	switch {
	case local.Unmap().Is4() && !local.IsUnspecified():
		return socket{batcher: four}
	case !local.IsUnspecified():
		return socket{batcher: six, six: true}
	case local.Is4():
		four.SetControlMessage(ipv4.FlagDst|ipv4.FlagInterface, true) //nolint:errcheck // without, the kernel picks
		return socket{batcher: four, oobSize: 128}
	}
	// IPv4 clients come to this one too, with control messages of their own.
	four.SetControlMessage(ipv4.FlagDst|ipv4.FlagInterface, true) //nolint:errcheck // without, the kernel picks
	six.SetControlMessage(ipv6.FlagDst|ipv6.FlagInterface, true)  //nolint:errcheck // without, the kernel picks
	return socket{batcher: six, oobSize: 128, six: true}
}

// from returns the control message by which an answer leaves from where the request came to.
func (s socket) from(oob []byte) []byte {
	if s.oobSize == 0 {
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

// send writes datagrams. What cannot be sent is lost, as it may be on the way: the client asks
// again.
func (s socket) send(ms []ipv4.Message) {
	for len(ms) > 0 {
		n, err := s.WriteBatch(ms, 0)
		if err != nil && errors.Is(err, net.ErrClosed) {
			return
		}
		ms = ms[min(max(n, 1), len(ms)):]
	}
}

// linkOnly names the interface for link-local addresses, which say nothing without it.
func linkOnly(ip net.IP, index int) int {
	if ip.IsLinkLocalUnicast() {
		return index
	}
	return 0
}
