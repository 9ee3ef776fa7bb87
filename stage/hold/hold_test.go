package hold

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime/quotedprintable"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"stagecoach/mail"
	"stagecoach/stage/stagetest"
)

// A sink is the next stage.
type sink struct {
	mu  sync.Mutex
	got []*mail.Mail
	raw []string
	err error
}

func (s *sink) Handle(_ context.Context, m *mail.Mail) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.got, s.raw = append(s.got, m), append(s.raw, m.Message.String())
	return nil
}

func (s *sink) mails() []*mail.Mail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

func (s *sink) text(n int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.raw[n]
}

func newHolder(t *testing.T, next mail.Handler) *Holder {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "held"), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return &Holder{
		Store: s, Key: []byte("0123456789abcdef"), Next: next, DigestAt: 7 * time.Hour,
		Limit: func(a mail.Address) float64 {
			if a.Local() == "bob" {
				return 2
			}
			return 0.999
		},
		User: func(a mail.Address) (string, bool) {
			if a.Domain() != "x.example" || a.Local() == "nobody" {
				return "", false
			}
			local, _, _ := strings.Cut(strings.ToLower(a.Local()), "+")
			return local + "@x.example", true
		},
	}
}

const status = "X-Spamtacus: yes\r\nX-Spam-Status: Yes, probability=0.9995,\r\n\treasons=word:_minutes_(-0.3),links_to_a_numeric_address_(+0.8)\r\nX-Spam-Flag: YES\r\n"

func spamTo(n int, to ...string) *mail.Mail {
	raw := status + fmt.Sprintf("From: =?utf-8?q?B=C3=B6se?= <eve@evil.example>\r\nSubject: FREE at http://www.evil.example/x\r\nMessage-ID: <%d@evil.example>\r\n\r\nbuy\r\n", n)
	m := &mail.Mail{Message: mail.NewMessage([]byte(raw))}
	m.Envelope.From = mail.MustParseAddress("eve@evil.example")
	m.Envelope.Body, m.Envelope.ID = mail.Body8BitMIME, "envid"
	for _, a := range to {
		m.Envelope.To = append(m.Envelope.To, mail.Recipient{Address: mail.MustParseAddress(a), Notify: mail.NotifySuccess, Original: "rfc822;" + a})
	}
	return m
}

func recipients(m *mail.Mail) string {
	var out []string
	for _, r := range m.Envelope.To {
		out = append(out, r.String())
	}
	return strings.Join(out, " ")
}

func heldFor(t *testing.T, h *Holder, user string) []Item {
	t.Helper()
	items, err := h.Store.List(user)
	if err != nil {
		t.Fatal(err)
	}
	return items
}

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Holder, *mail.Mail)
		to     []string
		passed string
		held   []string
	}{
		{"one", nil, []string{"ann@x.example"}, "", []string{"ann"}},
		{"several", nil, []string{"ann@x.example", "bob@x.example", "carl@x.example", "far@y.example"}, "bob@x.example far@y.example", []string{"ann", "carl"}},
		{"one by two addresses", nil, []string{"ann@x.example", "Ann+shop@x.example"}, "", []string{"ann"}},
		{"nobody", nil, []string{"nobody@x.example"}, "nobody@x.example", nil},
		{"a role", nil, []string{"Abuse@x.example", "postmaster@x.example"}, "Abuse@x.example postmaster@x.example", nil},
		{"no limit", func(h *Holder, _ *mail.Mail) { h.Limit = nil }, []string{"ann@x.example"}, "ann@x.example", nil},
		{"below", func(h *Holder, _ *mail.Mail) { h.Limit = func(mail.Address) float64 { return 0.9996 } }, []string{"ann@x.example"}, "ann@x.example", nil},
		{"spared", func(h *Holder, _ *mail.Mail) {
			h.Spares = func(u string, _ *mail.Mail) bool { return u == "ann@x.example" }
		}, []string{"ann@x.example", "carl@x.example"}, "ann@x.example", []string{"carl"}},
		{"not spam", func(_ *Holder, m *mail.Mail) {
			m.Message.Header.Strike(func(f mail.Field) bool { return f.Is(labelField) })
		}, []string{"ann@x.example"}, "ann@x.example", nil},
		{"full", func(h *Holder, _ *mail.Mail) { h.Store.Limits.Size = 100 }, []string{"ann@x.example"}, "ann@x.example", nil},
		{"disk", func(h *Holder, _ *mail.Mail) { h.Store.dir = "/dev/null" }, []string{"ann@x.example"}, "ann@x.example", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			next := &sink{}
			h := newHolder(t, next)
			m := spamTo(1, c.to...)
			before := m.Message.String()
			if c.change != nil {
				c.change(h, m)
			}
			if err := h.Handle(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			got := ""
			if len(next.got) > 0 {
				got = recipients(next.got[0])
			}
			if got != c.passed || len(next.got) > 1 {
				t.Errorf("passed to %q, want %q", got, c.passed)
			}
			if c.passed != "" && c.name != "not spam" && next.raw[0] != before {
				t.Errorf("what passed was changed:\n%s", next.raw[0])
			}
			for _, u := range []string{"ann", "bob", "carl", "postmaster"} {
				want := 0
				if slices.Contains(c.held, u) {
					want = 1
				}
				if c.name != "disk" && len(heldFor(t, h, u+"@x.example")) != want {
					t.Errorf("%s: %d held, want %d", u, len(heldFor(t, h, u+"@x.example")), want)
				}
			}
		})
	}
}

