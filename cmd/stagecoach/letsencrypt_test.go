package main

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stagecoach/lab/peer"
)

// An acmeServer is Debian's pebble, which rejects nonces, and forgets authorizations at times.
type acmeServer struct {
	directory, caFile string
	client            *http.Client
	management        string
}

// startPebble runs it. Its certificates live for so many seconds.
func startPebble(t *testing.T, dnsPort string, seconds int) *acmeServer {
	t.Helper()
	program, dir := peer.Need(t, "pebble")[0], t.TempDir()
	own, err := selfSigned([]string{"localhost"})
	if err != nil {
		t.Fatal(err)
	}
	if err := writeKey(filepath.Join(dir, "key.pem"), own.PrivateKey.(crypto.Signer)); err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: own.Certificate[0]})
	port, management := itoa(int(freePort(t, loopback))), itoa(int(freePort(t, loopback)))
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": "127.0.0.1:" + port, "managementListenAddress": "127.0.0.1:" + management, "httpPort": 5002, "tlsPort": 5001,
		"certificate": filepath.Join(dir, "cert.pem"), "privateKey": filepath.Join(dir, "key.pem"), "certificateValidityPeriod": seconds,
	}})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"cert.pem": text, "config.json": config} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(program, "-config", filepath.Join(dir, "config.json"), "-dnsserver", "127.0.0.1:"+dnsPort, "-strict")
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=20", "PEBBLE_AUTHZREUSE=50")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill() //nolint:errcheck // it has ended
		cmd.Wait()         //nolint:errcheck // it was killed
		if t.Failed() {
			t.Logf("pebble:\n%s", out.String())
		}
	})
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	waitFor(t, "127.0.0.1:"+port, &out)
	return &acmeServer{
		directory: "https://localhost:" + port + "/dir", caFile: filepath.Join(dir, "cert.pem"), management: "https://localhost:" + management,
		client: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}},
	}
}

// roots returns what its certificates are trusted by.
func (a *acmeServer) roots(t *testing.T) *x509.CertPool {
	t.Helper()
	resp, err := a.client.Get(a.management + "/roots/0")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	pool := x509.NewCertPool()
	if err != nil || !pool.AppendCertsFromPEM(text) {
		t.Fatalf("no root: %v", err)
	}
	return pool
}

// A session is one of a mail program with our server.
type session struct {
	conn net.Conn
	r    *bufio.Reader
}

func (s session) say(line, want string) error {
	s.conn.SetDeadline(time.Now().Add(20 * time.Second)) //nolint:errcheck // then the read fails
	if line != "" {
		fmt.Fprintf(s.conn, "%s\r\n", line)
	}
	for {
		got, err := s.r.ReadString('\n')
		if err != nil {
			return fmt.Errorf("%s: %w", line, err)
		}
		if !strings.HasPrefix(got, want) {
			return fmt.Errorf("%s: the answer is %q", line, got)
		}
		if got[3] == ' ' {
			return nil
		}
	}
}

// openSession opens a session under TLS from the first byte.
func openSession(address, host string, roots *x509.CertPool) (session, *x509.Certificate, error) {
	d := &net.Dialer{Timeout: 20 * time.Second}
	c, err := tls.DialWithDialer(d, "tcp", address, &tls.Config{RootCAs: roots, ServerName: host})
	if err != nil {
		return session{}, nil, err
	}
	s := session{c, bufio.NewReader(c)}
	if err = s.say("", "220"); err == nil {
		err = s.say("EHLO test.example", "250")
	}
	return s, c.ConnectionState().PeerCertificates[0], err
}

// startTLS opens one with STARTTLS, and returns what the server shows.
func startTLS(address, host string, roots *x509.CertPool) (*x509.Certificate, error) {
	c, err := net.DialTimeout("tcp", address, 20*time.Second)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	s := session{c, bufio.NewReader(c)}
	for _, step := range [][2]string{{"", "220"}, {"EHLO test.example", "250"}, {"STARTTLS", "220"}} {
		if err := s.say(step[0], step[1]); err != nil {
			return nil, err
		}
	}
	t := tls.Client(c, &tls.Config{RootCAs: roots, ServerName: host})
	if err := t.Handshake(); err != nil {
		return nil, err
	}
	return t.ConnectionState().PeerCertificates[0], nil
}

