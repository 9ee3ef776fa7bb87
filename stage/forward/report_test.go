package forward

import (
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stagecoach/account"
	"stagecoach/mail"
	"stagecoach/rfc/dsn"
	"stagecoach/rfc/srs"
	"stagecoach/stage/stagetest"
)

var update = flag.Bool("update", false, "write the expected reports")

var reportTime = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// reporting is a Forwarder with a user Ann whose targets are to stay hidden, and an address of
// it that leads back to who@sender.example.
func reporting(t testing.TB, next mail.Handler) (*Forwarder, mail.Address) {
	t.Helper()
	rewriter := &srs.Rewriter{Domain: "x.example", Keys: [][]byte{[]byte("a key of the rewriter")}}
	back, err := rewriter.Forward(mail.MustParseAddress("who@sender.example"), reportTime)
	if err != nil {
		t.Fatal(err)
	}
	users := map[string]string{"ann": `{"targets":["hidden.ann@far.example","second.ann@far.example"]}`}
	return &Forwarder{
		Accounts: directory(t, account.Settings{Separator: "+"}, users), SRS: rewriter, Mark: []byte("0123456789abcdef"),
		Now: func() time.Time { return reportTime }, Next: next,
	}, back
}

func sample(t testing.TB, name string, to ...mail.Address) *mail.Mail {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata/reports", name+".eml"))
	if err != nil {
		t.Fatal(err)
	}
	text = []byte("Authentication-Results: mx.x.example; spf=pass\r\nReceived: from far.example by mx.x.example\r\n" +
		strings.ReplaceAll(string(text), "\n", "\r\n"))
	m := &mail.Mail{Message: mail.NewMessage(text)}
	for _, a := range to {
		m.Envelope.To = append(m.Envelope.To, mail.Recipient{Address: a, Notify: mail.NotifyFailure})
	}
	return m
}

// secret is what the other side wrote and nobody here may read.
var secret = []string{"hidden", "second.ann", "far.example", "store3", "quota", "outlook", "qmail", "exim", "gsmtp", "srs0", "authentication-results", "received:"}

// What servers of four makes report to an SRS address becomes a report of ours, which names the
// address that was written to, and nothing of the other side.
func TestReports(t *testing.T) {
	for _, name := range []string{"postfix", "exim", "exim-plain", "exim-warning", "gmail", "outlook", "qmail", "malformed", "several"} {
		t.Run(name, func(t *testing.T) {
			next := &sink{}
			f, back := reporting(t, next)
			in := sample(t, name, back)
			if err := f.Handle(t.Context(), in); err != nil {
				t.Fatal(err)
			}
			if len(next.mails) != 1 {
				t.Fatalf("%d mails", len(next.mails))
			}
			m := next.mails[0]
			got := m.Message.String()
			low := strings.ToLower(got)
			for _, s := range secret {
				if strings.Contains(low, s) {
					t.Errorf("it says %q", s)
				}
			}
			to := m.Envelope.To
			if !m.Envelope.From.IsZero() || len(to) != 1 || to[0].String() != "who@sender.example" || to[0].Notify != mail.NotifyNever || to[0].Original != "" {
				t.Errorf("the envelope is %+v", m.Envelope)
			}
			if from, err := m.Message.Header.Author(); err != nil || from.String() != "postmaster@x.example" {
				t.Errorf("its author is %s, %v", from, err)
			}
			if _, fates, err := dsn.Parse(m.Message); err != nil || len(fates) == 0 || !isAutomatic(&m.Message.Header) {
				t.Errorf("%d recipients, %v", len(fates), err)
			}
			compare(t, name+".want", got)
		})
	}
}