// When the next stage does not take its part, nobody holds the other, and the reply is its own.
func TestAllOrNothing(t *testing.T) {
	next := &sink{err: mail.Reject(550, "5.1.1", "no such user here")}
	h := newHolder(t, next)
	if err := h.Handle(t.Context(), spamTo(1, "ann@x.example", "bob@x.example")); !errors.Is(err, next.err) {
		t.Errorf("%v", err)
	}
	if n := len(heldFor(t, h, "ann@x.example")); n != 0 {
		t.Errorf("%d held of a mail that was refused", n)
	}
	left, err := filepath.Glob(filepath.Join(h.Store.dir, "*", newPrefix+"*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// A sender who did not hear our answer tries again, by another connection.
func TestTwice(t *testing.T) {
	h := newHolder(t, &sink{})
	for i := range 2 {
		m := spamTo(1, "ann@x.example")
		m.Message.Header.Prepend(mail.NewField("Received", fmt.Sprint("by us; ", i)))
		if err := h.Handle(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(heldFor(t, h, "ann@x.example")); n != 1 {
		t.Errorf("%d held", n)
	}
	for i := range 22 { // more than may be
		if err := h.Handle(t.Context(), spamTo(10+i, "ann@x.example")); err != nil {
			t.Fatal(err)
		}
		if i == 5 {
			h.Store.Limits.Mails = 7
		}
	}
	if n := len(heldFor(t, h, "ann@x.example")); n != 7 || len(h.Next.(*sink).got) != 16 {
		t.Errorf("%d held and %d forwarded", n, len(h.Next.(*sink).got))
	}
}

func body(t *testing.T, m *mail.Mail) string {
	t.Helper()
	text, err := io.ReadAll(quotedprintable.NewReader(m.Message.NewReader()))
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), "\r\n", "\n")
}

// releaseIn finds the release address in a digest.
func releaseIn(t *testing.T, text string) string {
	t.Helper()
	_, rest, ok := strings.Cut(text, "Release: ")
	if !ok {
		t.Fatalf("no release address in\n%s", text)
	}
	address, _, _ := strings.Cut(rest, "\n")
	return address
}

func releasing(to string) *mail.Mail {
	m := &mail.Mail{Message: mail.NewMessage([]byte("Subject: please\r\n\r\n"))}
	m.Envelope.From = mail.MustParseAddress("ann.archer@far.example")
	m.Envelope.To = []mail.Recipient{{Address: mail.MustParseAddress(to)}}
	return m
}

// A day of a held mail: told at seven, not again, released, forwarded as it came.
func TestDigestAndRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := &sink{}
		h := newHolder(t, next)
		h.Poll = 30 * time.Second
		h.Now = func() time.Time { return time.Now().UTC() } // the simulated clock begins at midnight UTC
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- h.Run(ctx) }()
		if err := h.Handle(ctx, spamTo(1, "ann@x.example")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(6*time.Hour + 58*time.Minute)
		synctest.Wait()
		if len(next.mails()) != 0 {
			t.Fatalf("%d mails before seven", len(next.mails()))
		}
		time.Sleep(4 * time.Minute)
		synctest.Wait()
		if len(next.mails()) != 1 {
			t.Fatalf("%d mails after seven", len(next.mails()))
		}
		d := next.mails()[0]
		text := body(t, d)
		for _, part := range []string{"Böse <eve[@]evil[.]example>", "FREE at http[:]//www[.]evil[.]example/x", "links to a numeric address", "99.95 %", "Kept until 31 Jan 2000"} {
			if !strings.Contains(text, part) {
				t.Errorf("%q is not in\n%s", part, text)
			}
		}
		hd := &d.Message.Header
		if recipients(d) != "ann@x.example" || d.Envelope.From.String() != "postmaster@x.example" || hd.Value("Auto-Submitted") != "auto-generated" ||
			!strings.Contains(hd.Value("From"), "<postmaster@x.example>") || hd.Value("Subject") != "Held as spam: 1 mail" || hd.Count("Message-ID") != 1 {
			t.Errorf("the digest is %+v\n%s", d.Envelope, d.Message.String())
		}
		time.Sleep(48 * time.Hour)
		synctest.Wait()
		if len(next.mails()) != 1 {
			t.Fatalf("told %d times", len(next.mails()))
		}
		address := releaseIn(t, text)
		for range 2 {
			if err := h.Handle(ctx, releasing(address)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if len(next.mails()) != 2 || recipients(next.mails()[1]) != "ann@x.example" {
			t.Fatalf("%d mails", len(next.mails()))
		}
		got, want := next.mails()[1], spamTo(1, "ann@x.example")
		if fmt.Sprintf("%+v", got.Envelope) != fmt.Sprintf("%+v", want.Envelope) {
			t.Errorf("released with %+v, came with %+v", got.Envelope, want.Envelope)
		}
		label := "X-Spamtacus: released\r\nX-Spam-Status: No, released by the recipient, probability=0.9995\r\n"
		if want := label + strings.TrimPrefix(want.Message.String(), status); next.text(1) != want {
			t.Errorf("released\n%s\nwant\n%s", next.text(1), want)
		}
		if items := heldFor(t, h, "ann@x.example"); len(items) != 0 {
			t.Errorf("still there: %+v", items)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestExpiry(t *testing.T) {
	now := time.Date(2026, 11, 1, 6, 0, 0, 0, time.UTC)
	next := &sink{}
	h := newHolder(t, next)
	h.Now = func() time.Time { return now }
	if err := h.Handle(t.Context(), spamTo(1, "ann@x.example")); err != nil {
		t.Fatal(err)
	}
	next.err = errors.New("the queue is away")
	now = now.Add(40 * 24 * time.Hour)
	if err := h.Round(t.Context()); err == nil {
		t.Error("a digest that could not be sent is no error")
	}
	if len(heldFor(t, h, "ann@x.example")) != 1 {
		t.Fatal("deleted before its reader knew of it")
	}
	next.err = nil
	for range 3 {
		if err := h.Round(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(heldFor(t, h, "ann@x.example")) != 0 || len(next.got) != 1 {
		t.Errorf("%d held, told %d times", len(heldFor(t, h, "ann@x.example")), len(next.got))
	}
	if err := h.Handle(t.Context(), spamTo(2, "ann@x.example")); err != nil {
		t.Fatal(err)
	}
	for range 29 {
		now = now.Add(24 * time.Hour)
		if err := h.Round(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(next.got) != 3 || !strings.Contains(body(t, next.got[2]), "Will be deleted soon") {
		t.Errorf("told %d times", len(next.got)-1)
	}
}

func TestReleaseBy(t *testing.T) {
	next := &sink{}
	h := newHolder(t, next)
	var taught []string
	h.Teach = func(user string, m *mail.Message) error { taught = append(taught, user); return nil }
	if err := h.Handle(t.Context(), spamTo(1, "ann@x.example")); err != nil {
		t.Fatal(err)
	}
	it := heldFor(t, h, "ann@x.example")[0]
	address, err := releaseAddress(h.Key, it)
	if err != nil {
		t.Fatal(err)
	}
	forged, err := releaseAddress([]byte("fedcba9876543210"), it)
	if err != nil {
		t.Fatal(err)
	}
	if !h.Takes(address) || !Like(address) || h.Takes(forged) || h.Takes(mail.MustParseAddress(address.Local()+"@y.example")) || h.Takes(mail.MustParseAddress("release+x@x.example")) {
		t.Error("the wrong addresses are taken")
	}
	vacation := releasing(address.String())
	vacation.Message.Header.Prepend(mail.NewField("Auto-Submitted", "auto-replied (away)"))
	stranger := releasing(address.String())
	stranger.Envelope.Submitter = "bob@x.example"
	owner := releasing(strings.ToUpper(address.Local()) + "@x.example")
	owner.Envelope.Submitter = "ann@x.example"
	for name, c := range map[string]struct {
		m       *mail.Mail
		release bool
		taught  int
	}{"vacation": {vacation, false, 0}, "owner": {owner, true, 1}, "stranger": {stranger, true, 0}} {
		taught = nil
		h.Store.keep(it) //nolint:errcheck // nothing to undo for the first
		if err := h.Releases(next).Handle(t.Context(), c.m); err != nil {
			t.Fatal(err)
		}
		if got := heldFor(t, h, it.User)[0].Released; got != c.release || len(taught) != c.taught {
			t.Errorf("%s: released %v, taught %v", name, got, taught)
		}
	}
	if len(next.got) != 0 {
		t.Errorf("%d mails to release addresses went on", len(next.got))
	}
	if err := h.Releases(next).Handle(t.Context(), releasing("bob@x.example")); err != nil || len(next.got) != 1 {
		t.Errorf("other mail: %v", err)
	}
}

// What the disk did to a file is told, and does no harm to others.
func TestDamage(t *testing.T) {
	h := newHolder(t, &sink{})
	for i := range 2 {
		if err := h.Handle(t.Context(), spamTo(i, "ann@x.example")); err != nil {
			t.Fatal(err)
		}
	}
	it := heldFor(t, h, "ann@x.example")[0]
	raw, err := os.ReadFile(it.file)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)-2] ^= 1
	if err := os.WriteFile(it.file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := it.Mail(); !errors.Is(err, errDamaged) {
		t.Errorf("a changed message: %v", err)
	}
	if err := os.WriteFile(it.file, raw[:len(raw)-1], 0o600); err != nil {
		t.Fatal(err)
	}
	items, err := h.Store.List("ann@x.example")
	if !errors.Is(err, errDamaged) || len(items) != 1 {
		t.Errorf("%d items, %v", len(items), err)
	}
}

func TestConformance(t *testing.T) {
	stagetest.Run(t, func(next mail.Handler) mail.Handler { return newHolder(t, next) })
}
