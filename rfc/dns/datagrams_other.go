//go:build !linux || !(amd64 || arm64)

package dns

import (
	"net"
	"net/netip"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// A batcher is the socket of either family of addresses.
type batcher interface {
	ReadBatch(ms []ipv4.Message, flags int) (int, error)
	WriteBatch(ms []ipv4.Message, flags int) (int, error)
}

type batches struct {
	batcher
	in, out []ipv4.Message
}

func newDatagrams(s socket) (datagrams, error) {
	b := &batches{batcher: ipv4.NewPacketConn(s.UDPConn), in: make([]ipv4.Message, batch)}
	if s.six {
		b.batcher = ipv6.NewPacketConn(s.UDPConn)
	}
	for i := range b.in {
		b.in[i].Buffers = [][]byte{make([]byte, maxDatagram)}
		b.in[i].OOB = make([]byte, oobSize)
	}
	return b, nil
}

func (b *batches) read() (int, error) { return b.ReadBatch(b.in, 0) }

func (b *batches) get(i int) (wire []byte, peer netip.AddrPort, oob []byte) {
	m := &b.in[i]
	if addr, ok := m.Addr.(*net.UDPAddr); ok {
		ap := addr.AddrPort()
		peer = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return m.Buffers[0][:m.N], peer, m.OOB[:m.NN]
}

func (b *batches) answer(i int, response, oob []byte) {
	b.out = append(b.out, ipv4.Message{Addr: b.in[i].Addr, Buffers: [][]byte{response}, OOB: oob})
}

func (b *batches) send() {
	for ms := b.out; len(ms) > 0; {
		n, _ := b.WriteBatch(ms, 0)
		ms = ms[min(max(n, 1), len(ms)):]
	}
	b.out = b.out[:0]
}
