package cert

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"stagecoach/lab/peer"
	"stagecoach/name/authority"
	"stagecoach/repo"
	"stagecoach/rfc/dns"
)

const (
	updateKey = "personal._update.x.example:SHA256:PAPPkecDvEBnhqTzG5Xsbrbi7W0QY7TpVaEMxndMv2M="
	clientKey = "client._update.x.example:SHA256:QAPPkecDvEBnhqTzG5Xsbrbi7W0QY7TpVaEMxndMv2M="
	zoneText  = "$TTL 300\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\nsmtp A 192.0.2.1\nmx A 192.0.2.2\n"
)

func parsedKey(t testing.TB, flag string) dns.Key {
	t.Helper()
	k, err := dns.ParseKey(flag)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func git(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command(peer.Need(t, "git")[0], args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
		"GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=Ann", "GIT_COMMITTER_EMAIL=a@b")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// startAuthority serves the zone x.example from a repository, with one key that may do all, and
// one that may only write certificate records.
func startAuthority(t testing.TB) (at netip.AddrPort, bare string) {
	t.Helper()
	dir := t.TempDir()
	work, bare := filepath.Join(dir, "work"), filepath.Join(dir, "zones.git")
	git(t, dir, "init", "-q", "-b", "main", "work")
	git(t, dir, "init", "-q", "--bare", "-b", "main", "zones.git")
	for name, text := range map[string]string{
		"x.example":         zoneText,
		"x.example._keys":   parsedKey(t, updateKey).Record() + "\n" + parsedKey(t, clientKey).Record() + "\n",
		"x.example._grants": "client._update.x.example. TLSA _letsencrypt._tcp,_letsencrypt._tcp.*,_25._tcp.mx\n",
	} {
		if err := os.WriteFile(filepath.Join(work, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	git(t, work, "add", "-A")
	git(t, work, "commit", "-qm", "by hand")
	git(t, work, "push", "-q", bare, "main")
	r, err := repo.Open(bare, repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	a := &authority.Authority{Repo: r}
	if err := a.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	conns, l, err := dns.Listen(t.Context(), "127.0.0.1:0", 1)
	if err != nil {
		t.Fatal(err)
	}
	s := &dns.Server{Handler: a, Keys: a.Key}
	background(t, func(ctx context.Context) { s.ServePacket(ctx, conns...) }, func(ctx context.Context) { s.Serve(ctx, l) },
		func(ctx context.Context) { a.Run(ctx) })
	return l.Addr().(*net.TCPAddr).AddrPort(), bare
}

// background runs functions until the test ends.
func background(t testing.TB, fs ...func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, f := range fs {
		wg.Go(func() { f(ctx) })
	}
	stop = func() { cancel(); wg.Wait() }
	t.Cleanup(stop)
	return stop
}

func freePort(t testing.TB) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

type pebble struct {
	directory, management string
	client                *http.Client
}

// startPebble runs the ACME server, which looks names up at an address, with its faults on.
func startPebble(t testing.TB, at netip.AddrPort, more map[string]any, env ...string) *pebble {
	t.Helper()
	program := peer.Need(t, "pebble")[0]
	dir := t.TempDir()
	key, err := FileKey(filepath.Join(dir, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	own, err := selfMade(key, []string{"localhost"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: own.leaf.Raw})
	if err := os.WriteFile(filepath.Join(dir, "cert.pem"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	acmePort, mgmtPort := freePort(t), freePort(t)
	settings := map[string]any{
		"listenAddress": fmt.Sprintf("127.0.0.1:%d", acmePort), "managementListenAddress": fmt.Sprintf("127.0.0.1:%d", mgmtPort),
		"certificate": filepath.Join(dir, "cert.pem"), "privateKey": filepath.Join(dir, "key.pem"), "httpPort": 5002, "tlsPort": 5001,
	}
	for k, v := range more {
		settings[k] = v
	}
	config, err := json.Marshal(map[string]any{"pebble": settings})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "config.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-config", file, "-dnsserver", at.String(), "-strict")
	cmd.Env = append(append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=30", "PEBBLE_AUTHZREUSE=50"), env...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Log(out.String())
		}
	})
	pool := x509.NewCertPool()
	pool.AddCert(own.leaf)
	p := &pebble{
		directory: fmt.Sprintf("https://localhost:%d/dir", acmePort), management: fmt.Sprintf("https://localhost:%d", mgmtPort),
		client: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}},
	}
	for range 200 {
		if resp, err := p.client.Get(p.directory); err == nil {
			resp.Body.Close()
			return p
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("pebble does not start")
	return nil
}

// roots returns what certificates of pebble are trusted by.
func (p *pebble) roots(t testing.TB) *x509.CertPool {
	t.Helper()
	resp, err := p.client.Get(p.management + "/roots/0")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		t.Fatal("pebble has no root")
	}
	return pool
}

func testLog(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func newIssuer(t testing.TB, at netip.AddrPort, p *pebble) *Issuer {
	t.Helper()
	key, err := AccountKey("p256", "IwpD9FuzLm8nNFLbnPQqgWSa/VsrY/3jhVLZQQKl+OU=", 0)
	if err != nil {
		t.Fatal(err)
	}
	i := &Issuer{
		Zones: []string{"x.example"}, Primary: NewPrimary(at, parsedKey(t, updateKey)),
		Account: Account{Key: key, Email: "ann@x.example"}, Directory: p.directory, HTTP: p.client,
		Port: at.Port(), Dir: t.TempDir(), Log: testLog(t),
	}
	if err := i.Load(); err != nil {
		t.Fatal(err)
	}
	return i
}

func newKeeper(t testing.TB, at netip.AddrPort, names ...string) *Keeper {
	t.Helper()
	dir := t.TempDir()
	key, err := FileKey(filepath.Join(dir, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	k := &Keeper{
		Names: names, Key: key, Zone: "x.example", Primary: NewPrimary(at, parsedKey(t, clientKey)), Dir: dir,
		Log: testLog(t),
	}
	if err := k.Load(); err != nil {
		t.Fatal(err)
	}
	return k
}

// until waits until a condition holds.
func until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if holds() {
			return
		}
	}
	t.Fatal("in vain awaited: " + what)
}

func signed(k *Keeper) func() bool { return func() bool { return !k.Status().SelfMade } }

// Submission and the MX get their certificates with nothing but the name server between them
// and the issuer, from a server that rejects a third of the nonces.
func TestPebble(t *testing.T) {
	t.Parallel()
	at, bare := startAuthority(t)
	p := startPebble(t, at, nil)
	i := newIssuer(t, at, p)
	smtp, mx := newKeeper(t, at, "smtp.x.example"), newKeeper(t, at, "mx.x.example", "x.example", "*.mx.x.example")
	mx.Pins = []string{"_25._tcp.mx.x.example"}
	background(t, func(ctx context.Context) { i.Run(ctx) }, func(ctx context.Context) { smtp.Run(ctx) }, func(ctx context.Context) { mx.Run(ctx) })
	roots := p.roots(t)
	for _, k := range []*Keeper{smtp, mx} {
		until(t, "a certificate for "+k.host(), signed(k))
		for _, name := range k.request.names {
			if err := handshake(k, roots, strings.Replace(name, "*", "any", 1)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	c := NewPrimary(at, dns.Key{})
	until(t, "the challenges to be gone", func() bool {
		_, err := dns.TXT(t.Context(), c, "_acme-challenge.mx.x.example")
		return dns.IsNegative(err)
	})
	pins, err := dns.TLSA(t.Context(), c, "_25._tcp.mx.x.example")
	if err != nil || len(pins) != 1 || pins[0].Certificate != pinOf(mx.request.key) {
		t.Errorf("pins: %v, %v", pins, err)
	}
	if log := git(t, bare, "log", "--format=%an %s", "main"); !strings.Contains(log, "client._update.x.example") {
		t.Errorf("git log:\n%s", log)
	}
	if history := git(t, bare, "log", "-p", "main"); strings.Contains(history, "PRIVATE KEY") {
		t.Error("there is a private key in the history")
	}
	until(t, "the status to say so", func() bool {
		for _, s := range i.Status() {
			if s.NotAfter.IsZero() || s.Error != "" {
				return false
			}
		}
		return len(i.Status()) == 2
	})
}

// handshake does what a client of the server does.
func handshake(k *Keeper, roots *x509.CertPool, name string) error {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	server := tls.Server(a, &tls.Config{GetCertificate: k.GetCertificate})
	go server.Handshake()
	return tls.Client(b, &tls.Config{RootCAs: roots, ServerName: name, Time: k.now}).Handshake()
}
