package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"stagecoach/lab"
	"stagecoach/tool/check"
)

// checkIn runs "stagecoach check" as a process in a world, and returns its report and status.
func checkIn(t *testing.T, w *world, more ...string) (*check.Report, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	args := append([]string{
		"check", "--json", "--timeout", "150s", "--hints", rootOf(w), "--dns-port", itoa(int(w.DNSPort())), "--trust", "/dev/null", "--private",
		"--no-ipv6", "--open", "127.in-addr.arpa", "--open", "test", "--smtp-port", itoa(int(w.SMTPPort())),
		"--submissions-port", "4465", "--submission-port", "4587", "--ca-file", w.path("ca.pem"),
		"--receivers", lab.BigMailDomain + "," + lab.LookoutDomain, "--clock", "none",
	}, more...)
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	var out, trouble bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &trouble
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	var r check.Report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("%v\n%s\n%s", err, out.String(), trouble.String())
	}
	return &r, cmd.ProcessState.ExitCode()
}

// rootOf is the address of the lab's root server: the second of its block.
func rootOf(w *world) string { return w.Block().Addr().Next().Next().String() }

// In the demo's world all is right that this world can have, and the configuration's host, keys
// and folder are found.
func TestCheckInTheLab(t *testing.T) {
	w := testWorld(t)
	oneProcess(t, w)
	cfg, err := w.config()
	if err != nil {
		t.Fatal(err)
	}
	file := writeConfig(t, w, cfg, "")
	r, status := checkIn(t, w, "--config", file)
	if status != 0 || r.Result != check.OK || r.Domain != w.domain {
		t.Errorf("the status is %d, the result %s", status, r.Result)
	}
	said := map[string]check.Status{}
	for _, l := range r.Lines {
		if l.Status == check.Wrong || l.Status == check.Unknown {
			t.Errorf("%s %s: %s: %s", l.Status, l.ID, l.About, l.Text)
		}
		said[l.ID] = l.Status
	}
	for _, id := range []string{"nameservers", "soa", "ns", "mx", "ptr", "ehlo", "port-25-in", "port-25-out", "starttls", "certificate",
		"postmaster", "open-relay", "submissions", "submission", "spf", "dkim", "config", "permissions", "disk", "gmail", "outlook", "yahoo"} {
		if said[id] != check.OK {
			t.Errorf("%s says %q", id, said[id])
		}
	}
	if t.Failed() {
		for _, l := range r.Lines {
			t.Logf("%-8s %-12s %s: %s", l.Status, l.ID, l.About, l.Text)
		}
	}
}

func TestCheckFindsWhatIsBroken(t *testing.T) {
	w := testWorld(t)
	oneProcess(t, w)
	if err := errors.Join(w.SetPTR(w.address, ""), w.RemoveRecords("_dmarc."+w.domain)); err != nil {
		t.Fatal(err)
	}
	r, status := checkIn(t, w, w.domain, "--only", "ptr", "--only", "dmarc", "--only", "mx")
	if status != 1 || r.Result != check.Wrong || r.Count(check.Wrong) != 2 {
		t.Errorf("the status is %d: %+v", status, r)
	}
	r, status = checkIn(t, w, "nowhere.example", "--only", "delegation")
	if status != 1 || len(r.Lines) != 1 || !strings.Contains(r.Lines[0].Text, "does not exist") {
		t.Errorf("the status is %d: %+v", status, r)
	}
}

func TestCheckUsage(t *testing.T) {
	for _, args := range [][]string{{"example.org", "--only", "nonsense"}, {"no domain"}, {"--config", "/nowhere/at/all.toml"}} {
		cmd := exec.Command(os.Args[0], append([]string{"check"}, args...)...)
		cmd.Env = append(os.Environ(), asProgram+"=1")
		out, err := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); err == nil || got != exitUsage {
			t.Errorf("check %v: status %d, want 2: %s", args, got, out)
		}
	}
}
