package queue

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"

	"stagecoach/mail"
)

// What is wanting on our side is not held against the destination.
func TestReached(t *testing.T) {
	down := mail.Defer(451, "4.4.1", "no answer").Because(errors.New("timed out"))
	noFiles := mail.Defer(451, "4.4.1", "no answer").Because(&net.OpError{Op: "dial", Err: os.NewSyscallError("socket", syscall.EMFILE)})
	yes, no := true, false
	for name, c := range map[string]struct {
		results []error
		want    *bool
	}{
		"arrived":                   {[]error{nil}, &yes},
		"refused":                   {[]error{mail.Reject(550, "5.1.1", "unknown")}, &yes},
		"down":                      {[]error{down}, &no},
		"no files":                  {[]error{noFiles}, nil},
		"no files for one of two":   {[]error{noFiles, down}, &no},
		"no files, but one arrived": {[]error{noFiles, nil}, &yes},
	} {
		got := reachedBy(c.results)
		if (got == nil) != (c.want == nil) || got != nil && *got != *c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
