package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stagecoach/tool/setup"
)

// readUnit reads a unit as systemd.syntax(7) has it: sections, and lines of KEY=VALUE.
func readUnit(t *testing.T, text string) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	section := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case line[0] == '[' && strings.HasSuffix(line, "]"):
			section = line
		default:
			key, value, ok := strings.Cut(line, "=")
			if !ok || section == "" || key == "" || strings.ContainsAny(key, " \t") {
				t.Errorf("no line of a unit: %q", line)
			}
			out[section+key] = append(out[section+key], value)
		}
	}
	return out
}

func TestUnit(t *testing.T) {
	u := readUnit(t, setup.Unit{Program: "/opt/a b/stagecoach", Config: "/etc/stagecoach.toml", State: "/srv/mail 100%"}.Text())
	for key, want := range map[string]string{
		"[Service]User": "stagecoach", "[Service]ProtectSystem": "strict", "[Service]NoNewPrivileges": "yes",
		"[Service]CapabilityBoundingSet": "CAP_NET_BIND_SERVICE", "[Service]AmbientCapabilities": "CAP_NET_BIND_SERVICE",
		"[Service]ExecStart":      `"/opt/a b/stagecoach" serve --config /etc/stagecoach.toml`,
		"[Service]ReadWritePaths": `"/srv/mail 100%%"`, "[Service]ExecReload": "/bin/kill -HUP $MAINPID", "[Install]WantedBy": "multi-user.target",
	} {
		if !slices.Equal(u[key], []string{want}) {
			t.Errorf("%s is %q, want %q", key, u[key], want)
		}
	}
}

// deploy/stagecoach.service is what "service unit" prints, for who installs by hand.
func TestUnitInDeploy(t *testing.T) {
	checkGenerated(t, "../../deploy/stagecoach.service", setup.Unit{Program: "/usr/local/bin/stagecoach", Config: "/etc/stagecoach.toml", State: setup.DefaultState}.Text())
}

// systemd understands every line, and finds the service well locked up.
func TestUnitForSystemd(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	dir := t.TempDir()
	unit := filepath.Join(dir, "stagecoach.service")
	if err := os.WriteFile(unit, []byte(setup.Unit{Program: "/bin/true", Config: "/etc/stagecoach.toml", State: setup.DefaultState}.Text()), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(analyze, "verify", "--man=no", unit).CombinedOutput()
	if bytes.Contains(out, []byte(unit)) || bytes.Contains(out, []byte("Unknown")) {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	if out, err = exec.Command(analyze, "security", "--offline=true", "--threshold=20", "--no-pager", unit).CombinedOutput(); err != nil {
		t.Errorf("systemd-analyze security, of 100 at most 20: %v\n%s", err, out)
	}
}

func installInto(t *testing.T, root string, args ...string) (string, error) {
	t.Helper()
	var c cli
	p, err := parser(&c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Parse(append([]string{"service", "install", "--root", root, "--program", "/usr/bin/stagecoach"}, args...)); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err = c.Service.Install.run(t.Context(), &talk{out: &out, quiet: true})
	return out.String(), err
}

// Into a folder only files are written; a second run leaves them, and nobody else's unit is lost.
func TestServiceInstall(t *testing.T) {
	root := t.TempDir()
	if _, err := installInto(t, root); err == nil || !strings.Contains(err.Error(), "stagecoach init") {
		t.Fatalf("without a configuration: %v", err)
	}
	if err := os.MkdirAll(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "etc/stagecoach.toml"), []byte("domain = \"their.example\"\nstate = \"/srv/mail\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := installInto(t, root)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, "etc/systemd/system/stagecoach.service")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	u := readUnit(t, string(text))
	if u["[Service]ExecStart"][0] != "/usr/bin/stagecoach serve --config /etc/stagecoach.toml" || u["[Service]ReadWritePaths"][0] != "/srv/mail" {
		t.Errorf("the unit:\n%s", text)
	}
	if users, err := os.ReadFile(filepath.Join(root, "etc/sysusers.d/stagecoach.conf")); err != nil || !strings.HasPrefix(string(users), "u stagecoach - ") {
		t.Errorf("%s, %v", users, err)
	}
	before := tree(t, root)
	if again, err := installInto(t, root); err != nil || !strings.Contains(out, "made  /etc/systemd") || !strings.Contains(again, "kept  /etc/systemd") || len(tree(t, root)) != len(before) {
		t.Errorf("again: %v\n%s", err, again)
	}
	if err := os.WriteFile(path, []byte("[Service]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := installInto(t, root); err == nil || !strings.Contains(err.Error(), "not ours") {
		t.Errorf("over a unit of somebody else: %v", err)
	}
	if _, err := installInto(t, root, "--force"); err != nil {
		t.Error(err)
	}
}
