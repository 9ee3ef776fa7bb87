package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stagecoach/account"
	"stagecoach/lab/peer"
	"stagecoach/name/authority"
)

// initRun runs init in a folder as the program would, with answers for who is asked, and returns
// what it said.
func initRun(t *testing.T, dir, answers string, args ...string) (string, error) {
	t.Helper()
	var c cli
	p, err := parser(&c)
	if err != nil {
		t.Fatal(err)
	}
	args = append([]string{"init", "their.example", "--no-keep", "--config", filepath.Join(dir, "stagecoach.toml"), "--state", filepath.Join(dir, "state")}, args...)
	if _, err := p.Parse(args); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	talk := &talk{in: bufio.NewReader(strings.NewReader(answers)), out: &out, quiet: c.Init.Yes || c.Init.DryRun, reader: answers != ""}
	err = c.Init.run(t.Context(), talk)
	return out.String(), err
}

func initDone(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, err := initRun(t, dir, "", append([]string{"--yes"}, args...)...)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return out
}

var usualArgs = []string{"--address", "192.0.2.25", "--address", "2001:db8::25", "--user", "ann", "--target", "ann@gmail.example"}

// tree describes all that is below a folder: names, modes, times and bytes.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		text := []byte(nil)
		if !d.IsDir() {
			text, err = os.ReadFile(path)
		}
		out[path] = fmt.Sprintf("%v %v %x", info.Mode(), info.ModTime(), text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// From an empty folder there comes a domain that the service would serve.
func TestInitFromNothing(t *testing.T) {
	dir := t.TempDir()
	out := initDone(t, dir, usualArgs...)
	for _, want := range []string{
		"ns1.their.example   192.0.2.25   2001:db8::25", "ns2.their.example", "their.example. IN DS ", "192.0.2.25   mx.their.example",
		"5.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. PTR mx.their.example.", "stagecoach service install --config " + dir,
	} {
		if !strings.Contains(out, want) {
			t.Errorf("init does not say %q:\n%s", want, out)
		}
	}
	t.Run("permissions", func(t *testing.T) { checkPermissions(t, dir) })
	t.Run("history", func(t *testing.T) { checkHistory(t, dir, out) })
	ds, err := (&authority.Signing{Dir: filepath.Join(dir, "state/primary/dnssec")}).DS("their.example", t0())
	if err != nil || len(ds) != 1 || !strings.Contains(out, ds[0]) {
		t.Errorf("the DS that was told is not that of the key: %v, %v", ds, err)
	}
	files, err := filesOf(t.Context(), filepath.Join(dir, "state/zones.git"))
	if err != nil {
		t.Fatal(err)
	}
	if problems := authority.CheckFiles(files, nil); len(problems) > 0 {
		t.Errorf("zone check: %v", problems)
	}
	text, err := os.ReadFile(filepath.Join(dir, "stagecoach.toml"))
	if err != nil {
		t.Fatal(err)
	}
	// But for the world, which a test leaves alone.
	alone := filepath.Join(dir, "alone.toml")
	text = append(text, "\n[relay]\nnameserver = [\"udp:127.0.0.1:9\"]\n"...)
	if err := os.WriteFile(alone, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := (serveCmd{Config: alone, Check: true}).Run(t.Context()); err != nil {
		t.Errorf("serve --check: %v\n%s", err, text)
	}
	users, err := filesOf(t.Context(), filepath.Join(dir, "state/users.git"))
	if err != nil {
		t.Fatal(err)
	}
	book, err := account.Parse(users, account.Settings{Domain: "their.example", Separator: "+"})
	if err != nil {
		t.Fatal(err)
	}
	if ann, ok := book.Login("ann"); !ok || !ann.CanLogin() || !ann.Waits() {
		t.Errorf("ann cannot log in, or her target was not to be asked: %+v", ann)
	}
}

// BIND finds nothing wrong with the zone.
func TestInitZoneForBIND(t *testing.T) {
	named := peer.Need(t, "named-checkzone")[0]
	for _, more := range [][]string{nil, {"--mx", "post", "--submission", "post", "--secondary-ns", "ns2=198.51.100.7", "--secondary-ns", "ns.friend.example", "--dmarc", "reject"}} {
		dir := t.TempDir()
		initDone(t, dir, append(more, usualArgs...)...)
		files, err := filesOf(t.Context(), filepath.Join(dir, "state/zones.git"))
		if err != nil {
			t.Fatal(err)
		}
		zone := filepath.Join(dir, "zone")
		if err := os.WriteFile(zone, files["their.example"], 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(named, "-i", "local", "-k", "fail", "-m", "fail", "-n", "fail", "their.example", zone).CombinedOutput()
		if err != nil || bytes.Contains(out, []byte("warning")) {
			t.Errorf("named-checkzone: %v\n%s", err, out)
		}
	}
}

// A second run changes nothing, byte for byte, and says so.
func TestInitTwice(t *testing.T) {
	dir := t.TempDir()
	first := initDone(t, dir, usualArgs...)
	before := tree(t, dir)
	for _, args := range [][]string{usualArgs, nil, {"--address", "192.0.2.99", "--mx", "other"}} {
		out := initDone(t, dir, args...)
		if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
			t.Fatalf("the second run with %q changed:\n%s", args, diff)
		}
		_, told, _ := strings.Cut(first, "\nAt the registrar")
		told, _, _ = strings.Cut(told, "\nThe first user")
		if !strings.Contains(out, "Nothing was to be done") || !strings.Contains(out, told) {
			t.Errorf("the second run says:\n%s\nand not again:\n%s", out, told)
		}
	}
}

// What is missing is made again, and what the zone knows of it is taken from there.
func TestInitMends(t *testing.T) {
	dir := t.TempDir()
	initDone(t, dir, usualArgs...)
	before := tree(t, dir)
	lost := []string{"stagecoach.toml", "state/keys/operator.key", "state/keys/notify.key"}
	for _, name := range lost {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	out := initDone(t, dir)
	after := tree(t, dir)
	for _, name := range lost {
		path := filepath.Join(dir, name)
		text := func(all map[string]string) string { f := strings.Fields(all[path]); return f[0] + f[len(f)-1] }
		if text(before) != text(after) || !strings.Contains(out, "made  "+path) {
			t.Errorf("%s did not come back as it was:\n%s", name, out)
		}
	}
}

// Nobody but the service can look into its state, and nobody else can read the file of a secret.
func checkPermissions(t *testing.T, dir string) {
	secret := 0
	for _, name := range []string{"state", "state/keys", "state/issuer", "state/primary", "state/primary/dnssec", "state/zones.git", "state/users.git"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	err := filepath.WalkDir(filepath.Join(dir, "state"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.Contains(path, ".git/") {
			return err
		}
		secret++
		if info, err := d.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
		return nil
	})
	if err != nil || secret != 11 { // six of TSIG, two of DKIM, of SRS, ACME and DNSSEC
		t.Errorf("%d secret files, %v", secret, err)
	}
	if info, err := os.Stat(filepath.Join(dir, "stagecoach.toml")); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("the configuration, which the service's user must read: %v, %v", info.Mode(), err)
	}
}

// A clone is on main, and the history has no secret but the keys of the zone, which belong there.
func checkHistory(t *testing.T, dir, out string) {
	git := peer.Need(t, "git")[0]
	run := func(args ...string) string {
		cmd := exec.Command(git, args...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
		text, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %q: %v\n%s", args, err, text)
		}
		return string(text)
	}
	_, password, _ := strings.Cut(out, "shown this once: ")
	password = strings.Fields(password)[0]
	for _, name := range []string{"zones", "users"} {
		work := filepath.Join(dir, name)
		run("clone", "-q", filepath.Join(dir, "state", name+".git"), work)
		if branch := strings.TrimSpace(run("-C", work, "branch", "--show-current")); branch != "main" {
			t.Errorf("the clone of %s is on %q", name, branch)
		}
		history := run("-C", work, "log", "-p", "--all")
		if strings.Contains(history, "PRIVATE KEY") || strings.Contains(history, password) {
			t.Errorf("a secret is in the history of %s", name)
		}
		if n := strings.Count(history, " DNSKEY 0 3 163 "); name == "zones" && n != 6 || name == "users" && n != 0 {
			t.Errorf("%d keys in the history of %s", n, name)
		}
	}
}

// A dry run says what would come, and leaves nothing behind.
func TestInitDryRun(t *testing.T) {
	dir := t.TempDir()
	out, err := initRun(t, dir, "", append([]string{"--dry-run"}, usualArgs...)...)
	if err != nil || !strings.Contains(out, "make  "+dir) || !strings.Contains(out, "_submissions._tcp\tSRV\t0 1 465 smtp.their.example.") || !strings.Contains(out, `domain = "their.example"`) {
		t.Errorf("%v\n%s", err, out)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// Whoever is asked gets defaults, and is asked again after a wrong answer.
func TestInitAsks(t *testing.T) {
	dir := t.TempDir()
	answers := "ns.friend.example=x\nns.friend.example\nann\nann@their.example\nann@gmail.example, ann@lookout.example\n\n"
	out, err := initRun(t, dir, answers, "--address", "10.0.0.3")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"10.0.0.3 is a private address", "write HOST or HOST=IP", "there is no mailbox", "On ns.friend.example", "Go ahead?"} {
		if !strings.Contains(out, want) {
			t.Errorf("nothing of %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, "\x1b") {
		t.Error("there is colour, and no terminal")
	}
	text, err := os.ReadFile(filepath.Join(dir, "stagecoach.toml"))
	if err != nil || !strings.Contains(string(text), `postmaster = "ann@their.example"`) {
		t.Errorf("%s %v", text, err)
	}

	dir = t.TempDir()
	out, err = initRun(t, dir, "\n\nno\n", "--address", "192.0.2.25")
	if err == nil || !strings.Contains(err.Error(), "nothing was done") {
		t.Errorf("after a no: %v\n%s", err, out)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestInitRefuses(t *testing.T) {
	dir := t.TempDir()
	if out, err := initRun(t, dir, "", usualArgs...); err == nil || !strings.Contains(err.Error(), "--yes") {
		t.Errorf("nobody to ask: %v\n%s", err, out)
	}
	if err := os.WriteFile(filepath.Join(dir, "stagecoach.toml"), []byte("domain = \"other.example\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := initRun(t, dir, "", append([]string{"--yes"}, usualArgs...)...); err == nil || !strings.Contains(err.Error(), "for other.example") {
		t.Errorf("over another domain: %v", err)
	}
	dir = t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "state"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := initRun(t, dir, "", append([]string{"--yes"}, usualArgs...)...); err == nil || !strings.Contains(err.Error(), "entered by others") {
		t.Errorf("into an open folder: %v", err)
	}
	for _, args := range [][]string{{"--address", "2001:db8::1"}, {"--address", "192.0.2.1", "--user", "ann"}, {"--address", "192.0.2.1", "--target", "a@b.example"}, {"--address", "192.0.2.1", "--user", "a@b", "--target", "a@b.example"}} {
		dir := t.TempDir()
		if _, err := initRun(t, dir, "", append([]string{"--yes"}, args...)...); err == nil {
			t.Errorf("%q was taken", args)
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%q: left behind %v", args, left)
		}
	}
}

// A zone that somebody has changed stays, and what it lacks is said.
func TestInitAfterAChange(t *testing.T) {
	dir := t.TempDir()
	initDone(t, dir, usualArgs...)
	zones := filepath.Join(dir, "state/zones.git")
	files, err := filesOf(t.Context(), zones)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.ReplaceAll(string(files["their.example"]), "192.0.2.25", "192.0.2.26")
	changed = strings.Replace(changed, "_dmarc\t", "_other\t", 1)
	commitFile(t, zones, "their.example", changed)
	out := initDone(t, dir)
	for _, want := range []string{"lacks what init would write", "_dmarc.their.example.", "192.0.2.26   mx.their.example"} {
		if !strings.Contains(out, want) {
			t.Errorf("nothing of %q:\n%s", want, out)
		}
	}
}

func addrList(texts ...string) (out []netip.Addr) {
	for _, s := range texts {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}
