package smtp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"strconv"
	"strings"
)

// A proxyHeader is what a PROXY header says (the PROXY protocol specification of HAProxy,
// versions 1 and 2).
type proxyHeader struct {
	known    bool // false: LOCAL, UNKNOWN or a family without ports; the connection's own addresses hold
	from, to netip.AddrPort
}

var errProxy = errors.New("smtp: no valid PROXY header")

const (
	proxySignature = "\r\n\r\n\x00\r\nQUIT\n"
	maxProxyLine   = 107
	maxProxyBlock  = 2048 // addresses and TLVs of version 2
)

// readProxyHeader reads one header and not an octet more.
func readProxyHeader(r io.Reader) (proxyHeader, error) {
	var start [len(proxySignature)]byte
	if _, err := io.ReadFull(r, start[:]); err != nil {
		return proxyHeader{}, errProxy
	}
	if string(start[:]) == proxySignature {
		return readProxyV2(r)
	}
	if !bytes.HasPrefix(start[:], []byte("PROXY ")) {
		return proxyHeader{}, errProxy
	}
	line := append(make([]byte, 0, maxProxyLine), start[:]...)
	for !bytes.HasSuffix(line, []byte("\r\n")) {
		if len(line) == maxProxyLine {
			return proxyHeader{}, errProxy
		}
		line = line[:len(line)+1]
		if _, err := io.ReadFull(r, line[len(line)-1:]); err != nil {
			return proxyHeader{}, errProxy
		}
	}
	return parseProxyV1(string(line[len("PROXY ") : len(line)-2]))
}

func parseProxyV1(s string) (proxyHeader, error) {
	words := strings.Split(s, " ")
	if words[0] == "UNKNOWN" {
		return proxyHeader{}, nil
	}
	if len(words) != 5 || words[0] != "TCP4" && words[0] != "TCP6" {
		return proxyHeader{}, errProxy
	}
	from, ok1 := proxyAddress(words[1], words[3], words[0] == "TCP4")
	to, ok2 := proxyAddress(words[2], words[4], words[0] == "TCP4")
	if !ok1 || !ok2 {
		return proxyHeader{}, errProxy
	}
	return proxyHeader{true, from, to}, nil
}

func proxyAddress(host, port string, four bool) (netip.AddrPort, bool) {
	a, err := netip.ParseAddr(host)
	p, perr := strconv.ParseUint(port, 10, 16)
	if err != nil || perr != nil || a.Is4() != four || a.Zone() != "" {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(p)), true
}

func readProxyV2(r io.Reader) (proxyHeader, error) {
	var fixed [4]byte
	if _, err := io.ReadFull(r, fixed[:]); err != nil {
		return proxyHeader{}, errProxy
	}
	length := int(binary.BigEndian.Uint16(fixed[2:]))
	if length > maxProxyBlock || fixed[0]>>4 != 2 {
		return proxyHeader{}, errProxy
	}
	block := make([]byte, length)
	if _, err := io.ReadFull(r, block); err != nil {
		return proxyHeader{}, errProxy
	}
	switch fixed[0] & 15 {
	case 0: // LOCAL
		return proxyHeader{}, nil
	case 1: // PROXY
	default:
		return proxyHeader{}, errProxy
	}
	size := 0
	switch fixed[1] {
	case 0x11: // TCP over IPv4
		size = 4
	case 0x21: // TCP over IPv6
		size = 16
	default:
		return proxyHeader{}, nil
	}
	if length < 2*size+4 {
		return proxyHeader{}, errProxy
	}
	from, _ := netip.AddrFromSlice(block[:size])
	to, _ := netip.AddrFromSlice(block[size : 2*size])
	ports := block[2*size:]
	return proxyHeader{
		known: true,
		from:  netip.AddrPortFrom(from.Unmap(), binary.BigEndian.Uint16(ports)),
		to:    netip.AddrPortFrom(to.Unmap(), binary.BigEndian.Uint16(ports[2:])),
	}, nil
}
