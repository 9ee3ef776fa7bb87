package authority

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"stagecoach/lab/peer"
	"stagecoach/rfc/dns"
)

// A daemon is somebody else's name server, which ends with the test.
type daemon struct {
	at  netip.AddrPort
	dir string
	mu  sync.Mutex
	log strings.Builder
}

func (d *daemon) Write(b []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.Write(b)
}

// logged counts how often it has written a text to its log.
func (d *daemon) logged(text string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Count(d.log.String(), text)
}

func (d *daemon) run(t *testing.T, program string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(context.Background(), program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = d.dir, d, d
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill() //nolint:errcheck
		cmd.Wait()         //nolint:errcheck
		if t.Failed() {
			d.mu.Lock()
			t.Log(program, d.log.String())
			d.mu.Unlock()
		}
	})
}

// file writes a file into the folder of the daemon.
func (d *daemon) file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(d.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// runNamed starts BIND on a loopback address, with keys and zones as its configuration has them.
func runNamed(t *testing.T, at netip.AddrPort, keys []dns.Key, zones string, files map[string]string) *daemon {
	t.Helper()
	d := &daemon{at: at, dir: t.TempDir()}
	var b strings.Builder
	fmt.Fprintf(&b, `options { directory %[1]q; managed-keys-directory %[1]q; key-directory %[1]q; pid-file none; session-keyfile none; lock-file none;
	listen-on port %[2]d { %[3]s; }; listen-on-v6 { none; }; recursion no; empty-zones-enable no; dnssec-validation no; allow-transfer { any; };
	ixfr-from-differences yes; minimal-responses yes; zero-no-soa-ttl no; notify-delay 0; notify-rate 1000; startup-notify-rate 1000; serial-query-rate 1000; };
controls { };
`, d.dir, at.Port(), at.Addr())
	for _, k := range keys {
		fmt.Fprintf(&b, "key %q { algorithm %s; secret %q; };\n", k.Name, k.Algorithm, secretOf(k))
	}
	b.WriteString(zones)
	for name, text := range files {
		d.file(t, name, text)
	}
	d.run(t, peer.Need(t, "named")[0], "-g", "-4", "-n", "1", "-c", d.file(t, "named.conf", b.String()))
	return d
}

// runKnot starts Knot DNS likewise.
func runKnot(t *testing.T, at netip.AddrPort, keys []dns.Key, config string, files map[string]string) *daemon {
	t.Helper()
	d := &daemon{at: at, dir: t.TempDir()}
	var b strings.Builder
	fmt.Fprintf(&b, `server:
  rundir: %[1]q
  listen: %[2]s@%[3]d
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
control:
  listen: "%[1]s/knot.sock"
template:
  - id: default
    storage: %[1]q
database:
  storage: %[1]q
  journal-db-max-size: 16M
  kasp-db-max-size: 16M
  timer-db-max-size: 16M
log:
  - target: stderr
    any: info
`, d.dir, at.Addr(), at.Port())
	b.WriteString("key:\n")
	for _, k := range keys {
		fmt.Fprintf(&b, "  - id: %q\n    algorithm: %s\n    secret: %q\n", k.Name, k.Algorithm, secretOf(k))
	}
	b.WriteString(config)
	for name, text := range files {
		d.file(t, name, text)
	}
	d.run(t, peer.Need(t, "knotd")[0], "-c", d.file(t, "knot.conf", b.String()))
	return d
}

// secretOf returns the secret of a key in base64.
func secretOf(k dns.Key) string {
	flag := k.Flag()
	return flag[strings.LastIndexByte(flag, ':')+1:]
}

// peerKey is a key with an algorithm of one's choice, which stands in the name.
func peerKey(t testing.TB, name, algorithm string) dns.Key {
	t.Helper()
	k, err := dns.ParseKey(name + ":" + algorithm + ":" + secret)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// zoneAt transfers a whole zone from a server.
func zoneAt(t testing.TB, at netip.AddrPort, zone string, key dns.Key) []dns.RR {
	t.Helper()
	all, err := client(at, dns.TCP, key).Transfer(t.Context(), zone, nil)
	if err != nil || !all.Whole() {
		return nil
	}
	return all.Records
}

// differs tells what one zone has and another has not.
func differs(a, b []dns.RR) string {
	in := map[string]int{}
	for _, rr := range a {
		in[rr.String()]++
	}
	for _, rr := range b {
		in[rr.String()]--
	}
	var out []string
	for s, n := range in {
		if n != 0 {
			out = append(out, fmt.Sprintf("%+d %s", n, s))
		}
	}
	slices.Sort(out)
	return strings.Join(out[:min(len(out), 20)], "\n")
}