// Submission and the verifier, the issuer and the primary are processes that know each other by
// the zone alone. Their certificates come from pebble, and when one is renewed none of 200
// sessions is dropped.
func TestCertificatesOfProcesses(t *testing.T) {
	t.Parallel()
	r := newZoneRepo(t)
	r.narrow()
	r.push(map[string]string{"x25519.example": strings.Replace(zoneText(2, "mx\tA\t127.0.0.1\nsmtp\tA\t127.0.0.1\n"), "ns1\tA\t192.0.2.93", "ns1\tA\t127.0.0.1", 1)})
	p, port, _ := startPrimary(t, r.bare)
	const life = 30 // seconds
	acme := startPebble(t, port, life)
	dir := t.TempDir()
	users := filepath.Join(dir, "users")
	if err := os.Mkdir(users, 0o700); err != nil {
		t.Fatal(err)
	}
	at := func() string { return "127.0.0.1:" + itoa(int(freePort(t, loopback))) }
	next, _ := sinkServer(t)
	submissions, submission, mx := at(), at(), at()
	server := []string{"--log-level", "warn", "--dns-server", "127.0.0.1", "--dns-port", port}
	stage := func(command, host, key string, more ...string) *running {
		args := append([]string{command, "--domain", "x25519.example", "--name", host, "--destination", next, "-r", users,
			"--dns-key", keyFile(t, key), "--cert-folder", filepath.Join(dir, host)}, server...)
		return runProgram(t, append(args, more...)...)
	}
	s := stage("submission", "smtp.x25519.example", "smtp._update", "--listen-tls", submissions, "--listen-starttls", submission, "--per-address", "1000", "--per-network", "1000")
	v := stage("verifier", "mx.x25519.example", "mx._update", "--listen", mx, "--dane", "--greet-delay", "1ms", "--nameserver", "udp:127.0.0.1:"+port)
	for address, process := range map[string]*running{submissions: s, mx: v} { // they start at once, with one of their own making
		waitFor(t, address, process.log)
	}
	i := runProgram(t, "letsencrypt", "--log-level", "info", "--dns-key", keyFile(t, "issuer._update"), "--dns-server", "127.0.0.1", "--port", port,
		"--zone-port", port, "--directory", acme.directory, "--ca-file", acme.caFile, "--state", filepath.Join(dir, "issuer"), "--email", "ann@x25519.example")
	roots := acme.roots(t)
	await := func(what string, log fmt.Stringer, done func() error) {
		t.Helper()
		for end := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			err := done()
			if err == nil {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%s: %v\n%s\n%s", what, err, log, i.log)
			}
		}
	}
	await("the verifier's certificate", v.log, func() error { _, err := startTLS(mx, "mx.x25519.example", roots); return err })
	var first *x509.Certificate
	await("submission's certificate", s.log, func() (err error) {
		var one session
		if one, first, err = openSession(submissions, "smtp.x25519.example", roots); err == nil {
			one.conn.Close()
		}
		return err
	})
	var open []session
	for len(open) < 200 {
		// That what is shown is good was seen; on a slow machine it may expire while sessions are opened.
		c, err := tls.Dial("tcp", submissions, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatalf("session %d: %v\n%s", len(open), err, s.log)
		}
		one := session{c, bufio.NewReader(c)}
		t.Cleanup(func() { c.Close() })
		if err := one.say("", "220"); err != nil {
			t.Fatal(err)
		}
		open = append(open, one)
	}
	await("a renewed certificate", s.log, func() error {
		one, shown, err := openSession(submissions, "smtp.x25519.example", roots)
		if err != nil {
			return err
		}
		one.conn.Close()
		if shown.Equal(first) {
			return fmt.Errorf("still the first one, good until %v", first.NotAfter)
		}
		return nil
	})
	for n, one := range open {
		if err := one.say("EHLO test.example", "250"); err != nil {
			t.Fatalf("session %d: %v\n%s", n, err, s.log)
		}
	}
	log := r.must(r.bare, "log", "--format=%an", "main")
	for _, key := range []string{"smtp._update", "mx._update", "issuer._update"} {
		if !strings.Contains(log, key+".x25519.example") {
			t.Errorf("git log has no commit of %s:\n%s", key, log)
		}
	}
	dig(t, port, "3 1 1 ", "_25._tcp.mx.x25519.example", "TLSA", "+short")
	for _, process := range []*running{i, s, v, p} {
		process.stop()
	}
}
