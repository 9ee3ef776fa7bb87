package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// becomeOwner has root go on as the owner of a repository on this machine. What root writes
// there, the service, which runs as the owner, could not write again.
func becomeOwner(remote string) error {
	path := onThisMachine(remote)
	if os.Geteuid() != 0 || path == "" {
		return nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || owner.Uid == 0 {
		return nil
	}
	err = errors.Join(syscall.Setgroups(nil), syscall.Setgid(int(owner.Gid)), syscall.Setuid(int(owner.Uid)))
	if err != nil {
		return fmt.Errorf("becoming the owner of %s: %w", path, err)
	}
	return nil
}
