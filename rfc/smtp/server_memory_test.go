package smtp

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var idle = flag.Int("idle", 500, "connections that TestIdleMemory holds")

// serveEnv makes the test binary a server, so that its memory can be told from that of the
// clients.
const serveEnv = "SMTP_TEST_SERVE"

func TestMain(m *testing.M) {
	if kind := os.Getenv(serveEnv); kind != "" {
		serveIdle(kind)
		return
	}
	os.Exit(m.Run())
}

// serveIdle says where it listens and serves until its input ends.
func serveIdle(kind string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr())
	s := &Server{Name: "mx.example", Next: &box{}, TLS: testTLS(), Limits: Limits{Connections: -1, PerAddress: -1, PerNetwork: -1, Rate: -1}}
	if kind == "tls" {
		l = tls.NewListener(l, ServerTLS(testTLS()))
	}
	go s.Serve(context.Background(), l) //nolint:errcheck // the process ends with its parent
	os.Stdin.Read(make([]byte, 1))      //nolint:errcheck // that is the end
}

// A connection that waits, even in the midst of a long line, costs little memory, of all
// kinds together: what the system says that the process holds.
func TestIdleMemory(t *testing.T) {
	if testing.Short() || raceDetector() {
		t.Skip("takes seconds, and memory of its own under the race detector")
	}
	for kind, limit := range map[string]int{"plain": 12 << 10, "tls": 40 << 10, "long line": 64 << 10} {
		t.Run(kind, func(t *testing.T) {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), serveEnv+"="+kind)
			in, _ := cmd.StdinPipe()
			out, _ := cmd.StdoutPipe()
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer cmd.Wait() //nolint:errcheck // it ends as it may
			defer in.Close()
			addr, err := bufio.NewReader(out).ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			hold(t, strings.TrimSpace(addr), kind, 20)
			before := resident(t, cmd.Process.Pid)
			hold(t, strings.TrimSpace(addr), kind, *idle)
			time.Sleep(100 * time.Millisecond)
			each := (resident(t, cmd.Process.Pid) - before) / *idle
			t.Logf("%d connections, %d octets each", *idle, each)
			if each > limit {
				t.Errorf("%d octets for a connection, more than %d", each, limit)
			}
		})
	}
}

func raceDetector() bool {
	info, _ := debug.ReadBuildInfo()
	return info != nil && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// hold opens n connections, each of which said EHLO.
func hold(t *testing.T, addr, kind string, n int) {
	t.Helper()
	buf := make([]byte, 1000)
	for i := range n {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, byte(i/5000), 1)}}
		c, err := d.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if kind == "tls" {
			c = tls.Client(c, &tls.Config{InsecureSkipVerify: true})
		}
		c.SetDeadline(time.Now().Add(time.Minute))
		if _, err := c.Read(buf); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte(hi)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(buf); err != nil {
			t.Fatal(err)
		}
		if kind == "long line" {
			if _, err := c.Write(bytes.Repeat([]byte("x"), maxCommand)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// resident returns the octets of memory that a process holds.
func resident(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Skip("no /proc here")
	}
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	kB, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kB << 10
}
