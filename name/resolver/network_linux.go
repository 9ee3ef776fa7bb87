package resolver

import "syscall"

// pmtudiscOmit is IP_PMTUDISC_OMIT and IPV6_PMTUDISC_OMIT, which package syscall leaves out.
const pmtudiscOmit = 5

// dontFragment keeps a socket from believing what ICMP says of the path's MTU, by which
// forgers make answers come in fragments.
func dontFragment(network, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		if network == "udp6" {
			syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IPV6, syscall.IPV6_MTU_DISCOVER, pmtudiscOmit) //nolint:errcheck // best effort
			return
		}
		syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, syscall.IP_MTU_DISCOVER, pmtudiscOmit) //nolint:errcheck // best effort
	})
}
