package main

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/pelletier/go-toml/v2"
)

func itoa(n int) string { return strconv.Itoa(n) }

// writeConfig writes the configuration of a world as a file, with more lines on top.
func writeConfig(t *testing.T, w *world, c *config, more string) string {
	t.Helper()
	text, err := toml.Marshal(map[string]any{
		"domain": c.Domain, "name": c.Name, "state": c.State,
		"users":  map[string]any{"remote": c.Users.Remote},
		"tls":    map[string]any{"certificate": c.TLS.Certificate, "key": c.TLS.Key},
		"submit": map[string]any{"listen_tls": c.Submit.TLSListen, "listen_starttls": c.Submit.StartTLSListen},
		"verify": map[string]any{"listen": c.Verify.Listen},
		"sign":   map[string]any{"selector": c.Sign.Selector},
		"resolver": map[string]any{"hints": c.Resolver.Hints, "port": c.Resolver.Port, "trust": c.Resolver.Trust, "open": c.Resolver.Open,
			"private": true, "no_ipv6": true, "control": ""},
		"relay": map[string]any{"nameserver": c.Relay.Nameserver, "port": c.Relay.Port, "source": c.Relay.Source,
			"allow_loopback": true},
	})
	if err != nil {
		t.Fatal(err)
	}
	file := w.path("config.toml")
	if err := os.WriteFile(file, append([]byte(more), text...), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// waitFor waits until something listens on an address.
func waitFor(t *testing.T, address string, log fmt.Stringer) {
	t.Helper()
	for range 400 {
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Fatalf("nothing listens on %s:\n%s", address, log)
}
