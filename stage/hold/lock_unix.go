//go:build unix

package hold

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

// lock keeps other processes from sending what is held until the function that it returns is called.
// It is nil when another one is at it.
func (s *Store) lock() (func(), error) {
	f, err := os.OpenFile(filepath.Join(s.dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, syscall.EINTR) {
			return nil, f.Close()
		}
		return nil, errors.Join(err, f.Close())
	}
	return func() { f.Close() }, nil
}
