package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"stagecoach/lab"
)

// program runs the program with arguments, and returns what it printed.
func program(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func mustProgram(t *testing.T, args ...string) string {
	t.Helper()
	out, err := program(t, args...)
	if err != nil {
		t.Fatalf("stagecoach %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// An operator looks at the queue of a running service, and changes it.
func TestQueueCommands(t *testing.T) {
	t.Parallel()
	w := testWorld(t)
	serveWith(t, w, func(c *config) { c.Queue.RetryFirst = Duration(time.Hour) })
	sink, err := w.NewSink("grey.example")
	if err != nil {
		t.Fatal(err)
	}
	sink.Always(lab.AtRcpt, lab.Act{Reply: "450 4.7.1 not yet, says the sink"})
	for _, local := range []string{"one", "two", "three"} {
		if err := w.submit(local+"@grey.example", plain("ann@"+w.domain, local+"@grey.example", "for "+local)); err != nil {
			t.Fatal(err)
		}
	}
	spool := []string{"--spool", filepath.Join(w.folder, "queue")}
	queue := func(args ...string) string {
		t.Helper()
		return mustProgram(t, append(append([]string{"queue", args[0]}, spool...), args[1:]...)...)
	}
	var list string
	for ctx := soon(t); ctx.Err() == nil && strings.Count(list, "deferred") != 3; time.Sleep(50 * time.Millisecond) {
		list = queue("list")
	}
	if strings.Count(list, "not yet, says the sink") != 3 {
		t.Fatalf("the list:\n%s", list)
	}
	id := strings.Fields(queue("list", "--recipient", "two@*"))[10]
	if show := queue("show", id); !strings.Contains(show, "for two") || !strings.Contains(show, "two@grey.example") {
		t.Errorf("show:\n%s", show)
	}
	if out := queue("hold", id); !strings.Contains(out, "1 of 1 changed") {
		t.Errorf("hold: %s", out)
	}
	if out := queue("list", "--state", "held", "--json"); strings.Count(out, "\n") != 1 || !json.Valid([]byte(out)) {
		t.Errorf("held: %s", out)
	}
	sink.Behave()
	if out := queue("retry", "--domain", "grey.example", "--dry-run"); !strings.Contains(out, "retry would change") {
		t.Errorf("dry run: %s", out)
	}
	if n := len(sink.Mails()); n != 0 {
		t.Errorf("the dry run delivered %d mails", n)
	}
	queue("retry", "--domain", "grey.example")
	if _, err := sink.Wait(soon(t), 2); err != nil {
		t.Fatal(err)
	}
	queue("release", id)
	if got, err := sink.Wait(soon(t), 3); err != nil || len(got) != 3 {
		t.Fatalf("%d mails, %v", len(got), err)
	}
	sink.Always(lab.AtRcpt, lab.Act{Reply: "450 4.7.1 not yet"})
	if err := w.submit("four@grey.example", plain("ann@"+w.domain, "four@grey.example", "four")); err != nil {
		t.Fatal(err)
	}
	if out, err := program(t, append([]string{"queue", "drop"}, spool...)...); err == nil || !strings.Contains(out, "--all") {
		t.Errorf("drop without a filter: %v %s", err, out)
	}
	for ctx := soon(t); ctx.Err() == nil; time.Sleep(50 * time.Millisecond) {
		if out := queue("drop", "--all"); strings.Contains(out, "1 of 1 changed") {
			break
		}
	}
	if out := queue("list"); !strings.Contains(out, "nothing in the queue matches") {
		t.Errorf("after drop:\n%s", out)
	}
	if out := queue("stats"); !strings.Contains(out, `"Delivered": 3`) || !strings.Contains(out, `"Dropped": 1`) {
		t.Errorf("stats:\n%s", out)
	}
}

// A process shows its metrics, logs a mail under one id, and keeps secrets to itself.
func TestMetricsLogsAndSecrets(t *testing.T) {
	t.Parallel()
	w := testWorld(t)
	cfg, err := w.config()
	if err != nil {
		t.Fatal(err)
	}
	metrics := w.at(9100)
	file := writeConfig(t, w, cfg, "metrics = \""+metrics+"\"\n")
	if out := mustProgram(t, "serve", "--config", file, "--check"); !strings.Contains(out, "the configuration is good") {
		t.Errorf("check: %s", out)
	}
	cmd := exec.Command(os.Args[0], "serve", "--config", file)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	var log strings.Builder
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop := func() {
		if !stopped {
			stopped = true
			cmd.Process.Signal(os.Interrupt)
			if err := cmd.Wait(); err != nil {
				t.Errorf("%v\n%s", err, log.String())
			}
		}
	}
	defer stop()
	waitFor(t, w.at(465), &log)
	if _, err := w.out(soon(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.in(soon(t)); err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get("http://" + metrics + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	for _, line := range []string{`stagecoach_mails_total{outcome="taken",stage="submit"} 1`, `stagecoach_mails_total{outcome="taken",stage="verify"} 1`,
		`stagecoach_deliveries_total{outcome="delivered"} 2`, `stagecoach_smtp_events_total{code="",kind="logged_in",listener="submissions"} 1`} {
		if !strings.Contains(string(body), line) {
			t.Errorf("/metrics does not have %s", line)
		}
	}
	environ, _ := os.ReadFile("/proc/" + itoa(cmd.Process.Pid) + "/environ")
	cmdline, _ := os.ReadFile("/proc/" + itoa(cmd.Process.Pid) + "/cmdline")
	stop()
	key, err := os.ReadFile(w.path("dkim-ed25519.pem"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"log": log.String(), "metrics": string(body), "environment": string(environ), "command line": string(cmdline)} {
		for _, secret := range []string{w.password, strings.Split(string(key), "\n")[1]} {
			if strings.Contains(text, secret) {
				t.Errorf("a secret stands in the %s", name)
			}
		}
	}
	taken := regexp.MustCompile(`msg=taken id=(\S+) stage=submit`).FindStringSubmatch(log.String())
	if taken == nil || !regexp.MustCompile(`msg=delivered id=`+taken[1]+` .*to=bob@lookout.example`).MatchString(log.String()) {
		t.Errorf("the lines of one mail do not have one id:\n%s", log.String())
	}
}
