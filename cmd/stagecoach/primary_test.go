package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"stagecoach/lab/peer"
)

const zoneSecret = "PAPPkecDvEBnhqTzG5Xsbrbi7W0QY7TpVaEMxndMv2M="

var loopback = netip.MustParseAddr("127.0.0.1")

// zoneText is a zone as people write it.
func zoneText(serial int, more string) string {
	return fmt.Sprintf(`$ORIGIN x25519.example.
$TTL 3600
@	SOA	ns1 hostmaster %d 86400 7200 1048576 3600 ; by hand
@	NS	ns1
@	A	192.0.2.93
ns1	A	192.0.2.93
@	MX	0 x25519.example.
%s`, serial, more)
}

var zoneKeys = `personal._update.x25519.example. DNSKEY 0 3 163 ` + zoneSecret + `
hook._notify.x25519.example. DNSKEY 0 3 163 ` + zoneSecret + `
second._transfer.x25519.example. DNSKEY 0 3 163 ` + zoneSecret + `
`

// A zoneRepo is a bare repository with a zone and its keys, and a checkout of it.
type zoneRepo struct {
	t          *testing.T
	bare, work string
}

func newZoneRepo(t *testing.T) *zoneRepo {
	peer.Need(t, "git")
	dir := t.TempDir()
	r := &zoneRepo{t, filepath.Join(dir, "zone.git"), filepath.Join(dir, "work")}
	r.must(dir, "init", "-q", "--bare", "-b", "main", r.bare)
	r.must(dir, "init", "-q", "-b", "main", r.work)
	r.must(r.work, "remote", "add", "origin", r.bare)
	r.push(map[string]string{"x25519.example": zoneText(1, ""), "x25519.example._keys": zoneKeys})
	return r
}

// git runs git with settings of its own, and with no tests in hooks.
func (r *zoneRepo) git(dir string, args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", asProgram+"=1",
		"GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=ann@example.org", "GIT_COMMITTER_NAME=Ann", "GIT_COMMITTER_EMAIL=ann@example.org")
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (r *zoneRepo) must(dir string, args ...string) string {
	r.t.Helper()
	out, err := r.git(dir, args...)
	if err != nil {
		r.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return out
}

// commit commits files in the checkout.
func (r *zoneRepo) commit(files map[string]string) {
	r.t.Helper()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(r.work, name), []byte(text), 0o644); err != nil {
			r.t.Fatal(err)
		}
	}
	r.must(r.work, "add", "-A")
	r.must(r.work, "commit", "-qm", "by hand")
}

func (r *zoneRepo) push(files map[string]string) string {
	r.t.Helper()
	r.commit(files)
	return r.must(r.work, "push", "origin", "main")
}

// A running is a process of ours.
type running struct {
	t   *testing.T
	cmd *exec.Cmd
	log *lockedBuffer
	end chan error
}

// runProgram starts the program, which ends with the test.
func runProgram(t *testing.T, args ...string) *running {
	t.Helper()
	r := &running{t, exec.Command(os.Args[0], args...), &lockedBuffer{}, make(chan error, 1)}
	r.cmd.Env = append(os.Environ(), asProgram+"=1")
	r.cmd.Stderr = r.log
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { r.end <- r.cmd.Wait() }()
	t.Cleanup(func() { r.cmd.Process.Kill() }) //nolint:errcheck // it has ended
	return r
}

// stop ends it as an operator does.
func (r *running) stop() {
	r.t.Helper()
	r.cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // then it does not end
	select {
	case err := <-r.end:
		if err != nil {
			r.t.Errorf("%v\n%s", err, r.log)
		}
	case <-time.After(5 * time.Second):
		r.t.Errorf("it does not stop:\n%s", r.log)
	}
}

// dig asks until the answer holds what is wanted.
func dig(t *testing.T, port, want string, args ...string) {
	t.Helper()
	program, out := peer.Need(t, "dig")[0], []byte(nil)
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		out, _ = exec.Command(program, append([]string{"@127.0.0.1", "-p", port, "+tries=1", "+time=2"}, args...)...).CombinedOutput()
		if strings.Contains(string(out), want) {
			return
		}
	}
	t.Fatalf("dig %v: no %q in\n%s", args, want, out)
}

