package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stagecoach/lab"
	"stagecoach/mail"
	"stagecoach/rfc/arc"
)

// The test binary is the program itself when this is set, so that tests run real processes.
const asProgram = "STAGECOACH_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func testWorld(t *testing.T) *world {
	t.Helper()
	w, err := newWorld(t.Context(), t.TempDir(), false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

// oneProcess runs the service in this process, until the returned function is called.
func oneProcess(t *testing.T, w *world) (stop func()) {
	t.Helper()
	p := serveWith(t, w, func(*config) {})
	return func() {
		start := time.Now()
		if err := p.shutdown(); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("stopping took %v", took)
		}
	}
}

// serveWith runs the service with a changed configuration.
func serveWith(t *testing.T, w *world, change func(*config)) *process {
	t.Helper()
	cfg, err := w.config()
	if err != nil {
		t.Fatal(err)
	}
	change(cfg)
	p, err := newProcess(t.Context(), runOptions{Log: cfg.Log})
	if err != nil {
		t.Fatal(err)
	}
	if err := serve(p, cfg); err != nil {
		t.Fatal(p.abort(err))
	}
	t.Cleanup(func() { p.shutdown() })
	return p
}

// stageProcess runs one stage as a process of its own, and waits until it listens.
func stageProcess(t *testing.T, address string, args ...string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	var log bytes.Buffer
	cmd.Stderr = &log
	cmd.Stdout = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		start := time.Now()
		cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", args[0], err)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%s took %v to stop", args[0], took)
		}
		if t.Failed() {
			t.Logf("%s:\n%s", args[0], log.String())
		}
	})
	waitFor(t, address, &log)
}

// manyProcesses runs each stage as a process, on the addresses of the one process. taught are options
// of both chains about what users teach.
func manyProcesses(t *testing.T, w *world, taught ...string) {
	t.Helper()
	inner := func(n int) string { return fmt.Sprintf("%s:%d", w.address, 5000+n) }
	sign, relay, filter := inner(1), inner(2), inner(3)
	users := []string{"--domain", w.domain, "--name", w.host, "--remote", w.path("users"), "--poll", "2s"}
	cert := []string{"--certificate", w.path("chain.pem"), "--certificate-key", w.path("key.pem")}
	args := func(command string, more ...[]string) []string {
		all := []string{command, "--log-level", "warn"}
		for _, m := range more {
			all = append(all, m...)
		}
		return all
	}
	key := "@" + w.path("srs.key")
	stageProcess(t, relay, args("relay", users, []string{"--spool", w.path("spool"), "--listen", relay, "--nameserver", w.Nameserver(), "--srs-key", key,
		"--mx-port", fmt.Sprint(w.SMTPPort()), "--source", w.address.String(), "--allow-loopback", "--reports", sign})...)
	stageProcess(t, sign, args("signer", users[:4], []string{"--destination", relay, "--listen", sign, "--only-ours",
		"--dkim-key", "demo-rsa=" + w.path("dkim-rsa.pem"), "--dkim-key", "demo-ed25519=" + w.path("dkim-ed25519.pem")})...)
	// What comes in passes the signer too, which seals it, as in the one process. There the signer
	// stands behind the forwarder, here before it: the set is made before the mark of a loop.
	stageProcess(t, filter, args("spamfilter", users[:6], taught, []string{"--destination", sign, "--listen", filter})...)
	stageProcess(t, w.mx(), args("verifier", users, cert, []string{"--destination", filter, "--listen", w.mx(), "--nameserver", w.Nameserver(),
		"--greet-delay", "50ms", "--srs-key", key})...)
	stageProcess(t, w.at(465), args("submission", users, cert, taught, []string{"--destination", sign, "--listen-tls", w.at(465), "--listen-starttls", w.at(587)})...)
}

