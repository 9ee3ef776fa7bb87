//go:build linux && !mips && !mipsle && !mips64 && !mips64le

package dns

import "syscall"

const canReusePort = true

// soReusePort is SO_REUSEPORT, which package syscall leaves out on some machines.
const soReusePort = 0xf

func reusePort(fd uintptr) error {
	return syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, soReusePort, 1)
}
