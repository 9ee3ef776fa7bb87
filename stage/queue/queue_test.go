package queue

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"stagecoach/mail"
)

// A sink is a courier that keeps what arrives.
type sink struct {
	mu     sync.Mutex
	got    []string // recipient + " " + the message's X-N
	mails  []*mail.Mail
	texts  []string
	answer func(m *mail.Mail, to mail.Recipient) error // nil takes all
}

func (s *sink) Carry(ctx context.Context, m *mail.Mail) []error {
	out := make([]error, len(m.Envelope.To))
	for i, to := range m.Envelope.To {
		if s.answer != nil {
			out[i] = s.answer(m, to)
		}
		if out[i] == nil {
			s.mu.Lock()
			s.got = append(s.got, to.String()+" "+m.Message.Header.Value("X-N"))
			s.mails = append(s.mails, &mail.Mail{Envelope: m.Envelope.Clone()})
			s.texts = append(s.texts, m.Message.String())
			s.mu.Unlock()
		}
	}
	return out
}

func (s *sink) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.got)
}

func newMail(n string, from string, to ...string) *mail.Mail {
	m := &mail.Mail{Message: mail.NewMessage([]byte("X-N: " + n + "\r\nSubject: hello\r\nMessage-ID: <" + n + "@test.example>\r\n\r\nbody of " + n + "\r\n"))}
	if from != "" {
		m.Envelope.From = mail.MustParseAddress(from)
		m.Envelope.Submitter = from
	}
	for _, r := range to {
		m.Envelope.To = append(m.Envelope.To, mail.Recipient{Address: mail.MustParseAddress(r)})
	}
	return m
}

func testSettings() Settings {
	s := Settings{Name: "mx.test.example", Postmaster: mail.MustParseAddress("postmaster@test.example"), Reserve: -1, Ballast: -1}
	if os.Getenv("QUEUE_LOG") != "" {
		s.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	return s
}

func openTest(t testing.TB, fs vfs.FS, s Settings) *Queue {
	t.Helper()
	q, err := openOn(fs, s)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func openOn(fs vfs.FS, s Settings) (*Queue, error) {
	store, err := OpenStore("spool", StoreOptions{FS: fs, Log: s.Log, Reserve: s.Reserve, Ballast: s.Ballast})
	if err != nil {
		return nil, err
	}
	return New(store, s)
}

// running runs a queue until the returned function is called.
func running(t testing.TB, q *Queue) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx) }()
	return func() {
		cancel()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Error("Run did not return")
		}
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not within 10 s: %s", what)
}

func entriesOf(t testing.TB, q *Queue) (all []*Entry) {
	t.Helper()
	for e, err := range q.store.Scan(t.Context(), Key{}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

func TestDeliver(t *testing.T) {
	s := &sink{}
	q := openTest(t, vfs.NewMem(), testSettings())
	q.Courier = s
	stop := running(t, q)
	for i := range 100 {
		m := newMail(fmt.Sprint(i), "a@from.example", "x@one.example", "y@one.example", "z@two.example")
		if err := q.Handle(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all arrive", func() bool { return s.count() == 300 && q.Stats().Entries == 0 })
	stop()
	if all := entriesOf(t, q); len(all) != 0 {
		t.Errorf("%d entries left", len(all))
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, g := range s.got {
		if seen[g] {
			t.Errorf("%s arrived twice", g)
		}
		seen[g] = true
	}
}

func TestBacklogIsDeliveredAfterRestart(t *testing.T) {
	fs := vfs.NewMem()
	settings := testSettings()
	q := openTest(t, fs, settings)
	large := strings.Repeat("large body\r\n", 40000)
	for i := range 50 {
		if err := q.Handle(t.Context(), newMail(fmt.Sprint(i), "a@from.example", "x@one.example", "z@two.example")); err != nil {
			t.Fatal(err)
		}
	}
	m := newMail("large", "a@from.example", "x@one.example", "z@two.example")
	m.Message = mail.NewMessage([]byte("X-N: large\r\n\r\n" + large))
	if err := q.Handle(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	s := &sink{}
	q = openTest(t, fs, settings)
	q.Courier = s
	stop := running(t, q)
	eventually(t, "all arrive", func() bool { return s.count() == 102 && q.Stats().Entries == 0 })
	stop()
	for i, text := range s.texts {
		if strings.HasPrefix(text, "X-N: large") && text != "X-N: large\r\n\r\n"+large {
			t.Errorf("text %d is not what was sent", i)
		}
	}
	if names, _ := fs.List("spool/bodies"); len(names) != 0 {
		t.Errorf("bodies left: %v", names)
	}
	q.Close()
}

func TestSpoolIsLocked(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	q, err := Open(dir, testSettings())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, testSettings()); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second Open gives %v", err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	if q, err = Open(dir, testSettings()); err != nil {
		t.Fatal(err)
	}
	q.Close()
}