// startPrimary starts a primary that does not poll.
func startPrimary(t *testing.T, remote string, more ...string) (p *running, port, dir string) {
	t.Helper()
	port, dir = itoa(int(freePort(t, loopback))), t.TempDir()
	p = runProgram(t, append([]string{"primary", "-r", remote, "--listen", "127.0.0.1:" + port, "--state", dir,
		"--control", filepath.Join(dir, "sock"), "--poll", "1h", "--nameserver", "udp:127.0.0.1:9"}, more...)...)
	dig(t, port, "status: NOERROR", "x25519.example", "SOA")
	return p, port, dir
}

// Scenario 2 of the articles: a change is pushed, the hook tells the primary, and it is served.
// A push that would break the zone is refused, with the line.
func TestPushIsServed(t *testing.T) {
	r := newZoneRepo(t)
	p, port, dir := startPrimary(t, r.bare)
	mustProgram(t, "zone", "hook", "install", r.bare, "--primary", "127.0.0.1:"+port)
	out := r.push(map[string]string{"x25519.example": zoneText(2, "www\tA\t192.0.2.94\n")})
	if !strings.Contains(out, "x25519.example is served by 127.0.0.1:"+port+" with serial 2") {
		t.Errorf("the push says:\n%s", out)
	}
	dig(t, port, "192.0.2.94", "www.x25519.example", "+short")
	for what, c := range map[string]struct{ text, want string }{
		"serial": {zoneText(2, "www\tA\t192.0.2.95\n"), "x25519.example:3: the zone has changed, but its serial is not newer than 2"},
		"target": {zoneText(3, "@\tMX\t5 nobody\n"), "x25519.example:8: missing address record for nobody.x25519.example."},
		"syntax": {zoneText(3, "www\tA\t192.0.2.999\n"), "x25519.example:8: "},
	} {
		r.commit(map[string]string{"x25519.example": c.text})
		out, err := r.git(r.work, "push", "origin", "main")
		if err == nil || !strings.Contains(out, c.want) {
			t.Errorf("%s: %v\n%s", what, err, out)
		}
		r.must(r.work, "reset", "-q", "--hard", "origin/main")
	}
	if out := mustProgram(t, "zone", "status", "--control", filepath.Join(dir, "sock")); !strings.Contains(out, "x25519.example  2 ") {
		t.Errorf("status:\n%s", out)
	}
	p.stop()
}

