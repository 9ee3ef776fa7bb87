//go:build !linux || mips || mipsle || mips64 || mips64le

package dns

const canReusePort = false

func reusePort(uintptr) error { return nil }
