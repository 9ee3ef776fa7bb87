package scenario

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stagecoach/rfc/dns"
)

func mustAddr(s string) netip.Addr { return netip.MustParseAddr(s) }

// listen has all servers of the tree answer at port 53, side by side, without scripts.
func (t *tree) listen(tb testing.TB) {
	tb.Helper()
	for a, s := range t.world.servers {
		at := netip.AddrPortFrom(a, 53)
		c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		if err != nil {
			tb.Skipf("port 53 is not ours: %v", err)
		}
		tb.Cleanup(func() { c.Close() })
		l, err := net.Listen("tcp", at.String())
		if err != nil {
			tb.Skipf("port 53 is not ours: %v", err)
		}
		tb.Cleanup(func() { l.Close() })
		go s.datagrams(c, t.delay)
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go s.talk(c, t.delay)
			}
		}()
	}
}

// reply answers one query of a peer, within a limit; nil is silence.
func (s *server) reply(query []byte, limit int) []byte {
	var q dns.Msg
	if q.Unpack(query) != nil || len(q.Question) != 1 {
		return nil
	}
	r := s.respond(&q)
	r.Compress = true
	raw, err := r.Pack()
	if err == nil && len(raw) > limit {
		r.Truncated, r.Answer, r.Ns = true, nil, nil
		raw, err = r.Pack()
	}
	if err != nil {
		return nil
	}
	return raw
}

func (s *server) datagrams(c *net.UDPConn, delay time.Duration) {
	buf := make([]byte, 4096)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if raw := s.reply(buf[:n], dns.UDPSize); raw != nil {
			time.AfterFunc(delay, func() { c.WriteToUDPAddrPort(raw, from) }) //nolint:errcheck // it asks again
		}
	}
}

func (s *server) talk(c net.Conn, delay time.Duration) {
	defer c.Close()
	for {
		c.SetDeadline(time.Now().Add(30 * time.Second)) //nolint:errcheck // it is open
		var length [2]byte
		if _, err := io.ReadFull(c, length[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(c, query); err != nil {
			return
		}
		raw := s.reply(query, 65535)
		if raw == nil {
			return
		}
		time.Sleep(delay)
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(raw))), raw...)); err != nil {
			return
		}
	}
}

// startBIND runs BIND over the world, and returns how to ask it.
func startBIND(t testing.TB, program string, w *world) dns.Exchanger {
	t.Helper()
	anchors, err := w.anchor(".")
	if err != nil {
		t.Fatal(err)
	}
	ds := anchors[0].(*dns.DSRecord)
	dir := t.TempDir()
	hints := fmt.Sprintf(". 3600 NS ns1.root.\nns1.root. 3600 A %s\n", w.zones["."].options["at"])
	if err := os.WriteFile(filepath.Join(dir, "hints"), []byte(hints), 0o644); err != nil {
		t.Fatal(err)
	}
	at := freePort(t)
	config := fmt.Sprintf(`options {
	directory %q;
	pid-file none;
	session-keyfile none;
	lock-file none;
	listen-on port %d { 127.0.0.1; };
	listen-on-v6 { none; };
	recursion yes;
	allow-query { any; };
	dnssec-validation yes;
	empty-zones-enable no;
	servfail-ttl 1;
	lame-ttl 1;
	prefetch 0;
	max-cache-size 512m;
	recursive-clients 1000;
	notify no;
};
controls { };
logging { category default { null; }; category lame-servers { null; }; };
trust-anchors { . static-ds %d %d %d "%s"; };
zone "." { type hint; file "hints"; };
`, dir, at.Port(), ds.KeyTag, ds.Algorithm, ds.DigestType, ds.Digest)
	file := filepath.Join(dir, "named.conf")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	return startPeer(t, at, exec.Command(program, "-4", "-g", "-n", "2", "-c", file))
}

// freePort returns an address whose port is free over UDP and TCP.
func freePort(t testing.TB) netip.AddrPort {
	t.Helper()
	for range 20 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.ListenPacket("udp", l.Addr().String())
		l.Close()
		if err == nil {
			c.Close()
			return netip.MustParseAddrPort(l.Addr().String())
		}
	}
	t.Fatal("no port is free over UDP and TCP")
	return netip.AddrPort{}
}

// startPeer runs a resolver until the test ends, and waits until it answers.
func startPeer(t testing.TB, at netip.AddrPort, cmd *exec.Cmd) dns.Exchanger {
	t.Helper()
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill() //nolint:errcheck // it is gone then
		cmd.Wait()         //nolint:errcheck // killed
		if t.Failed() {
			t.Logf("%s says:\n%.4000s", cmd.Path, said.String())
		}
	})
	client := &dns.Client{Servers: []dns.Nameserver{{Transport: dns.UDP, Addr: at}}, Trust: true, Timeout: 15 * time.Second, Attempts: 1}
	for range 100 {
		short := *client
		short.Timeout = 200 * time.Millisecond
		if m, err := short.Exchange(t.Context(), dns.NewQuery("org", dns.TypeSOA)); err == nil && m.Rcode == dns.RcodeSuccess {
			return client
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("%s does not answer", cmd.Path)
	return nil
}
