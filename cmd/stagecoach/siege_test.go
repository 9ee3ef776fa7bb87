package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pelletier/go-toml/v2"
	"golang.org/x/crypto/argon2"
)

// The siege: attacks on the whole running service over real sockets. What follows is what
// all of them use.

// An attacker is an SMTP client that says what it is told, octet by octet.
type attacker struct {
	conn net.Conn
	r    *bufio.Reader
}

// stranger returns the n-th of many addresses, each in a network of its own.
func stranger(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, byte(100 + n>>8&63), byte(n), 9})
}

// attack connects from an address, under TLS when the port is that of submissions, and reads
// the greeting.
func attack(ctx context.Context, from netip.Addr, to string, config *tls.Config) (*attacker, reply, error) {
	d := net.Dialer{Timeout: 10 * time.Second}
	if from.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	}
	conn, err := d.DialContext(ctx, "tcp", to)
	if err != nil {
		return nil, reply{}, err
	}
	conn.SetDeadline(time.Now().Add(2 * time.Minute))
	if config != nil {
		conn = tls.Client(conn, config)
	}
	a := &attacker{conn, bufio.NewReader(conn)}
	greeting, err := a.reply()
	if err != nil {
		conn.Close()
		return nil, greeting, err
	}
	return a, greeting, nil
}

// A reply is what a server said: its code and all of its text.
type reply struct {
	code int
	text string
}

func (r reply) String() string { return r.text }

func (r reply) good() bool { return r.code >= 200 && r.code < 400 }

func (a *attacker) reply() (reply, error) {
	var all strings.Builder
	for {
		line, err := a.r.ReadString('\n')
		if err != nil {
			return reply{0, all.String()}, err
		}
		all.WriteString(line)
		code, err := strconv.Atoi(line[:min(3, len(line))])
		if err != nil || !strings.HasSuffix(line, "\r\n") {
			return reply{}, fmt.Errorf("this is no reply: %q", line)
		}
		if len(line) < 4 || line[3] != '-' {
			return reply{code, strings.TrimSpace(all.String())}, nil
		}
	}
}

// say sends a line and returns the reply; code 0 means that the connection has ended.
func (a *attacker) say(line string) reply {
	if _, err := a.conn.Write([]byte(line + "\r\n")); err != nil {
		return reply{0, err.Error()}
	}
	r, err := a.reply()
	if err != nil {
		return reply{0, err.Error()}
	}
	return r
}

// all says lines until one is refused, and returns the last reply.
func (a *attacker) all(lines ...string) (last reply) {
	for _, line := range lines {
		if last = a.say(line); !last.good() {
			return last
		}
	}
	return last
}

// startTLS does STARTTLS and says EHLO again.
func (a *attacker) startTLS(config *tls.Config) error {
	if r := a.all("EHLO siege.example", "STARTTLS"); r.code != 220 {
		return errors.New(r.text)
	}
	a.conn = tls.Client(a.conn, config)
	a.r.Reset(a.conn)
	if r := a.say("EHLO siege.example"); r.code != 250 {
		return errors.New(r.text)
	}
	return nil
}

func (a *attacker) close() { a.conn.Close() }

// plainAuth is the command that logs in by PLAIN.
func plainAuth(user, password string) string {
	return "AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+password))
}

func (w *world) clientTLS() *tls.Config { return &tls.Config{ServerName: w.host, RootCAs: w.CA.Pool()} }

// mustAttack fails the test when there is no greeting.
func (w *world) mustAttack(t *testing.T, from netip.Addr, to string) *attacker {
	t.Helper()
	var config *tls.Config
	if to == w.at(465) {
		config = w.clientTLS()
	}
	a, greeting, err := attack(t.Context(), from, to, config)
	if err != nil || greeting.code != 220 {
		t.Fatalf("%s: %v %v", to, greeting, err)
	}
	t.Cleanup(a.close)
	return a
}

// login connects to 465 and logs Ann in.
func (w *world) login(t *testing.T, from netip.Addr) *attacker {
	t.Helper()
	a := w.mustAttack(t, from, w.at(465))
	if r := a.all("EHLO siege.example", plainAuth("ann@"+w.domain, w.password)); r.code != 235 {
		t.Fatal(r)
	}
	return a
}

// cheapLogin gives Ann a password hash that costs little, where a test is not about its cost
// and logs in often. It must come before the service starts.
func (w *world) cheapLogin(t *testing.T, target string) { w.loginOfCost(t, target, 1<<10) }

// loginOfCost gives Ann a password hash that takes so many KiB.
func (w *world) loginOfCost(t *testing.T, target string, memory uint32) {
	t.Helper()
	salt := []byte("sixteen octets..")
	hash := argon2.IDKey([]byte(w.password), salt, 1, memory, 1, 32)
	text := func(b []byte) string { return base64.RawStdEncoding.EncodeToString(b) }
	user := fmt.Sprintf(`{"targets":[%q],"password":"$argon2id$v=19$m=%d,t=1,p=1$%s$%s"}`, target, memory, text(salt), text(hash))
	if err := os.WriteFile(w.path("users/ann"), []byte(user), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A lockedBuffer takes a log that is read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// serveProcess runs the service as a process of its own, so that what it uses can be
// measured. prefix is a command that runs it, if any.
func serveProcess(t *testing.T, w *world, change func(*config), prefix ...string) (pid int, log *lockedBuffer) {
	t.Helper()
	cfg, err := w.config()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Log.Level = "info"
	change(cfg)
	text, err := toml.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.path("siege.toml"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	args := append(prefix, os.Args[0], "serve", "--config", w.path("siege.toml"))
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	log = new(lockedBuffer)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the service ended with %v\n%.4000s", err, log)
		}
	})
	waitFor(t, w.mx(), log)
	return cmd.Process.Pid, log
}
