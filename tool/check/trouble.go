package check

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// errTimeUp says that there was no time left to wait for an answer. It is not the silence of
// the other side.
var errTimeUp = errors.New("the time for the check is up")

// inTime returns err, or errTimeUp where ctx ended before.
func inTime(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return errTimeUp
	}
	return err
}

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

// mayPass reports whether an error of a conversation may be none at another time: silence, or a
// connection that broke.
func mayPass(err error) bool {
	for _, e := range []error{errTimeUp, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, e) {
			return true
		}
	}
	return isSilence(err)
}
