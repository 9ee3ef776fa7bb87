package filter

import (
	"context"
	"strings"
	"testing"

	"stagecoach/mail"
	"stagecoach/spam"
	"stagecoach/spam/teach"
)

func newSpam(t *testing.T) *Spam {
	t.Helper()
	m, err := spam.Default()
	if err != nil {
		t.Fatal(err)
	}
	lessons, err := teach.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := &Spam{ID: "mx.example.org", Lessons: lessons}
	s.Use(m)
	return s
}

func to(raw string, recipients ...string) *mail.Mail {
	m := &mail.Mail{Message: mail.NewMessage([]byte(strings.ReplaceAll(raw, "\n", "\r\n")))}
	for _, r := range recipients {
		m.Envelope.To = append(m.Envelope.To, mail.Recipient{Address: mail.MustParseAddress(r)})
	}
	return m
}

const note = `From: carol@example.net
Subject: the minutes
Message-ID: <1@example.net>

the committee of the garden club met on monday and spoke of the hedges and of the bill for the shed
`

func TestLessonsAreTheUsersOwn(t *testing.T) {
	s := newSpam(t)
	m := to(note, "ann@example.org")
	if err := s.Lessons.Teach("ann@example.org", s.Judge(), m.Message, true); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		to   []string
		want bool
	}{
		{[]string{"ann@example.org"}, true},
		{[]string{"Ann@example.org"}, true},
		{[]string{"bob@example.org"}, false},
		{[]string{"ann@example.org", "bob@example.org"}, false},
	} {
		v, err := s.Classify(t.Context(), to(note, c.to...))
		if err != nil || (v.Label == Yes) != c.want {
			t.Errorf("%v: %+v, %v", c.to, v, err)
		}
	}
}

func TestEvidenceOfTheVerifier(t *testing.T) {
	s := newSpam(t)
	probability := func(field string) float64 {
		v, err := s.Classify(t.Context(), to(field+note, "ann@example.org"))
		if err != nil {
			t.Fatal(err)
		}
		return v.Probability
	}
	pass := probability("Authentication-Results: mx.example.org; dmarc=pass header.from=example.net\n")
	fail := probability("Authentication-Results: mx.example.org; dmarc=fail header.from=example.net\n")
	forged := probability("Authentication-Results: mx.example.net; dmarc=pass header.from=example.net\n")
	if none := probability(""); !(pass < none && none < fail) || forged != none {
		t.Errorf("pass %v, none %v, fail %v, another's pass %v", pass, none, fail, forged)
	}
	if err := s.Lessons.Wrote("ann@example.org", mail.MustParseAddress("carol@example.net")); err != nil {
		t.Fatal(err)
	}
	if known := probability("Authentication-Results: mx.example.org; dmarc=pass header.from=example.net\n"); known >= pass {
		t.Errorf("a correspondent: %v, before %v", known, pass)
	}
}

func TestRefusal(t *testing.T) {
	verdict := Verdict{Label: Yes, Probability: 0.999, Reasons: []string{"secret reason"}}
	for _, c := range []struct {
		v       Verdict
		limits  map[string]float64
		refused bool
	}{
		{verdict, map[string]float64{"a": 0.99, "b": 0.99}, true},
		{verdict, map[string]float64{"a": 0.99, "b": 2}, false},
		{verdict, map[string]float64{"a": 0.9999, "b": 0.9}, false},
		{Verdict{Label: Unknown, Probability: 0.9999}, map[string]float64{"a": 0.9, "b": 0.9}, false},
	} {
		taken := false
		f := &Filter{
			Classifier: classify(func(context.Context, *mail.Mail) (Verdict, error) { return c.v, nil }),
			Reject:     func(a mail.Address) float64 { return c.limits[a.Local()] },
			Next:       mail.HandlerFunc(func(context.Context, *mail.Mail) error { taken = true; return nil }),
		}
		err := f.Handle(t.Context(), to(note, "a@example.org", "b@example.org"))
		if taken == c.refused || c.refused != mail.IsPermanent(err) {
			t.Errorf("%+v: taken %v, %v", c, taken, err)
		}
		if r := mail.RefusalOf(err); c.refused && (r.Code != 550 || r.Status != "5.7.1" || strings.Contains(r.Text, "secret")) {
			t.Errorf("the reply is %d %s %s", r.Code, r.Status, r.Text)
		}
	}
}

// Mail that no parser likes passes byte for byte, with a label on top.
func TestMalformedMailPasses(t *testing.T) {
	s := newSpam(t)
	bad := []string{
		"", "\r\n", "no field", "no field\r\n\r\n", ": empty\r\n\r\nx", "Subject\r\n\r\nx", " folded first\r\n\r\nx", "\x00\x01\r\n\r\n\x00",
		"Subject: \xff\xfe\r\n\r\n\xff", "Subject: =?\r\n\r\n", "Subject: =?x?q?\r\n\r\n", "Subject: =?utf-8?b?!!!?=\r\n\r\n",
		"From: <<<>>>\r\n\r\n", "From: a@b@c\r\nFrom: d\r\n\r\n", "Date: never\r\n\r\n", "Received: ;;;\r\n\r\n", "Content-Type:\r\n\r\n",
		"Content-Type: ;;;=\r\n\r\n", "Content-Type: multipart/mixed\r\n\r\nx", "Content-Type: multipart/mixed; boundary=\r\n\r\n--\r\n",
		"Content-Type: multipart/mixed; boundary=\"\r\n\r\n--\r\n", "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b", "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b--",
		"Content-Type: message/rfc822\r\n\r\n", "Content-Type: text/html\r\n\r\n<", "Content-Type: text/html\r\n\r\n<a href=", "Content-Type: text/html\r\n\r\n&#;&#x;&",
		"Content-Type: text/plain; charset=nonsense\r\n\r\n\x80", "Content-Transfer-Encoding: base64\r\n\r\n====", "Content-Transfer-Encoding: base64\r\n\r\n\xff\xff",
		"Content-Transfer-Encoding: quoted-printable\r\n\r\n=", "Content-Transfer-Encoding: x\r\n\r\nbare\rCR\nLF",
		"MIME-Version: 9\r\nContent-Type: multipart/alternative; boundary=x\r\n\r\n--x\r\nContent-Type: multipart/alternative; boundary=x\r\n\r\n--x--",
	}
	if len(bad) < 32 {
		t.Fatalf("only %d kinds", len(bad))
	}
	for _, raw := range bad {
		trouble := error(nil)
		f := &Filter{Classifier: s, Trouble: func(_ context.Context, err error) { trouble = err }}
		got := run(t, f, raw)
		if !strings.HasSuffix(got, raw) || !strings.HasPrefix(got, Field+": ") || trouble != nil {
			t.Errorf("%q became %q, %v", raw, got, trouble)
		}
	}
}

func TestNoModel(t *testing.T) {
	v, err := new(Spam).Classify(t.Context(), to(note, "ann@example.org"))
	if err != nil || v.Label != Unknown {
		t.Errorf("%+v, %v", v, err)
	}
}
