package queue

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"stagecoach/mail"
	"stagecoach/rfc/dsn"
)

// reportCase is a mail to bad.example, where all is refused, or to slow.example, where all is
// deferred, and what its sender hears.
type reportCase struct {
	name   string
	change func(m *mail.Mail)
	want   string // action of the report, "" for no report
}

func withResults(results string) func(*mail.Mail) {
	return func(m *mail.Mail) {
		m.Envelope.Submitter = ""
		m.Message.Header.Prepend(mail.NewField("Authentication-Results", "mx.test.example; "+results))
	}
}

func notify(n mail.Notify) func(*mail.Mail) {
	return func(m *mail.Mail) { m.Envelope.To[0].Notify = n }
}

var reportCases = []reportCase{
	{"plain", func(*mail.Mail) {}, "failed"},
	{"null path", func(m *mail.Mail) { m.Envelope.From = mail.Address{} }, ""},
	{"nobody verified", func(m *mail.Mail) { m.Envelope.Submitter = "" }, ""},
	{"unknown submitter", func(m *mail.Mail) { m.Envelope.Submitter = "<>" }, ""},
	{"spf", withResults("spf=pass smtp.mailfrom=a@from.example"), "failed"},
	{"spf of a domain", withResults("spf=pass smtp.mailfrom=FROM.example"), "failed"},
	{"spf of another", withResults("spf=pass smtp.mailfrom=evil.example"), ""},
	{"spf of the greeting only", withResults("spf=pass smtp.helo=from.example"), ""},
	{"spf fails", withResults("spf=fail smtp.mailfrom=from.example"), ""},
	{"dkim", withResults("spf=fail smtp.mailfrom=from.example; dkim=pass header.d=from.example"), "failed"},
	{"dkim of a child", withResults("dkim=pass header.d=evil.from.example"), ""},
	{"dkim of a top-level domain", withResults("dkim=pass header.d=example"), ""},
	{"dmarc", withResults("dmarc=pass header.from=from.example"), "failed"},
	{"dmarc of another", withResults("dmarc=pass header.from=evil.example"), ""},
	{"forged results", func(m *mail.Mail) {
		withResults("spf=pass smtp.mailfrom=from.example")(m)
		withResults("spf=none smtp.mailfrom=from.example")(m) // ours, on top
	}, ""},
	{"results of another", func(m *mail.Mail) {
		m.Envelope.Submitter = ""
		m.Message.Header.Prepend(mail.NewField("Authentication-Results", "evil.example; spf=pass smtp.mailfrom=from.example"))
	}, ""},
	{"never", notify(mail.NotifyNever), ""},
	{"success only", notify(mail.NotifySuccess), ""},
	{"failure", notify(mail.NotifyFailure | mail.NotifyDelay), "failed"},
}