// The same mails, through one process and through one process a stage, are the same bytes but
// for Received, with the same envelope.
func TestOneProcessAndMany(t *testing.T) {
	t.Parallel()
	w := testWorld(t)
	stop := oneProcess(t, w)
	outOne, inOne := bothWays(t, w)
	stop()
	manyProcesses(t, w)
	outMany, inMany := bothWays(t, w)

	for name, pair := range map[string][2]*lab.Received{"out": {outOne, outMany}, "in": {inOne, inMany}} {
		if d := cmp.Diff(comparable(pair[0], w), comparable(pair[1], w)); d != "" {
			t.Errorf("%s: one process (-) and many (+) differ:\n%s", name, d)
		}
		if d := cmp.Diff(fmt.Sprint(pair[0].Envelope), fmt.Sprint(pair[1].Envelope)); d != "" {
			t.Errorf("%s: the envelopes differ:\n%s", name, d)
		}
		for _, r := range pair {
			want := map[string]arc.Status{"out": arc.None, "in": arc.Pass}[name]
			if chain := arc.Verify(t.Context(), r.Message(), w.Names()); chain.Status != want || chain.Length > 1 {
				t.Errorf("%s: the chain is %+v", name, chain)
			}
		}
	}
}

// bothWays sends the same two mails at every call, and checks what the receivers found.
func bothWays(t *testing.T, w *world) (out, in *lab.Received) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	before := len(w.Lookout.User("bob").Mails())
	text := "From: Ann <ann@" + w.domain + ">\r\nTo: bob@lookout.example\r\nSubject: the same\r\nDate: Sat, 21 Nov 2026 12:00:00 +0000\r\n" +
		"Message-ID: <1@" + w.domain + ">\r\nX-Odd : 1\r\n\r\nHello\r\n..dots\r\n\r\n \t\r\nend\r\n"
	if err := w.submit("bob@lookout.example", text); err != nil {
		t.Fatal(err)
	}
	got, err := w.Lookout.User("bob").Wait(ctx, before+1)
	if err != nil {
		t.Fatal(err)
	}
	out = got[before]
	if err := want(out, map[string]string{"spf": "pass", "dkim": "pass", "dmarc": "pass"}); err != nil {
		t.Error(err)
	}
	if !strings.HasSuffix(string(out.Raw), text) {
		t.Errorf("what Ann wrote has changed:\n%s", out.Raw)
	}
	before = len(w.BigMail.User(annsMailbox).Mails())
	from, to := "carol@"+lab.CorrespondentDomain, "ann@"+w.domain
	carols := "From: Carol <" + from + ">\r\nTo: " + to + "\r\nSubject: the same\r\nDate: Sat, 21 Nov 2026 12:00:00 +0000\r\n" +
		"Message-ID: <2@" + lab.CorrespondentDomain + ">\r\nAuthentication-Results: " + w.host + "; dmarc=pass header.from=forged.example\r\n\r\nHello Ann\r\n"
	if err := w.Correspondent.Send(ctx, lab.Outgoing{From: from, To: []string{to}, Raw: []byte(carols)}); err != nil {
		t.Fatal(err)
	}
	if got, err = w.BigMail.User(annsMailbox).Wait(ctx, before+1); err != nil {
		t.Fatal(err)
	}
	if err := w.checkForwarded(got[before]); err != nil {
		t.Error(err)
	}
	return out, got[before]
}

// comparable returns a received message without what has the time in it: Received, the seal,
// and what Carol's provider and the receiver wrote.
func comparable(r *lab.Received, w *world) []string {
	m := r.Message()
	m.Header.Strike(func(f mail.Field) bool {
		return f.Is("Received") || strings.HasPrefix(f.Name(), "ARC-") || f.Is("DKIM-Signature") && strings.Contains(f.Raw(), "correspondent.example") ||
			f.Is("Authentication-Results") && !strings.Contains(f.Value(), w.host+";")
	})
	// Carol's signatures have the time in them; so has what we say of them.
	return strings.SplitAfter(signatureHint.ReplaceAllString(m.String(), "header.b=…"), "\r\n")
}

var signatureHint = regexp.MustCompile(`header\.b=("[^"]*"|[^;\s]*)`)

func TestDemo(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(os.Args[0], "demo", "--once")
	cmd.Env = append(os.Environ(), asProgram+"=1")
	start := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Both ways work.") || strings.Contains(string(out), "level=WARN") {
		t.Fatalf("%v\n%s", err, out)
	}
	if took := time.Since(start); took > time.Minute {
		t.Errorf("the demo took %v", took)
	}
}
