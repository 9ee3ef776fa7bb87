package main

import (
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"stagecoach/lab/peer"
	"stagecoach/rfc/dns"
)

// zone check says what is wrong and where, and its exit status whether anything is.
func TestZoneCheck(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		text, want string
		wrong      bool
	}{
		"good":    {zoneText(1, ""), "", false},
		"warning": {zoneText(1, "www.elsewhere.\tA\t192.0.2.1\n"), "x25519.example: warning: ignoring 1 records out of the zone\n", false},
		"alias":   {zoneText(1, "www\tA\t192.0.2.1\nwww\tCNAME\tns1\n"), "x25519.example: www.x25519.example. ", true},
		"spf":     {zoneText(1, "@\tTXT\t\"v=spf1 -all\"\n@\tTXT\t\"v=spf1 ~all\"\n"), "x25519.example:9: x25519.example. has more than one SPF record", true},
		"nothing": {"", "x25519.example", true},
	} {
		file := filepath.Join(dir, "x25519.example")
		if err := os.WriteFile(file, []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := program(t, "zone", "check", file)
		var exit *exec.ExitError
		if (err != nil) != c.wrong || c.wrong && (!errors.As(err, &exit) || exit.ExitCode() != exitNo) || !strings.Contains(out, c.want) || c.want == "" && out != "" {
			t.Errorf("%s: %v, %s", name, err, out)
		}
	}
	r := newZoneRepo(t)
	mustProgram(t, "zone", "check", r.bare)
	old, draft := filepath.Join(dir, "x25519.example"), filepath.Join(dir, "draft")
	os.WriteFile(old, []byte(zoneText(5, "")), 0o644)                  //nolint:errcheck // then the check fails
	os.WriteFile(draft, []byte(zoneText(5, "a A 192.0.2.1\n")), 0o644) //nolint:errcheck // then the check fails
	out, err := program(t, "zone", "check", draft, "--name", "x25519.example", "--before", old)
	if err == nil || !strings.Contains(out, "x25519.example:3: the zone has changed, but its serial is not newer than 5") {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := program(t, "zone", "check", filepath.Join(dir, "none")); err == nil {
		t.Errorf("a file that is not there: %s", out)
	}
}

// What is pushed is read with care: a link could show what the pusher may not see, and a broken
// file of keys is told without the keys.
func TestHookRefuses(t *testing.T) {
	t.Parallel()
	r := newZoneRepo(t)
	mustProgram(t, "zone", "hook", "install", r.bare)
	mustProgram(t, "zone", "hook", "install", r.bare) // again, over its own
	if err := os.Symlink("/etc/passwd", filepath.Join(r.work, "link.example")); err != nil {
		t.Fatal(err)
	}
	r.commit(nil)
	if out, err := r.git(r.work, "push", "origin", "main"); err == nil || !strings.Contains(out, `"link.example" is a link`) {
		t.Errorf("%v: %s", err, out)
	}
	r.must(r.work, "reset", "-q", "--hard", "origin/main")
	r.commit(map[string]string{"x25519.example._keys": "personal._update.x25519.example. DNSKEY 0 3 163 " + zoneSecret + " (\n"})
	if out, err := r.git(r.work, "push", "origin", "main"); err == nil || !strings.Contains(out, "_keys:1: ") || strings.Contains(out, zoneSecret) {
		t.Errorf("%v: %s", err, out)
	}
	r.must(r.work, "reset", "-q", "--hard", "origin/main")
	r.must(r.work, "push", "-q", "origin", "main:topic")
	r.must(r.work, "push", "-q", "origin", ":topic")
	other := filepath.Join(r.bare, "hooks", "pre-receive")
	if err := os.WriteFile(other, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := program(t, "zone", "hook", "install", r.bare); err == nil || !strings.Contains(out, "--force") {
		t.Errorf("a hook of somebody else: %v, %s", err, out)
	}
}

// A primary that pushes to a far repository sets off the hook there, which does not wait for the
// primary in turn.
func TestHookLeavesOwnPushesAlone(t *testing.T) {
	nsupdate := peer.Need(t, "nsupdate")[0]
	r := newZoneRepo(t)
	port := itoa(int(freePort(t, loopback)))
	daemon := exec.Command("git", "daemon", "--reuseaddr", "--export-all", "--enable=receive-pack", "--listen=127.0.0.1", "--port="+port,
		"--base-path="+filepath.Dir(r.bare))
	daemon.Env = append(os.Environ(), asProgram+"=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { daemon.Process.Kill(); daemon.Wait() }) //nolint:errcheck // it has ended
	waitFor(t, "127.0.0.1:"+port, &lockedBuffer{})
	p, at, _ := startPrimary(t, "git://127.0.0.1:"+port+"/zone.git#main")
	mustProgram(t, "zone", "hook", "install", r.bare, "--primary", "127.0.0.1:"+at)
	for _, name := range []string{"one", "two"} {
		cmd := exec.Command(nsupdate, "-y", "hmac-sha256:personal._update.x25519.example:"+zoneSecret)
		cmd.Stdin = strings.NewReader("server 127.0.0.1 " + at + "\nzone x25519.example\nupdate add " + name + ".x25519.example. 3600 A 192.0.2.7\nsend\n")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s\n%s", err, out, p.log)
		}
	}
	if n := r.must(r.bare, "rev-list", "--count", "main"); n != "3" {
		t.Errorf("%s commits", n)
	}
	r.must(r.work, "pull", "-q", "origin", "main")
	text, err := os.ReadFile(filepath.Join(r.work, "x25519.example"))
	if err != nil {
		t.Fatal(err)
	}
	serial := strings.Fields(string(text))[8] // after $ORIGIN, $TTL, and the names of the SOA
	if out := r.push(map[string]string{"x25519.example": strings.Replace(string(text), serial, "3000000000", 1)}); !strings.Contains(out, "with serial 3000000000") {
		t.Errorf("a push by hand: %s", out)
	}
	p.stop()
}

func TestKeyScope(t *testing.T) {
	for name, c := range map[string]struct{ zone, primary string }{
		"10.0.0.3.10.0.0.6._transfer.x.example": {"x.example.", "10.0.0.3"},
		"a.10.0.0.3._transfer.x.example":        {"x.example.", "10.0.0.3"},
		"second._transfer.x.example":            {"x.example.", ""},
		"a._update":                             {".", ""},
		"plain.example":                         {".", ""},
	} {
		zone, primary := keyScope(name)
		if want, _ := netip.ParseAddr(c.primary); zone != c.zone || primary != want {
			t.Errorf("%s: %s %v", name, zone, primary)
		}
	}
	keys := []dns.Key{{Name: "a._update."}, {Name: "a._transfer.x.example."}}
	if k := keyOf(keys, "sub.x.example"); k.Name != "a._transfer.x.example." {
		t.Error(k.Name)
	}
	if k := keyOf(keys, "y.example"); k.Name != "a._update." {
		t.Error(k.Name)
	}
}

// FuzzReadPushes feeds what no git says.
func FuzzReadPushes(f *testing.F) {
	id := strings.Repeat("a", 40)
	f.Add(id + " " + id + " refs/heads/main\n")
	f.Add(strings.Repeat("0", 40) + " " + id + " refs/tags/x\n")
	f.Add("--upload-pack=x y z\n")
	f.Fuzz(func(t *testing.T, text string) {
		pushes, err := readPushes(strings.NewReader(text))
		for _, p := range pushes {
			if err != nil || !isObjectID(p.old) || !isObjectID(p.new) || isZeroID(p.new) || !strings.HasPrefix(p.ref, "refs/heads/") {
				t.Errorf("%q: %v", text, p)
			}
		}
	})
}
