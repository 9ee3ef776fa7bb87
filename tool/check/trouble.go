package check

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
)

// isRefused reports whether a machine answered that nothing listens there.
func isRefused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

// isNoRoute reports whether this machine has no way to addresses of a family at all.
func isNoRoute(err error) bool {
	return errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT)
}

// isSilence reports whether nobody answered in time.
func isSilence(err error) bool {
	var n net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &n) && n.Timeout() ||
		errors.Is(err, syscall.ETIMEDOUT)
}
