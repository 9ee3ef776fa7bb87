package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
)

// listen opens a listener: "HOST:PORT", ":PORT", or "unix:PATH" (mode 0660; a socket that a
// dead process left is replaced). MPTCP stays off, since sandboxes that limit TCP do not see it.
func listen(ctx context.Context, address string) (net.Listener, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	path, ok := strings.CutPrefix(address, "unix:")
	if !ok {
		l, err := lc.Listen(ctx, "tcp", address)
		if err != nil {
			return nil, fmt.Errorf("listen on %s: %w", address, err)
		}
		return l, nil
	}
	if err := removeDeadSocket(path); err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	l, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

func removeDeadSocket(path string) error {
	info, err := os.Lstat(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode()&os.ModeSocket == 0 {
		return fmt.Errorf("%s exists and is no socket", path)
	}
	if c, err := net.Dial("unix", path); err == nil {
		c.Close()
		return fmt.Errorf("another process listens on %s", path)
	}
	return os.Remove(path)
}

// dialer returns a function that connects to a stage: "IP", "HOST:PORT" (25 when no port is
// given) or "unix:PATH".
func dialer(address string) (func(context.Context) (net.Conn, error), error) {
	network, target := "tcp", address
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, target = "unix", path
	} else if _, _, err := net.SplitHostPort(address); err != nil {
		target = net.JoinHostPort(strings.Trim(address, "[]"), "25")
	}
	if target == "" {
		return nil, fmt.Errorf("%q is no destination: write IP, HOST:PORT or unix:PATH", address)
	}
	return func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		d.SetMultipathTCP(false)
		return d.DialContext(ctx, network, target)
	}, nil
}
