package forward

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stagecoach/account"
	"stagecoach/mail"
	"stagecoach/rfc/srs"
)

func directory(t testing.TB, s account.Settings, users map[string]string) *account.Directory {
	t.Helper()
	files := map[string][]byte{}
	for name, text := range users {
		files[name] = []byte(text)
	}
	s.Domain = "x.example"
	b, err := account.Parse(files, s)
	if err != nil {
		t.Fatal(err)
	}
	return account.Static(b)
}

var household = map[string]string{
	"ann":       `{"targets":["ann@far.example"],"aliases":["info"]}`,
	"team":      `{"targets":["ann@x.example","bob@x.example","guest@far.example"]}`,
	"bob":       `{"targets":["bob@far.example","ann@far.example"]}`,
	"ping":      `{"targets":["pong@x.example"]}`,
	"pong":      `{"targets":["ping@x.example"]}`,
	"half":      `{"targets":["half@x.example","half@far.example","gone@x.example"]}`,
	"gone":      `{"targets":["gone@far.example"],"disabled":true}`,
	"mute":      `{}`,
	"onlygone":  `{"targets":["gone@x.example"]}`,
	"waits":     `{"targets":["waits@far.example"]}`,
	"onlywaits": `{"targets":["waits@x.example","onlywaits@x.example"]}`,
	"partly":    `{"targets":["partly@far.example","else@far.example","waits@x.example"]}`,

	".unconfirmed/waits":  "waits@far.example",
	".unconfirmed/partly": "else@far.example",
	"y.example/all":       `{"targets":["all@far.example"],"catch_all":true}`,
	"jürgen":              `{"targets":["j@far.example"]}`,
}

var settings = account.Settings{Separator: "+", Postmaster: mail.MustParseAddress("ann@x.example")}

type sink struct {
	mails []*mail.Mail
	err   error
}

func (s *sink) Handle(_ context.Context, m *mail.Mail) error {
	s.mails = append(s.mails, m)
	return s.err
}

func newMail(from, header string, to ...string) *mail.Mail {
	m := &mail.Mail{Message: mail.NewMessage([]byte(strings.ReplaceAll(header, "\n", "\r\n") + "\r\nbody\r\n"))}
	if from != "" {
		m.Envelope.From = mail.MustParseAddress(from)
	}
	for _, a := range to {
		m.Envelope.To = append(m.Envelope.To, mail.Recipient{Address: mail.MustParseAddress(a)})
	}
	return m
}

func code(err error) string {
	if err == nil {
		return "250"
	}
	r := mail.RefusalOf(err)
	return fmt.Sprintf("%d %s", r.Code, r.Status)
}

func recipients(m *mail.Mail) []string {
	var to []string
	for _, r := range m.Envelope.To {
		s := r.Address.String()
		if r.Original != "" {
			s += " for " + r.Original
		}
		to = append(to, s)
	}
	return to
}