func compare(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata/reports", name)
	got = strings.ReplaceAll(got, "\r\n", "\n")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// What people's own mailboxes say on purpose passes as it came, and so does a report to anybody
// but an SRS address.
func TestNoReports(t *testing.T) {
	for name, c := range map[string]struct{ file, from, to string }{
		"vacation":                     {"vacation", "", ""},
		"vacation with a sender":       {"vacation", "hidden.ann@far.example", ""},
		"read receipt":                 {"receipt", "", ""},
		"a report to somebody outside": {"postfix", "", "who@sender.example"},
		"a report to a user":           {"postfix", "", "ann@x.example"},
	} {
		t.Run(name, func(t *testing.T) {
			next := &sink{}
			f, to := reporting(t, next)
			f.Mark = nil
			if c.to != "" {
				to = mail.MustParseAddress(c.to)
			}
			m := sample(t, c.file, to)
			if c.from != "" {
				m.Envelope.From = mail.MustParseAddress(c.from)
			}
			before := m.Message.String()
			if err := f.Handle(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(before, next.mails[0].Message.String()); d != "" {
				t.Errorf("it was changed: %s", d)
			}
		})
	}
}

// A report with a sender is one all the same; one that came to users too is replaced for all.
func TestReportsOfOtherEnvelopes(t *testing.T) {
	next := &sink{}
	f, back := reporting(t, next)
	m := sample(t, "postfix", back, mail.MustParseAddress("ann@x.example"))
	m.Envelope.From = mail.MustParseAddress("mailer-daemon@far.example")
	m.Envelope.RequireTLS = true
	m.Message.Header.Prepend(mail.NewField(FieldName, "0123"))
	if err := f.Handle(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	got := next.mails[0]
	want := []string{"who@sender.example", "hidden.ann@far.example for rfc822;ann@x.example", "second.ann@far.example for rfc822;ann@x.example"}
	if d := cmp.Diff(want, recipients(got)); d != "" || !got.Envelope.From.IsZero() || !got.Envelope.RequireTLS {
		t.Errorf("%s%+v", d, got.Envelope)
	}
	if n := got.Message.Header.Count(FieldName); n != 2 {
		t.Errorf("%d marks of loops", n)
	}
	if strings.Contains(got.Message.String(), "far.example") {
		t.Error("the report came through")
	}
}

// The answer to our report is the answer to theirs: none is lost, and the same one that comes
// again has the same name.
func TestReportIsHandedOnOnce(t *testing.T) {
	next, signer := &sink{}, &sink{err: errors.New("the disk is full")}
	f, back := reporting(t, next)
	f.Reports = signer
	if err := f.Handle(t.Context(), sample(t, "gmail", back)); err == nil || mail.IsPermanent(err) {
		t.Errorf("what was not taken was answered %v", err)
	}
	signer.err = nil
	if err := f.Handle(t.Context(), sample(t, "gmail", back)); err != nil {
		t.Fatal(err)
	}
	if len(next.mails) != 0 || len(signer.mails) != 2 || signer.mails[0].Message.String() != signer.mails[1].Message.String() {
		t.Errorf("%d mails beside the signer, %d to it", len(next.mails), len(signer.mails))
	}
	if err := f.Handle(t.Context(), sample(t, "exim", back)); err != nil || signer.mails[2].Message.Header.Value("Message-ID") == signer.mails[1].Message.Header.Value("Message-ID") {
		t.Errorf("another report has the same name, or %v", err)
	}
}

func TestReportThatCannotBeRead(t *testing.T) {
	broken := errors.New("the disk is gone")
	next := &sink{}
	f, back := reporting(t, next)
	m := sample(t, "gmail", back)
	var head strings.Builder
	m.Message.Header.WriteTo(&head)
	m.Message = mail.NewMessageFrom(head.String(), brokenReader{broken}, 5000, nil)
	if err := f.Handle(t.Context(), m); !errors.Is(err, broken) || mail.IsPermanent(err) || len(next.mails) > 0 {
		t.Errorf("%v, and %d mails", err, len(next.mails))
	}
}

type brokenReader struct{ err error }

func (b brokenReader) ReadAt([]byte, int64) (int, error) { return 0, b.err }

var _ io.ReaderAt = brokenReader{}

// Over a wire the same report arrives.
func TestReportOverAWire(t *testing.T) {
	var direct, far stagetest.Sink
	f, back := reporting(t, &direct)
	g, _ := reporting(t, stagetest.Wire(t, &far))
	for _, err := range []error{f.Handle(t.Context(), sample(t, "gmail", back)), stagetest.Wire(t, g).Handle(t.Context(), sample(t, "gmail", back))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if d, w := direct.Mails()[0], far.Mails()[0]; !d.Equal(w) {
		t.Errorf("by calls\n%v\nby wires\n%v", d, w)
	}
}

func FuzzReport(f *testing.F) {
	for _, name := range []string{"postfix", "gmail", "outlook", "malformed", "several"} {
		f.Add(sample(f, name).Message.String())
	}
	accounts, back := reporting(f, nil)
	f.Fuzz(func(t *testing.T, text string) {
		next := &sink{}
		g := &Forwarder{Accounts: accounts.Accounts, SRS: accounts.SRS, Now: accounts.Now, Next: next}
		m := &mail.Mail{Message: mail.NewMessage([]byte(text))}
		m.Envelope.To = []mail.Recipient{{Address: back}}
		report := isReport(m)
		_, found, err := dsn.Parse(m.Message)
		if g.Handle(context.Background(), m) != nil || !report {
			return
		}
		got := next.mails[0].Message
		_, fates, problem := dsn.Parse(got)
		if problem != nil || len(fates) == 0 || err == nil && len(fates) > len(found) {
			t.Fatalf("%d recipients, %v", len(fates), problem)
		}
		for _, s := range found {
			a, err := typedAddress(s.Final)
			if err != nil || a.Domain() == "x.example" || len(a.String()) < 12 {
				continue
			}
			if strings.Contains(strings.ToLower(got.String()), strings.ToLower(a.String())) {
				t.Fatalf("%s is in the report:\n%s", a, got)
			}
		}
	})
}