func TestWhoGetsReports(t *testing.T) {
	for _, c := range reportCases {
		t.Run(c.name, func(t *testing.T) {
			var reports atomic.Pointer[mail.Mail]
			q := openTest(t, vfs.NewMem(), testSettings())
			defer q.Close()
			q.Courier = (&ledger{}).scripted()
			q.Reports = mail.HandlerFunc(func(_ context.Context, m *mail.Mail) error {
				reports.Store(&mail.Mail{Envelope: m.Envelope.Clone(), Message: mail.NewMessage([]byte(m.Message.String()))})
				return nil
			})
			m := newMail("1", "a@from.example", "x@bad.example")
			c.change(m)
			stop := running(t, q)
			defer stop()
			if err := q.Handle(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the queue is empty", func() bool { return q.Stats().Bounced == 1 && q.Stats().Entries == 0 })
			got := ""
			if r := reports.Load(); r != nil {
				_, to, err := dsn.Parse(r.Message)
				if err != nil {
					t.Fatal(err)
				}
				got = string(to[0].Action)
				if !r.Envelope.From.IsZero() || r.Envelope.To[0].String() != "a@from.example" || r.Message.Header.Value("Auto-Submitted") != "auto-replied" {
					t.Errorf("envelope %v", r.Envelope)
				}
			}
			if got != c.want {
				t.Errorf("report %q, want %q", got, c.want)
			}
		})
	}
}

type relayedResult struct{ error }

func (relayedResult) Relayed() bool { return true }

func TestReportOfSuccess(t *testing.T) {
	for n, want := range map[mail.Notify]int64{0: 0, mail.NotifyFailure: 0, mail.NotifySuccess | mail.NotifyFailure: 1} {
		q := openTest(t, vfs.NewMem(), testSettings())
		q.Courier = &sink{answer: func(m *mail.Mail, _ mail.Recipient) error { return relayedResult{} }}
		q.Reports = mail.HandlerFunc(func(_ context.Context, m *mail.Mail) error {
			if _, to, err := dsn.Parse(m.Message); err != nil || to[0].Action != dsn.Relayed {
				t.Errorf("%v, %v", to, err)
			}
			return nil
		})
		m := newMail("1", "a@from.example", "x@good.example")
		notify(n)(m)
		stop := running(t, q)
		if err := q.Handle(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the queue is empty", func() bool { return q.Stats().Delivered == 1 && q.Stats().Entries == 0 })
		if got := q.Stats().Reports; got != want {
			t.Errorf("NOTIFY=%v: %d reports, want %d", n, got, want)
		}
		stop()
		q.Close()
	}
}

// The signer in front of the queue gets the report, and what it hands on takes its place.
func TestReportIsSigned(t *testing.T) {
	q := openTest(t, vfs.NewMem(), testSettings())
	defer q.Close()
	l := &ledger{}
	s := l.scripted()
	q.Courier = s
	refusals := 2
	q.settings.FirstRetry = time.Millisecond
	q.Reports = mail.HandlerFunc(func(ctx context.Context, m *mail.Mail) error {
		if refusals > 0 {
			refusals--
			return fmt.Errorf("no key just now")
		}
		m.Message.Header.Prepend(mail.NewField("DKIM-Signature", "v=1"))
		return q.Handle(ctx, m)
	})
	stop := running(t, q)
	defer stop()
	if err := q.Handle(t.Context(), newMail("1", "a@from.example", "x@bad.example", "y@bad.example")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the report arrives", func() bool { return len(l.arrivedNow()) == 1 && q.Stats().Entries == 0 })
	if s.count() != 1 || !strings.HasPrefix(s.texts[0], "DKIM-Signature: v=1\r\n") || s.mails[0].Envelope.To[0].String() != "a@from.example" {
		t.Errorf("arrived: %v %q", s.got, s.texts)
	}
	if _, to, err := dsn.Parse(mail.NewMessage([]byte(s.texts[0]))); err != nil || len(to) != 2 {
		t.Errorf("one report for both: %v, %v", to, err)
	}
}

// What a sender reads speaks of the address that he wrote to, whatever the far end says.
func TestHiddenTarget(t *testing.T) {
	const hidden = "ann.secret@mailbox.example"
	for _, reply := range []string{
		"no such user",
		"<ann.secret@mailbox.example>: unknown",
		"ANN.SECRET@MAILBOX.EXAMPLE unknown",
		"user ann.secret is over quota at mx1.mailbox.example",
		"see https://help.mailbox.example/?u=ann.secret%40mailbox.example",
		"ann=2Esecret=40mailbox=2Eexample", "annsecret at mailbox dot example", "a n n . s e c r e t",
	} {
		t.Run(reply, func(t *testing.T) {
			var text atomic.Value
			q := openTest(t, vfs.NewMem(), testSettings())
			defer q.Close()
			q.Courier = &sink{answer: func(*mail.Mail, mail.Recipient) error { return mail.Reject(550, "5.1.1", reply) }}
			q.Reports = mail.HandlerFunc(func(_ context.Context, m *mail.Mail) error { text.Store(m.Message.String()); return nil })
			m := newMail("1", "a@from.example", hidden)
			m.Envelope.To[0].Original = "rfc822;ann@stage.example"
			m.Message.Header.Prepend(mail.NewField("Received", "from x by y for <"+hidden+">; now"))
			stop := running(t, q)
			defer stop()
			if err := q.Handle(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			eventually(t, "a report", func() bool { return text.Load() != nil })
			got := text.Load().(string)
			flat := letters(got)
			for _, bad := range []string{"annsecret", "mailbox.example", "ann2esecret"} {
				if strings.Contains(flat, letters(bad)) {
					t.Errorf("%q shows through in:\n%s", bad, got)
				}
			}
			if !strings.Contains(got, "Final-Recipient: rfc822; ann@stage.example") || !strings.Contains(got, "550 5.1.1") {
				t.Errorf("report:\n%s", got)
			}
		})
	}
}

func FuzzScrub(f *testing.F) {
	f.Add("550 5.1.1 <ann@mailbox.example> is unknown")
	f.Add("550 5.1.1 aNN@mailbox.exampleann@MAILBOX.example\xff")
	a := mail.MustParseAddress("ann@mailbox.example")
	f.Fuzz(func(t *testing.T, reply string) {
		if got := scrub("550 5.1.1 "+reply, a); strings.Contains(strings.ToLower(got), "mailbox") {
			t.Errorf("%q becomes %q", reply, got)
		}
	})
}
