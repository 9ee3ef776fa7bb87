package main

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"testing"

	"stagecoach/lab/peer"
)

// TestProgram tries what needs our program, built from this checkout.
func TestProgram(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the program")
	}
	binary := filepath.Join(t.TempDir(), "stagecoach")
	if out, err := exec.Command("go", "build", "-o", binary, "stagecoach/cmd/stagecoach").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Run("versus", func(t *testing.T) { compare(t, binary) })
	t.Run("kill", func(t *testing.T) { crashes(t, binary) })
}

// The comparison itself, short: both relays get every message to the sink.
func compare(t *testing.T, binary string) {
	t.Helper()
	peer.NeedRoot(t)
	peer.Need(t, "postfix", "postconf")
	var out bytes.Buffer
	err := run(t.Context(), []string{"-versus", "postfix", "-stagecoach", binary, "-sessions", "5", "-size", "4k", "-count", "200", "-rounds", "1", "-json"}, &out, testWriter{t})
	if err != nil {
		t.Fatal(err)
	}
	var c comparison
	if err := json.Unmarshal(out.Bytes(), &c); err != nil {
		t.Fatal(err)
	}
	for _, r := range append(c.Postfix, c.Ours...) {
		if r.Accepted != 200 || r.Delivered != 200 || !r.Drained || r.CPUPerMessage <= 0 {
			t.Errorf("%+v", r)
		}
	}
}

// A few crashes of the real program: nothing that was acknowledged is lost. CI has more of
// them by the command.
func crashes(t *testing.T, binary string) {
	t.Helper()
	var out bytes.Buffer
	err := run(t.Context(), []string{"-kill", "3", "-stagecoach", binary, "-sessions", "8", "-size", "4k", "-rate", "200",
		"-sink-latency", "20ms", "-drain", "30s", "-json"}, &out, testWriter{t})
	if err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	var r crashReport
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if r.Kills != 3 || r.Verdict.Acked < 50 || r.Verdict.Delivered != r.Verdict.Acked || r.Broken == 0 {
		t.Errorf("%+v", r)
	}
	t.Logf("%+v", r)
}
