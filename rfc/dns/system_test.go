package dns

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestSystemReloads(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	now := time.Unix(1e9, 0)
	s := &system{path: path, now: func() time.Time { return now }}
	expect := func(want string, trust bool) {
		t.Helper()
		c := s.current()
		if got := c.Servers[0].String(); got != want || c.Trust != trust {
			t.Errorf("%s, trusted %v; want %s", got, c.Trust, want)
		}
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	expect("udp:127.0.0.1:53", false)
	write("search x\nnameserver 192.0.2.1 # a\nnameserver fe80::1%lo\noptions trust-ad timeout:1\n")
	expect("udp:127.0.0.1:53", false)
	now = now.Add(6 * time.Second)
	expect("udp:192.0.2.1:53", true)
	if len(s.client.Servers) != 2 || s.client.Timeout != time.Second {
		t.Errorf("%+v", s.client)
	}
	write("nameserver 2001:db8::1\noptions use-vc\n")
	now = now.Add(6 * time.Second)
	expect("tcp:[2001:db8::1]:53", false)
	os.Remove(path)
	now = now.Add(6 * time.Second)
	expect("tcp:[2001:db8::1]:53", false)
}
