package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
)

// continued is where a command line goes on in the next.
var continued = regexp.MustCompile(`[ ]*\\\n[ ]*`)

// helpExamples returns the command lines in the help of each command.
func helpExamples(t *testing.T) map[string][]string {
	t.Helper()
	var c cli
	p, err := parser(&c)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for _, leaf := range p.Model.Leaves(true) {
		_, text, ok := strings.Cut(leaf.Detail, "Example")
		if !ok {
			continue
		}
		text = continued.ReplaceAllString(text, " ")
		text = strings.ReplaceAll(text, "s: stagecoach", ":\n  stagecoach")
		text = strings.ReplaceAll(text, ": stagecoach", ":\n  stagecoach")
		text = strings.ReplaceAll(text, ": echo", ":\n  echo")
		for line := range strings.Lines(text) {
			if line = strings.TrimSpace(line); strings.HasPrefix(line, "stagecoach ") || strings.Contains(line, "| stagecoach ") {
				// What stands far to the right is an explanation.
				line, _, _ = strings.Cut(line, "  ")
				line = strings.NewReplacer("/home/git/.ssh/", "", "/etc/systemd/system/", "", "/srv/zone.git", "zones").Replace(line)
				out[leaf.FullPath()] = append(out[leaf.FullPath()], line)
			}
		}
	}
	return out
}

// Every example is a command line that the program understands.
func TestExamplesParse(t *testing.T) {
	examplesFolder(t)
	n := 0
	for path, lines := range helpExamples(t) {
		for _, line := range lines {
			for _, argv := range argumentVectors(t, line) {
				n++
				var c cli
				p, err := parser(&c, kong.Exit(func(int) {}))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := p.Parse(argv); err != nil {
					t.Errorf("%s: %s: %v", path, line, err)
				}
			}
		}
	}
	if n < 100 {
		t.Errorf("only %d examples were found", n)
	}
}

// argumentVectors has the shell take a line apart, and returns the arguments of each time that it
// calls us.
func argumentVectors(t *testing.T, line string) (out [][]string) {
	t.Helper()
	// Each call has a file of its own: in a pipe two of us write at the same time.
	script := `stagecoach() { [ $# = 0 ] || printf '%s\n' "$@" >"$(mktemp "$CALLS/XXXXXX")"; cat >/dev/null; }
jq() { cat >/dev/null; }; grep() { cat >/dev/null; }
exec </dev/null >/dev/null
` + line + "\n"
	calls := t.TempDir()
	cmd := exec.Command("bash", "-c", script)
	cmd.Env = append(os.Environ(), "CALLS="+calls)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: %v: %s", line, err, text)
	}
	files, err := os.ReadDir(calls)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(calls, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, strings.Split(strings.TrimRight(string(text), "\n"), "\n"))
	}
	return out
}

// examplesFolder goes to a folder with the files that examples speak of.
func examplesFolder(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	key := "personal._update.example.org:SHA256:PAPPkecDvEBnhqTzG5Xsbrbi7W0QY7TpVaEMxndMv2M=\n"
	mail := "From: Ann <ann@example.org>\r\nTo: bob@example.net\r\nSubject: Hello\r\nDate: Sat, 21 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n\r\nHello.\r\n"
	mixed := "From: ann@example.org\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nHello.\r\n--b--\r\n"
	for name, text := range map[string]string{
		"personal.key": key, "hook.key": key, "transfer.key": key, "dns.key": key, "key": key, "operator.key": key,
		"account.seed": "seed\n", "password": "a password\n", "pw.txt": "a long password\n", "ssh.key": "rsa:seed\n", "srs.key": strings.Repeat("a", 32) + "\n",
		"hello.eml": mail, "plain.eml": mail, "received.eml": mail, "new.eml": mail, "old.eml": mail, "in.eml": mail, "forwarded.eml": mail, "mail.eml": mail, "junk.eml": mail,
		"mixed.eml": mixed, "page.html": "<p>Hello.</p>\n", "photo.jpg": "\xff\xd8\xff", "invoice.pdf": "%PDF-", "terms.txt": "Terms.\n", "body.txt": "Hello.\n",
		"ann.lessons": "", "stagecoach.toml": "domain = \"example.org\"\nstate = \"state\"\n[users]\nremote = \"users\"\n",
		"users/ann": `{"targets": ["ann.archer@mail.example"]}`, "inbox/.keep": "", "zones/.keep": "", "mails/.keep": "", "package/data/.keep": "", "new/.keep": "", "spam/.keep": "",
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"dkim.key", "s1.pem", "2026a.pem"} {
		if err := ensureKey(name, "ed25519"); err != nil {
			t.Fatal(err)
		}
	}
}

// runnable are the examples that need neither network nor service.
var runnable = regexp.MustCompile(`^(stagecoach (mail (wrap|put|hdr|addr|tree|check-bytes|generate)\b|check --list|service unit|hash <|man \w|user list .*--json -r users)|` +
	`echo "Hello World!" \| stagecoach mail make|stagecoach mail make (.*mail tree|--type)|stagecoach init .*--config \./)`)

// Those that need nothing but files work, too.
func TestExamplesRun(t *testing.T) {
	examplesFolder(t)
	if err := os.Mkdir("bin", 0o700); err != nil {
		t.Fatal(err)
	}
	program := "#!/bin/sh\nexec env " + asProgram + "=1 " + os.Args[0] + " \"$@\"\n"
	if err := os.WriteFile("bin/stagecoach", []byte(program), 0o700); err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for path, lines := range helpExamples(t) {
		for _, line := range lines {
			if !runnable.MatchString(line) || strings.Contains(line, "--count 1000") {
				continue
			}
			n++
			line = strings.Replace(line, "init example.org --config", "init example.org --address 192.0.2.25 --no-keep --config", 1)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			cmd := exec.CommandContext(ctx, "bash", "-o", "pipefail", "-c", line)
			cmd.Env = append(os.Environ(), "PATH="+filepath.Join(here, "bin")+":"+os.Getenv("PATH"))
			out, err := cmd.CombinedOutput()
			cancel()
			if err != nil {
				t.Errorf("%s: %s: %v\n%s", path, line, err, out)
			}
		}
	}
	if n < 10 {
		t.Errorf("only %d examples were run", n)
	}
}
