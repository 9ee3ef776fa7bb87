package main

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"stagecoach/mail"
	"stagecoach/stage/stagetest"
)

// From the command to the confirmation: the service asks, the answer counts at once, and a commit
// takes the mark away.
func TestConfirmer(t *testing.T) {
	bare, state := bareUsers(t), t.TempDir()
	if out, err := program(t, "user", "add", "ann", "-t", "ann@far.example", "-r", bare, "--domain", "x.example"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	log := &lockedBuffer{}
	p, err := newProcess(t.Context(), runOptions{Log: logOptions{Level: "debug", Format: "text"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.shutdown(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(log)
		}
	}()
	c, err := parseConfig([]byte("domain = \"x.example\"\n[users]\nremote = \"" + bare + "\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	accounts, err := p.accounts(c.identityOptions, c.Users)
	if err != nil {
		t.Fatal(err)
	}
	asked, next := &stagetest.Sink{}, &stagetest.Sink{}
	h, takes, err := p.confirmer(c.identityOptions, c.Users, accounts, state, asked, next)
	if err != nil {
		t.Fatal(err)
	}
	u, _ := accounts.Book().Login("ann")
	if !u.Waits() {
		t.Error("ann has a target before anybody confirmed it")
	}
	until(t, "the target was asked", func() bool { return len(asked.Mails()) == 1 })
	var reply mail.Address
	for _, f := range asked.Mails()[0].Fields {
		if text, ok := strings.CutPrefix(f, "Reply-To: "); ok {
			reply = mail.MustParseAddress(strings.TrimSpace(text))
		}
	}
	if !takes(reply) || takes(mail.MustParseAddress("ann@x.example")) {
		t.Errorf("the gates take %s: %v", reply, takes(reply))
	}
	m := &mail.Mail{Message: mail.NewMessage([]byte("From: ann@far.example\r\n\r\nyes\r\n"))}
	m.Envelope.From = mail.MustParseAddress("ann@far.example")
	m.Envelope.To = []mail.Recipient{{Address: reply}}
	if err := h.Handle(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if u, _ = accounts.Book().Login("ann"); !u.Receives() {
		t.Error("the answer does not count at once")
	}
	until(t, "the commit", func() bool {
		out, err := exec.Command("git", "--git-dir", bare, "log", "-1", "--format=%s %an", "main").Output()
		return err == nil && string(out) == "Confirm a target of ann@x.example stagecoach\n"
	})
	if out, err := program(t, "user", "show", "ann", "-r", bare, "--domain", "x.example"); err != nil || strings.Contains(out, "unconfirmed") {
		t.Errorf("%v\n%s", err, out)
	}
}

// Switched off, nobody is asked and every target counts.
func TestConfirmerOff(t *testing.T) {
	bare := bareUsers(t)
	if out, err := program(t, "user", "add", "ann", "-t", "ann@far.example", "-r", bare, "--domain", "x.example"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	p, err := newProcess(t.Context(), runOptions{Log: logOptions{Level: "error", Format: "text"}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.shutdown() //nolint:errcheck // nothing runs
	c, err := parseConfig([]byte("domain = \"x.example\"\n[users]\nremote = \"" + bare + "\"\nconfirm = false\n"))
	if err != nil {
		t.Fatal(err)
	}
	accounts, err := p.accounts(c.identityOptions, c.Users)
	if err != nil {
		t.Fatal(err)
	}
	next := &stagetest.Sink{}
	h, takes, err := p.confirmer(c.identityOptions, c.Users, accounts, t.TempDir(), refusing{}, next)
	if err != nil || h != mail.Handler(next) || takes(mail.MustParseAddress("a@x.example")) {
		t.Error(h, err)
	}
	if u, _ := accounts.Book().Login("ann"); !u.Receives() {
		t.Error("ann has no target")
	}
}

func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for range 2400 {
		if done() {
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Fatalf("%s: not in a minute", what)
}
