package main

import (
	"os"
	"path/filepath"
	"testing"

	"stagecoach/mail"
	"stagecoach/spam/teach"
)

func TestFilterTrainAndForget(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "mail.eml")
	text := "From: carol@example.net\nMessage-ID: <1@example.net>\nSubject: minutes\n\nthe committee of the garden club met on monday\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	o := lessonOptions{User: "Ann@Example.org", Lessons: filepath.Join(dir, "lessons")}
	count := func() (spams, hams int) {
		t.Helper()
		s, err := teach.Open(o.Lessons)
		if err != nil {
			t.Fatal(err)
		}
		stats, err := s.Stats()
		if err != nil || len(stats) > 1 || len(stats) == 1 && stats[0].User != "ann@example.org" {
			t.Fatalf("%+v, %v", stats, err)
		}
		for _, st := range stats {
			spams, hams = st.Spam, st.Ham
		}
		return spams, hams
	}
	for _, step := range []struct {
		run        func() error
		spam, ham  int
		mustReport bool
	}{
		{filterTrainOf(t, o, true, file), 1, 0, false},
		{filterTrainOf(t, o, true, file), 1, 0, false},
		{filterTrainOf(t, o, false, file), 0, 1, false},
		{filterTrainOf(t, o, false, filepath.Join(dir, "absent")), 0, 1, true},
		{func() error { return filterForgetCmd{lessonOptions: o, Files: []string{file}}.Run(t.Context()) }, 0, 0, false},
		{func() error { return filterForgetCmd{lessonOptions: o, Files: []string{file}}.Run(t.Context()) }, 0, 0, true},
	} {
		if err := step.run(); (err != nil) != step.mustReport {
			t.Errorf("%+v: %v", step, err)
		}
		if s, h := count(); s != step.spam || h != step.ham {
			t.Errorf("%d spams and %d good mails are known, want %d and %d", s, h, step.spam, step.ham)
		}
	}
}

func filterTrainOf(t *testing.T, o lessonOptions, isSpam bool, file string) func() error {
	return func() error {
		return filterTrainCmd{lessonOptions: o, Spam: isSpam, Ham: !isSpam, Files: []string{file}}.Run(t.Context())
	}
}

func TestProbabilities(t *testing.T) {
	limit, err := probabilities("reject", []string{"0.999", "example.org=0.99", "ann@example.org=never"})
	if err != nil {
		t.Fatal(err)
	}
	for a, want := range map[string]float64{"bob@example.net": 0.999, "bob@example.org": 0.99, "Ann@example.org": never} {
		if got := limit(mail.MustParseAddress(a)); got != want {
			t.Errorf("%s: %v, want %v", a, got, want)
		}
	}
	for _, bad := range []string{"", "x", "0.2", "1.5", "ann@example.org=", "=="} {
		if _, err := probabilities("reject", []string{bad}); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	if f, err := probabilities("reject", nil); f != nil || err != nil {
		t.Error("without rules something is refused")
	}
}
