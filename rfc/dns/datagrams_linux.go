//go:build linux && (amd64 || arm64)

package dns

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"syscall"
	"unsafe"
)

// Datagrams of Linux are read and written by recvmmsg and sendmmsg on memory that is made once.
// The address of a peer stays as the kernel wrote it, which is how it is wanted back. The calls
// do not wait, the poller does; so the scheduler need not hear of them, which otherwise gives
// the processor away in the middle of a batch.
type mmsg struct {
	conn    syscall.RawConn
	in, out [batch]mmsghdr
	iovs    [2][batch]syscall.Iovec
	peers   [batch]syscall.RawSockaddrInet6
	octets  [batch][maxDatagram]byte
	oobs    [batch][oobSize]byte
	every   bool

	queued, sent, count int
	errno               syscall.Errno
	doRead, doWrite     func(fd uintptr) bool
}

type mmsghdr struct {
	syscall.Msghdr
	n uint32
	_ [4]byte
}

func newDatagrams(s socket) (datagrams, error) {
	conn, err := s.SyscallConn()
	if err != nil {
		return nil, err
	}
	m := &mmsg{conn: conn, every: s.every}
	for i := range batch {
		m.iovs[0][i].Base = &m.octets[i][0]
		m.iovs[0][i].SetLen(maxDatagram)
		m.in[i].Iov, m.in[i].Iovlen = &m.iovs[0][i], 1
		m.in[i].Name = (*byte)(unsafe.Pointer(&m.peers[i]))
		m.out[i].Iov, m.out[i].Iovlen = &m.iovs[1][i], 1
	}
	m.doRead = func(fd uintptr) bool {
		m.count, m.errno = mmsgCall(syscall.SYS_RECVMMSG, fd, m.in[:])
		return m.errno != syscall.EAGAIN
	}
	m.doWrite = func(fd uintptr) bool {
		m.count, m.errno = mmsgCall(sysSendmmsg, fd, m.out[m.sent:m.queued])
		return m.errno != syscall.EAGAIN
	}
	return m, nil
}

func mmsgCall(call, fd uintptr, ms []mmsghdr) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall6(call, fd, uintptr(unsafe.Pointer(&ms[0])), uintptr(len(ms)), syscall.MSG_DONTWAIT, 0, 0)
		if errno != syscall.EINTR {
			return int(n), errno
		}
	}
}

func (m *mmsg) read() (int, error) {
	for i := range m.in {
		m.in[i].Namelen = syscall.SizeofSockaddrInet6
		if m.every {
			m.in[i].Control = &m.oobs[i][0]
			m.in[i].SetControllen(oobSize)
		}
	}
	if err := m.conn.Read(m.doRead); err != nil {
		return 0, err
	}
	if m.errno != 0 {
		return 0, m.errno
	}
	return m.count, nil
}

func (m *mmsg) get(i int) (wire []byte, peer netip.AddrPort, oob []byte) {
	in := &m.in[i]
	if m.every {
		oob = m.oobs[i][:min(int(in.Controllen), oobSize)]
	}
	return m.octets[i][:min(int(in.n), maxDatagram)], addrPortOf(&m.peers[i]), oob
}

// addrPortOf reads an address of the kernel's; the zero one for what is neither IPv4 nor IPv6.
func addrPortOf(sa *syscall.RawSockaddrInet6) netip.AddrPort {
	raw := (*[syscall.SizeofSockaddrInet6]byte)(unsafe.Pointer(sa))
	port := binary.BigEndian.Uint16(raw[2:])
	switch sa.Family {
	case syscall.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(raw[4:])), port)
	case syscall.AF_INET6:
		ip := netip.AddrFrom16(sa.Addr).Unmap()
		if sa.Scope_id != 0 {
			ip = ip.WithZone(strconv.Itoa(int(sa.Scope_id)))
		}
		return netip.AddrPortFrom(ip, port)
	}
	return netip.AddrPort{}
}

func (m *mmsg) answer(i int, response, oob []byte) {
	if len(response) == 0 {
		return
	}
	out := &m.out[m.queued]
	m.iovs[1][m.queued].Base = &response[0]
	m.iovs[1][m.queued].SetLen(len(response))
	out.Name, out.Namelen = m.in[i].Name, m.in[i].Namelen
	out.Control = nil
	out.SetControllen(len(oob))
	if len(oob) > 0 {
		out.Control = &oob[0]
	}
	m.queued++
}

func (m *mmsg) send() {
	for m.sent = 0; m.sent < m.queued; {
		if m.conn.Write(m.doWrite) != nil {
			break // closed
		}
		if m.errno != 0 {
			m.count = 1 // the first of them is what cannot be sent
		}
		m.sent += m.count
	}
	m.queued = 0
}
