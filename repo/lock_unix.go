//go:build unix

package repo

import (
	"os"
	"syscall"
)

// hold marks an open lock file as one whose owner lives: the mark ends with the process. It
// fails where another living process has it.
func hold(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}

// isAlive reports whether there is a process of this number.
func isAlive(pid int) bool { return syscall.Kill(pid, 0) != syscall.ESRCH }
