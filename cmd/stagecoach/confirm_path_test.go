package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stagecoach/lab"
	"stagecoach/mail"
)

// The whole way in the lab: a user is added whose mail is to go to BigMail. Mail to him is deferred
// until BigMail's user answers our question, which passes all of BigMail's checks.
func TestConfirmPath(t *testing.T) {
	t.Parallel()
	t.Run("one process", func(t *testing.T) {
		w := testWorld(t)
		oneProcess(t, w)
		confirmPath(t, w)
	})
	t.Run("many processes", func(t *testing.T) {
		w := testWorld(t)
		if _, err := ensureSecret(w.path("srs.key")); err != nil {
			t.Fatal(err)
		}
		manyProcesses(t, w)
		confirmPath(t, w)
	})
}

func confirmPath(t *testing.T, w *world) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	w.BigMail.AddUser("gus.real")
	target := "gus.real@" + lab.BigMailDomain
	if out, err := program(t, "user", "add", "gus", "-t", target, "-r", w.path("users"), "--domain", w.domain); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	send := func(to string) error {
		return w.Correspondent.Send(ctx, lab.Outgoing{From: "carol@" + lab.CorrespondentDomain, To: []string{to}, Subject: "hello gus", Text: "Hello.\n"})
	}
	until(t, "mail to the new user is deferred", func() bool {
		var r *mail.Refusal
		err := send("gus@" + w.domain)
		return errors.As(err, &r) && r.Code == 450 && r.Status == "4.2.1"
	})
	got, err := find(ctx, w.BigMail.User("gus.real").Inbox, "Do you want the mail to gus@"+w.domain+"?")
	if err != nil {
		t.Fatal(err)
	}
	if err := want(got, map[string]string{"spf": "pass", "dkim": "pass", "dmarc": "pass", "iprev": "pass"}); err != nil || got.Spam {
		t.Errorf("%v, spam: %v\n%s", err, got.Spam, got.Raw)
	}
	reply := got.Message().Header.Value("Reply-To")
	if err := w.BigMail.Send(ctx, lab.Outgoing{From: target, To: []string{reply}, Subject: "Re: Do you want the mail", Text: "Yes.\n"}); err != nil {
		t.Fatal(err)
	}
	until(t, "the mark is gone", func() bool {
		_, err := os.Stat(filepath.Join(w.path("users"), ".unconfirmed", "gus"))
		return os.IsNotExist(err)
	})
	until(t, "mail to him is taken", func() bool { return send("gus@"+w.domain) == nil })
	if got, err = find(ctx, w.BigMail.User("gus.real").Inbox, "hello gus"); err != nil || !strings.HasPrefix(got.Envelope.From.Local(), "SRS0=") {
		t.Error(err)
	}
}
