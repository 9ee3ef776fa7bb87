//go:build !linux

package resolver

import "syscall"

func dontFragment(string, string, syscall.RawConn) error { return nil }