// Scenario 6 of the articles: nsupdate with a key becomes a commit; without the key nothing does.
func TestUpdateIsCommit(t *testing.T) {
	nsupdate := peer.Need(t, "nsupdate")[0]
	r := newZoneRepo(t)
	p, port, _ := startPrimary(t, r.bare)
	mustProgram(t, "zone", "hook", "install", r.bare, "--primary", "127.0.0.1:"+port)
	update := func(key string) (string, error) {
		args := []string{}
		if key != "" {
			args = append(args, "-y", key)
		}
		cmd := exec.Command(nsupdate, args...)
		cmd.Stdin = strings.NewReader("server 127.0.0.1 " + port + "\nzone x25519.example\nupdate add s1._domainkey.x25519.example. 3600 TXT \"v=DKIM1; p=AAAA\"\nsend\n")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	for key, want := range map[string]string{
		"": "REFUSED",
		"hmac-sha256:hook._notify.x25519.example:" + zoneSecret:                                         "NOTAUTH",
		"hmac-sha256:personal._update.x25519.example:" + strings.Replace(zoneSecret, "PAPP", "QQQQ", 1): "BADSIG",
	} {
		if out, err := update(key); err == nil || !strings.Contains(out, want) {
			t.Errorf("%q: %v, %s; want %s", key, err, out, want)
		}
	}
	if n := r.must(r.bare, "rev-list", "--count", "main"); n != "1" {
		t.Errorf("%s commits", n)
	}
	if out, err := update("hmac-sha256:personal._update.x25519.example:" + zoneSecret); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got, want := r.must(r.bare, "log", "-1", "--format=%s, %an", "main"), "127.0.0.1 changed x25519.example, personal._update.x25519.example"; got != want {
		t.Errorf("the commit is %q, want %q", got, want)
	}
	text := r.must(r.bare, "show", "main:x25519.example")
	if !strings.Contains(text, "; by hand") || !strings.Contains(text, "s1._domainkey") {
		t.Errorf("the zone:\n%s", text)
	}
	dig(t, port, "v=DKIM1", "s1._domainkey.x25519.example", "TXT")
	dig(t, port, "RRSIG", "s1._domainkey.x25519.example", "TXT", "+dnssec")
	p.stop()
}

// What is broken in the repository is told by status and metrics; SIGHUP reads it anew.
func TestBrokenZoneIsTold(t *testing.T) {
	r := newZoneRepo(t)
	metrics := "127.0.0.1:" + itoa(int(freePort(t, loopback)))
	p, port, dir := startPrimary(t, r.bare, "--metrics", metrics, "--no-dnssec", "--axfr")
	dig(t, port, "ns1.x25519.example. hostmaster", "x25519.example", "AXFR")
	socket := filepath.Join(dir, "sock")
	hangup := func() {
		if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	status := func(want string, healthy bool) {
		t.Helper()
		var out string
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			var err error
			if out, err = program(t, "zone", "status", "--control", socket); strings.Contains(out, want) && (err == nil) == healthy {
				return
			}
		}
		t.Fatalf("status has no %q:\n%s\n%s", want, out, p.log)
	}
	status("current", true)
	r.push(map[string]string{"x25519.example": zoneText(2, "oops\n")})
	hangup()
	status("x25519.example:8: ", false)
	status("stale", false)
	dig(t, port, "hostmaster.x25519.example. 1 ", "x25519.example", "SOA", "+short")
	if out, err := exec.Command(peer.Need(t, "curl")[0], "-s", "http://"+metrics+"/metrics").Output(); err != nil || !strings.Contains(string(out), `stagecoach_zone_stale{zone="x25519.example"} 1`) {
		t.Errorf("metrics: %v", err)
	}
	r.push(map[string]string{"x25519.example": zoneText(3, "")})
	hangup()
	status("current", true)
	dig(t, port, "hostmaster.x25519.example. 3 ", "x25519.example", "SOA", "+short")
	out := mustProgram(t, "zone", "status", "--control", socket, "--json")
	var report zoneReport
	if err := json.Unmarshal([]byte(out), &report); err != nil || !report.Healthy || len(report.Zones) != 1 || report.Zones[0].Serial != 3 {
		t.Errorf("%v: %s", err, out)
	}
	p.stop()
}

// A secondary has the zone by its key, follows, and serves on when the primary is gone.
func TestSecondaryFollows(t *testing.T) {
	r := newZoneRepo(t)
	p, port, state := startPrimary(t, r.bare)
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte("second._transfer.x25519.example:SHA256:"+zoneSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	at, dir := itoa(int(freePort(t, loopback))), t.TempDir()
	args := []string{"secondary", "--primary", "tcp:127.0.0.1:" + port, "--dns-key", "@" + key, "--listen", "127.0.0.1:" + at, "--state", dir}
	s := runProgram(t, args...)
	dig(t, at, "hostmaster.x25519.example. 1 ", "x25519.example", "SOA", "+short")
	dig(t, at, "RRSIG", "ns1.x25519.example", "A", "+dnssec")
	r.push(map[string]string{"x25519.example": zoneText(2, "")})
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	dig(t, port, "hostmaster.x25519.example. 2 ", "x25519.example", "SOA", "+short")
	notify := exec.Command(peer.Need(t, "dig")[0], "@127.0.0.1", "-p", at, "+opcode=NOTIFY", "+norec", "-y",
		"hmac-sha256:second._transfer.x25519.example:"+zoneSecret, "x25519.example", "SOA")
	if out, err := notify.CombinedOutput(); err != nil || !strings.Contains(string(out), "NOERROR") {
		t.Fatalf("%v: %s", err, out)
	}
	dig(t, at, "hostmaster.x25519.example. 2 ", "x25519.example", "SOA", "+short")
	if out := mustProgram(t, "zone", "ds", "x25519.example", "--state", state); !strings.HasPrefix(out, "x25519.example. IN DS ") {
		t.Errorf("ds: %s", out)
	}
	s.stop()
	p.stop()
	s = runProgram(t, args...)
	dig(t, at, "hostmaster.x25519.example. 2 ", "x25519.example", "SOA", "+short")
	s.stop()
}
