package main

import (
	"context"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stagecoach/mail"
	"stagecoach/stage/hold"
)

// Spam is held, told of, released and taught, by one process and by one process a stage.
func TestHold(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(*testing.T, *world){
		"one process": func(t *testing.T, w *world) { oneProcess(t, w) },
		"many processes": func(t *testing.T, w *world) {
			oneProcess(t, w)() // makes the keys
			manyProcesses(t, w, "--filter-lessons", w.path("lessons"), "--filter-held", w.path(heldFolder))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := testWorld(t)
			start(t, w)
			ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
			defer cancel()
			if err := w.filtering(ctx, io.Discard); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestHeldCommands(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "held")
	s, err := hold.Open(dir, hold.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	next := mail.HandlerFunc(func(context.Context, *mail.Mail) error { t.Error("a mail went on"); return nil })
	h := &hold.Holder{Store: s, Next: next, Limit: func(mail.Address) float64 { return 0.9 }, User: func(a mail.Address) (string, bool) { return a.String(), true }}
	text := "X-Spamtacus: yes\r\nX-Spam-Status: Yes, probability=0.999500\r\nSubject: \x1b[2Jbuy www.evil.example\r\n\r\nbody\r\n"
	m := &mail.Mail{Message: mail.NewMessage([]byte(text))}
	m.Envelope.To = []mail.Recipient{{Address: mail.MustParseAddress("ann@x.example")}}
	if err := h.Handle(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	items, err := s.List("ann@x.example")
	if err != nil || len(items) != 1 {
		t.Fatal(items, err)
	}
	id := items[0].ID
	held := func(args ...string) string {
		t.Helper()
		return mustProgram(t, append([]string{"held", "--folder", dir}, args...)...)
	}
	if got := held("list", "Ann@x.example"); !strings.Contains(got, id) || strings.ContainsAny(got, "\x1b") || !strings.Contains(got, "buy www[.]evil[.]example") {
		t.Errorf("list prints %q", got)
	}
	if got := held("list", "--json"); !strings.Contains(got, `"user":"ann@x.example"`) {
		t.Errorf("list --json prints %q", got)
	}
	if got := held("show", "ann@x.example", id); got != text {
		t.Errorf("show prints %q", got)
	}
	c := &heldCmd{Folder: dir}
	for _, bad := range []error{
		heldReleaseCmd{User: "bob@x.example", ID: []string{id}}.Run(c),
		heldDeleteCmd{User: "ann@x.example", ID: []string{"../../etc"}}.Run(c),
		heldListCmd{}.Run(&heldCmd{Folder: filepath.Join(dir, "absent")}),
	} {
		if bad == nil {
			t.Error("a mistake is no error")
		}
	}
	held("release", "ann@x.example", id)
	held("release", "ann@x.example", id)
	if got := held("list"); !strings.Contains(got, "released") {
		t.Errorf("list prints %q", got)
	}
	held("delete", "ann@x.example", id)
	held("digest")
	if items, err := s.All(); err != nil || len(items) != 0 {
		t.Errorf("%v %v", items, err)
	}
}

func TestTimeOfDay(t *testing.T) {
	for s, want := range map[string]time.Duration{"07:00": 7 * time.Hour, "23:59": 24*time.Hour - time.Minute, "0:30": 30 * time.Minute, "never": hold.NoDigest} {
		if got, err := timeOfDay(s); err != nil || got != want {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "24:00", "7", "07:00:00", "7pm"} {
		if _, err := timeOfDay(s); err == nil {
			t.Errorf("%q was taken", s)
		}
	}
}