func TestTargets(t *testing.T) {
	for _, c := range []struct {
		name string
		to   []string
		want []string // recipients, or a reply
	}{
		{"outside", []string{"who@far.example"}, []string{"who@far.example"}},
		{"user", []string{"ann@x.example"}, []string{"ann@far.example for rfc822;ann@x.example"}},
		{"alias", []string{"INFO@x.example"}, []string{"ann@far.example for rfc822;INFO@x.example"}},
		{"sub-address", []string{"ann+shop@x.example"}, []string{"ann@far.example for rfc822;ann+shop@x.example"}},
		{"several", []string{"bob@x.example"}, []string{"bob@far.example for rfc822;bob@x.example", "ann@far.example for rfc822;bob@x.example"}},
		{"nested", []string{"team@x.example"}, []string{"guest@far.example for rfc822;team@x.example",
			"ann@far.example for rfc822;team@x.example", "bob@far.example for rfc822;team@x.example"}},
		{"catch-all", []string{"anything@y.example"}, []string{"all@far.example for rfc822;anything@y.example"}},
		{"postmaster", []string{"postmaster@x.example"}, []string{"ann@far.example for rfc822;postmaster@x.example"}},
		{"abuse elsewhere", []string{"abuse@y.example"}, []string{"ann@far.example for rfc822;abuse@y.example"}},
		{"same target twice", []string{"ann@x.example", "info@x.example", "ann@far.example"}, []string{"ann@far.example for rfc822;ann@x.example"}},
		{"written to outside first", []string{"ann@far.example", "ann@x.example"}, []string{"ann@far.example"}},
		{"mixed", []string{"who@far.example", "ann@x.example"}, []string{"who@far.example", "ann@far.example for rfc822;ann@x.example"}},
		{"UTF-8", []string{"jürgen@x.example"}, []string{"j@far.example for utf-8;jürgen@x.example"}},
		{"circle with a way out", []string{"half@x.example"}, []string{"half@far.example for rfc822;half@x.example"}},
		{"circle", []string{"ping@x.example"}, []string{"554 5.4.6"}},
		{"unknown", []string{"nobody@x.example"}, []string{"550 5.1.1"}},
		{"unknown beside a known one", []string{"ann@x.example", "nobody@x.example"}, []string{"550 5.1.1"}},
		{"disabled", []string{"gone@x.example"}, []string{"550 5.2.1"}},
		{"no targets", []string{"mute@x.example"}, []string{"550 5.2.1"}},
		{"unconfirmed", []string{"waits@x.example"}, []string{"450 4.2.1"}},
		{"all targets unconfirmed", []string{"onlywaits@x.example"}, []string{"450 4.2.1"}},
		{"some targets unconfirmed", []string{"partly@x.example"}, []string{"partly@far.example for rfc822;partly@x.example"}},
		{"all targets disabled", []string{"onlygone@x.example"}, []string{"550 5.2.1"}},
		{"nobody", nil, []string{"554 5.5.0"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			next := &sink{}
			f := &Forwarder{Accounts: directory(t, settings, household), Next: next, Mark: []byte("0123456789abcdef")}
			err := f.Handle(t.Context(), newMail("who@far.example", "Subject: hi\n", c.to...))
			got := []string{code(err)}
			if err == nil {
				got = recipients(next.mails[0])
			} else if strings.Contains(err.Error(), "far.example") {
				t.Errorf("the reply names a target: %v", err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if err != nil && len(next.mails) > 0 {
				t.Error("refused, but passed on")
			}
		})
	}
}

func TestWishesOfTheSender(t *testing.T) {
	next := &sink{}
	f := &Forwarder{Accounts: directory(t, settings, household), Next: next}
	m := newMail("who@far.example", "Subject: hi\n", "bob@x.example", "ann@x.example", "who@far.example")
	m.Envelope.To[0].Notify = mail.NotifySuccess
	m.Envelope.To[0].Original = "rfc822;list@far.example"
	m.Envelope.To[1].Notify = mail.NotifyNever
	m.Envelope.To[2].Notify = mail.NotifyDelay
	m.Envelope.ID = "id"
	if err := f.Handle(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	want := []mail.Recipient{
		{Address: mail.MustParseAddress("bob@far.example"), Notify: mail.NotifySuccess, Original: "rfc822;list@far.example"},
		{Address: mail.MustParseAddress("ann@far.example"), Notify: mail.NotifySuccess, Original: "rfc822;list@far.example"},
		{Address: mail.MustParseAddress("who@far.example"), Notify: mail.NotifyDelay},
	}
	if diff := cmp.Diff(want, next.mails[0].Envelope.To, cmp.Comparer(func(a, b mail.Address) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	if next.mails[0].Envelope.ID != "id" || next.mails[0].Envelope.From.String() != "who@far.example" {
		t.Errorf("the envelope was changed: %+v", next.mails[0].Envelope)
	}
}

func TestMergeOfWishes(t *testing.T) {
	for _, c := range []struct{ a, b, want mail.Notify }{
		{0, 0, 0},
		{mail.NotifyNever, mail.NotifyNever, mail.NotifyNever},
		{mail.NotifyNever, mail.NotifySuccess, mail.NotifySuccess},
		{0, mail.NotifyNever, mail.NotifyFailure | mail.NotifyDelay},
		{0, mail.NotifySuccess, mail.NotifySuccess | mail.NotifyFailure | mail.NotifyDelay},
	} {
		if got, back := merge(c.a, c.b), merge(c.b, c.a); got != c.want || back != c.want {
			t.Errorf("%v and %v: %v and %v, want %v", c.a, c.b, got, back, c.want)
		}
	}
}

func TestOutsideIsUntouched(t *testing.T) {
	next := &sink{}
	f := &Forwarder{Accounts: directory(t, settings, household), Next: next, Mark: []byte("0123456789abcdef")}
	m := newMail("ann@x.example", "From: ann@x.example\n", "who@far.example")
	before := m.Message.String()
	if err := f.Handle(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if got := next.mails[0].Message.String(); got != before {
		t.Errorf("the message was changed:\n%s", got)
	}
}

func TestErrorOfTheNextStage(t *testing.T) {
	down := errors.New("down")
	f := &Forwarder{Accounts: directory(t, settings, household), Next: &sink{err: down}}
	if err := f.Handle(t.Context(), newMail("", "A: b\n", "ann@x.example")); !errors.Is(err, down) {
		t.Errorf("%v", err)
	}
}

// S16: two services that forward to each other.
func TestLoop(t *testing.T) {
	here, there := &sink{}, &sink{}
	a := &Forwarder{Accounts: directory(t, settings, map[string]string{"ann": `{"targets":["ann@far.example"]}`, "bob": `{"targets":["ann@far.example"]}`}), Next: here, Mark: []byte("key of the first one")}
	b := &Forwarder{Accounts: directory(t, settings, map[string]string{"ann": `{"targets":["ann@far.example"]}`}), Next: there, Mark: []byte("key of the other one")}
	m := newMail("who@far.example", "Subject: hi\n", "ann@x.example")
	passes := 0
	for ; passes < 10; passes++ {
		f, s := a, here
		if passes%2 == 1 {
			f, s = b, there
		}
		err := f.Handle(t.Context(), m)
		if err != nil {
			if code(err) != "554 5.4.6" {
				t.Errorf("%v", err)
			}
			break
		}
		m = newMail("who@far.example", "", "ann@x.example")
		m.Message = s.mails[len(s.mails)-1].Message
	}
	if passes != 2 {
		t.Errorf("the mail passed %d times, want 2", passes)
	}
	// The same mail may go to somebody else, and no mark gives an address away.
	m.Envelope.To[0].Address = mail.MustParseAddress("bob@x.example")
	if err := a.Handle(t.Context(), m); err != nil {
		t.Errorf("to another user: %v", err)
	}
	for f := range m.Message.Header.Fields(FieldName) {
		if strings.ContainsAny(f.Value(), "@x") {
			t.Errorf("%s", f.Raw())
		}
	}
	forged := newMail("who@far.example", FieldName+": 00000000000000000000000000000000 nonsense\n"+strings.Repeat(FieldName+": x y z\n", 1000), "ann@x.example")
	if err := a.Handle(t.Context(), forged); err != nil {
		t.Errorf("somebody else's marks: %v", err)
	}
	hops := func(n int) error {
		return a.Handle(t.Context(), newMail("who@far.example", strings.Repeat("Received: x\n", n), "who@far.example"))
	}
	if err := hops(MaxHops); err != nil {
		t.Errorf("%d hops: %v", MaxHops, err)
	}
	if got := code(hops(MaxHops + 1)); got != "554 5.4.6" {
		t.Errorf("%d hops: %s", MaxHops+1, got)
	}
}

func TestReturns(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	rewriter := &srs.Rewriter{Domain: "x.example", Keys: [][]byte{[]byte("a key of the rewriter")}}
	stranger := &srs.Rewriter{Domain: "x.example", Keys: [][]byte{[]byte("another key, not ours")}}
	users := map[string]string{"ann": `{"targets":["ann@far.example"],"catch_all":true}`}
	rewrite := func(r *srs.Rewriter, from string, age time.Duration) string {
		a, err := r.Forward(mail.MustParseAddress(from), now.Add(-age))
		if err != nil {
			t.Fatal(err)
		}
		return a.String()
	}
	good := rewrite(rewriter, "who@far.example", 0)
	for _, c := range []struct {
		name, from, header, to, want string
	}{
		{"bounce", "", "Subject: failed\n", good, "who@far.example"},
		{"bounce, other case", "", "Subject: failed\n", strings.ToUpper(good), "WHO@far.example"},
		{"automatic answer", "out@of.example", "Auto-Submitted: auto-replied\n", good, "who@far.example"},
		{"automatic answer with a parameter", "out@of.example", "Auto-Submitted: auto-generated; x=y\n", good, "who@far.example"},
		{"ordinary mail", "spam@of.example", "Subject: buy\n", good, "550 5.7.1"},
		{"not automatic", "spam@of.example", "Auto-Submitted: no\n", good, "550 5.7.1"},
		{"not automatic, with a comment", "spam@of.example", "Auto-Submitted: No (really); x=y\n", good, "550 5.7.1"},
		{"forged", "", "A: b\n", rewrite(stranger, "who@far.example", 0), "550 5.7.1"},
		{"expired", "", "A: b\n", rewrite(rewriter, "who@far.example", 30*24*time.Hour), "550 5.7.1"},
		{"altered", "", "A: b\n", strings.Replace(good, "who@", "why@", 1), "550 5.7.1"},
		{"too long to carry", "", "A: b\n", rewrite(rewriter, "a-very-long-sender-with-a-key-0123456789abcdef@bounces.far.example", 0), "550 5.1.6"},
	} {
		t.Run(c.name, func(t *testing.T) {
			to := c.to
			if c.name == "altered" {
				to = strings.Replace(good, "who", "why", 1)
			}
			next := &sink{}
			f := &Forwarder{Accounts: directory(t, settings, users), Next: next, SRS: rewriter, Now: func() time.Time { return now }}
			err := f.Handle(t.Context(), newMail(c.from, c.header, to))
			got := code(err)
			if err == nil {
				got = strings.Join(recipients(next.mails[0]), " ")
			}
			if got != c.want && !(err == nil && strings.EqualFold(got, c.want)) {
				t.Errorf("%s, want %s", got, c.want)
			}
			wantReturns := got != "550 5.7.1" || !strings.Contains("forged expired altered", c.name)
			if f.Returns(mail.MustParseAddress(to)) != wantReturns {
				t.Errorf("Returns says %v", !wantReturns)
			}
		})
	}
	f := &Forwarder{Accounts: directory(t, settings, users), Next: &sink{}, SRS: rewriter, ReturnsPerHour: 3, Now: func() time.Time { return now }}
	bounce := func(to string) string { return code(f.Handle(t.Context(), newMail("", "A: b\n", to))) }
	for range 3 {
		if got := bounce(good); got != "250" {
			t.Fatal(got)
		}
	}
	if got := bounce(good); got != "450 4.7.1" {
		t.Errorf("the fourth in an hour: %s", got)
	}
	if got := bounce(rewrite(rewriter, "else@far.example", 0)); got != "250" {
		t.Errorf("to another sender: %s", got)
	}
	now = now.Add(time.Hour)
	if got := bounce(good); got != "250" {
		t.Errorf("an hour later: %s", got)
	}
	if f.Returns(mail.MustParseAddress("ann@x.example")) || (&Forwarder{}).Returns(mail.MustParseAddress(good)) {
		t.Error("Returns is true of an address that is not SRS, or without a rewriter")
	}
}
