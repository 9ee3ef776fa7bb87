// Package articles runs the walk-through of the articles "Deploy an SMTP service", command by
// command: eight services, each in a network namespace at the address that it has there, git
// over SSH, and behind them the Internet of the lab.
//
// walkthrough.sh is the walk; docs/walkthrough.md is printed from it. It needs root.
package articles

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stagecoach/lab/peer"
)

var update = flag.Bool("update", false, "write docs/walkthrough.md")

// asInternet has this binary be the Internet of the walk, or talk to it.
const asInternet = "ARTICLES_INTERNET"

func TestMain(m *testing.M) {
	if folder := os.Getenv(asInternet); folder != "" {
		if err := internet(folder, os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestWalkthrough(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	if os.Getuid() != 0 {
		t.Skip("network namespaces need root")
	}
	peer.Need(t, "ip", "iptables", "unshare", "git", "sshd", "ssh-keygen", "ssh-keyscan", "dig", "openssl")
	folder := t.TempDir()
	if err := os.Chmod(filepath.Dir(folder), 0o755); err != nil { // sshd's user goes through it
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-o", filepath.Join(folder, "stagecoach"), "stagecoach/cmd/stagecoach")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	script, err := filepath.Abs("walkthrough.sh")
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// Its own network, mounts and processes: nothing of the walk outlives it.
	cmd := exec.CommandContext(ctx, "unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", script)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "INTERNET="+self, "PATH="+folder+":"+os.Getenv("PATH"))
	cmd.WaitDelay = 10 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Errorf("%v\n%s", err, tail(out.String(), 60))
		logs, _ := filepath.Glob(filepath.Join(folder, "*.log"))
		for _, file := range logs {
			text, _ := os.ReadFile(file)
			t.Logf("%s:\n%s", filepath.Base(file), tail(string(text), 15))
		}
	}
}

func tail(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(len(lines)-n, 0):], "\n")
}

// The document is the script's prose and the commands between its marks, so it cannot rot.
func TestDocument(t *testing.T) {
	script, err := os.ReadFile("walkthrough.sh")
	if err != nil {
		t.Fatal(err)
	}
	const file = "../../docs/walkthrough.md"
	want := document(string(script))
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != want {
		t.Errorf("%s is out of date (%v): go test ./test/articles -run TestDocument -update", file, err)
	}
}

// document returns the lines after "#:" as prose, and those between "#{" and "#}" as code but for
// those that end with "#-".
func document(script string) string {
	var b strings.Builder
	code := false
	for line := range strings.Lines(script) {
		prose, isProse := strings.CutPrefix(line, "#:")
		switch {
		case isProse:
			b.WriteString(strings.TrimPrefix(prose, " "))
		case strings.HasPrefix(line, "#{"):
			b.WriteString("\n```sh\n")
			code = true
		case strings.HasPrefix(line, "#}"):
			b.WriteString("```\n\n")
			code = false
		case code && !strings.HasSuffix(line, " #-\n"):
			b.WriteString(line)
		}
	}
	return strings.ReplaceAll(b.String(), "\n\n\n", "\n\n")
}
