package teach

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"stagecoach/account"
	"stagecoach/mail"
	"stagecoach/spam"
	"stagecoach/spam/teach"
	"stagecoach/stage/stagetest"
)

func newTeacher(t *testing.T, next mail.Handler, users map[string]string) *Teacher {
	t.Helper()
	files := map[string][]byte{}
	for name, text := range users {
		files[name] = []byte(text)
	}
	book, err := account.Parse(files, account.Settings{Domain: "x.example"})
	if err != nil {
		t.Fatal(err)
	}
	lessons, err := teach.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	model, err := spam.Default()
	if err != nil {
		t.Fatal(err)
	}
	judge := &spam.Judge{Model: model}
	return &Teacher{Accounts: account.Static(book), Lessons: lessons, Judge: func() *spam.Judge { return judge }, Next: next}
}

var household = map[string]string{
	"ann": `{"targets":["ann@far.example"],"aliases":["info"]}`,
	"bob": `{"targets":["bob@far.example"]}`,
}

const original = "From: carol@example.net\r\nSubject: minutes\r\nMessage-ID: <1@example.net>\r\n\r\n" +
	"the committee of the garden club met on monday and spoke of the hedges\r\n"

// forwarded is a mail with an attached one.
func forwarded(by string, encoded bool, to ...string) *mail.Mail {
	part := "Content-Type: message/rfc822\r\n\r\n" + original
	if encoded {
		part = "Content-Type: message/rfc822; name=\"x.eml\"\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.StdEncoding.EncodeToString([]byte(original)) + "\r\n"
	}
	return submitted(by, "Subject: Fwd: minutes\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nthis is spam\r\n--b\r\n"+part+"--b--\r\n", to...)
}

func submitted(by, raw string, to ...string) *mail.Mail {
	m := &mail.Mail{Message: mail.NewMessage([]byte(raw))}
	m.Envelope.Submitter = by
	for _, a := range to {
		m.Envelope.To = append(m.Envelope.To, mail.Recipient{Address: mail.MustParseAddress(a)})
	}
	return m
}

func label(t *testing.T, s *Teacher, user string) spam.Label {
	t.Helper()
	lessons, err := s.Lessons.Lessons(user)
	if err != nil {
		t.Fatal(err)
	}
	v, err := s.Judge().Judge(mail.NewMessage([]byte(original)), spam.Beside{Lessons: lessons})
	if err != nil {
		t.Fatal(err)
	}
	return v.Label
}

func TestTeachByMail(t *testing.T) {
	for _, encoded := range []bool{false, true} {
		sink := &stagetest.Sink{}
		s := newTeacher(t, sink, household)
		before := label(t, s, "bob@x.example")
		if err := s.Handle(t.Context(), forwarded("ann@x.example", encoded, "spam@x.example")); err != nil {
			t.Fatal(err)
		}
		if got := label(t, s, "ann@x.example"); got != spam.Yes {
			t.Errorf("after spam@: %s", got)
		}
		if got := label(t, s, "bob@x.example"); got != before {
			t.Errorf("another user's: %s, before %s", got, before)
		}
		if err := s.Handle(t.Context(), forwarded("ann@x.example", encoded, "spam@x.example")); err != nil {
			t.Errorf("the same again: %v", err)
		}
		if err := s.Handle(t.Context(), forwarded("ann@x.example", encoded, "HAM@x.example")); err != nil {
			t.Fatal(err)
		}
		if got := label(t, s, "ann@x.example"); got != spam.No {
			t.Errorf("after ham@: %s", got)
		}
		if n := len(sink.Mails()); n != 0 {
			t.Errorf("%d mails went on", n)
		}
	}
}

func TestRefusals(t *testing.T) {
	s := newTeacher(t, &stagetest.Sink{}, household)
	for name, c := range map[string]struct {
		m    *mail.Mail
		code int
	}{
		"nobody":      {forwarded("", false, "spam@x.example"), 550},
		"not vouched": {forwarded("<>", false, "spam@x.example"), 550},
		"a stranger":  {forwarded("eve@elsewhere.example", false, "spam@x.example"), 550},
		"both":        {forwarded("ann@x.example", false, "spam@x.example", "ham@x.example"), 554},
		"inline":      {submitted("ann@x.example", "Subject: Fwd\r\n\r\n"+original, "spam@x.example"), 554},
	} {
		err := s.Handle(t.Context(), c.m)
		if !mail.IsPermanent(err) || mail.RefusalOf(err).Code != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	if stats, err := s.Lessons.Stats(); err != nil || len(stats) != 0 {
		t.Errorf("taught all the same: %+v, %v", stats, err)
	}
}

func TestOthersPass(t *testing.T) {
	sink := &stagetest.Sink{}
	s := newTeacher(t, sink, household)
	m := forwarded("ann@x.example", false, "spam@x.example", "dan@far.example", "spam@far.example")
	if err := s.Handle(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	seen := sink.Mails()
	if len(seen) != 1 || len(m.Envelope.To) != 2 {
		t.Fatalf("%d mails went on, for %v", len(seen), m.Envelope.To)
	}
	if !s.Lessons.Knows("ann@x.example", mail.MustParseAddress("dan@far.example")) {
		t.Error("a correspondent is not known")
	}
	later := errors.New("disk")
	s.Next = mail.HandlerFunc(func(context.Context, *mail.Mail) error { return later })
	if err := s.Handle(t.Context(), submitted("ann@x.example", original, "eve@far.example")); !errors.Is(err, later) {
		t.Errorf("%v", err)
	}
	if s.Lessons.Knows("ann@x.example", mail.MustParseAddress("eve@far.example")) {
		t.Error("a mail that was not taken made a correspondent")
	}
}

// Somebody who has the name keeps it.
func TestNameIsTaken(t *testing.T) {
	s := newTeacher(t, &stagetest.Sink{}, map[string]string{"spam": `{"targets":["monty@far.example"]}`, "all": `{"targets":["a@far.example"],"catch_all":true}`})
	for a, want := range map[string]bool{"spam@x.example": false, "ham@x.example": true, "ham@far.example": false, "eggs@x.example": false} {
		if got := s.Teaches(mail.MustParseAddress(a)); got != want {
			t.Errorf("%s: %v", a, got)
		}
	}
}

func TestConformance(t *testing.T) {
	stagetest.Run(t, func(next mail.Handler) mail.Handler { return newTeacher(t, next, household) })
}

func FuzzAttachments(f *testing.F) {
	f.Add("multipart/mixed; boundary=b", "--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\ny\r\n--b--")
	f.Fuzz(func(t *testing.T, ct, body string) {
		got, err := attachments(mail.NewMessageFrom("Content-Type: "+ct+"\r\n\r\n", strings.NewReader(body), int64(len(body)), nil))
		if err != nil || len(got) > maxMails {
			t.Fatalf("%d mails, %v", len(got), err)
		}
	})
}
