package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"stagecoach/lab/peer"
)

func TestManPages(t *testing.T) {
	pages, err := manPages()
	if err != nil {
		t.Fatal(err)
	}
	for name, words := range map[string][]string{
		"stagecoach.1":           {`\fBinit\fR`, ".SH COMMANDS"},
		"stagecoach-init.1":      {"stagecoach\\-init \\- set a mail domain up", `\fB\-\-secondary\-ns\fR=\fIHOST[=IP]\fR`, "stagecoach init example.org\n", ".BR stagecoach (1)"},
		"stagecoach-mail-send.1": {".B stagecoach mail send", ".SH ARGUMENTS"},
	} {
		for _, w := range words {
			if !bytes.Contains(pages[name], []byte(w)) {
				t.Errorf("%s has no %q:\n%s", name, w, pages[name])
			}
		}
	}
	if _, ok := pages["stagecoach-adduser.1"]; ok {
		t.Error("a hidden command has a page")
	}
}

// mandoc, which is strict, has nothing against any page.
func TestManPagesForMandoc(t *testing.T) {
	peer.Need(t, "mandoc")
	dir := filepath.Join(t.TempDir(), "man1")
	if err := (manCmd{Dir: dir}).Run(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.1"))
	if err != nil || len(files) < 50 {
		t.Fatalf("%d pages, %v", len(files), err)
	}
	out, err := exec.Command("mandoc", append([]string{"-T", "lint", "-W", "warning"}, files...)...).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if !strings.Contains(line, "missing date") {
			t.Error(strings.TrimSpace(strings.TrimPrefix(line, "mandoc: "+dir+string(os.PathSeparator))))
		}
	}
	if err != nil && !strings.Contains(string(out), "missing date") {
		t.Error(err)
	}
}
