package filter

import (
	"context"
	"errors"
	"io"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"stagecoach/mail"
)

type classify func(ctx context.Context, m *mail.Mail) (Verdict, error)

func (c classify) Classify(ctx context.Context, m *mail.Mail) (Verdict, error) { return c(ctx, m) }

const original = "Subject: x\r\nno colon\r\nX: \x80\r\n\r\nbody \x00\xff"

func newMail(raw string) *mail.Mail {
	return &mail.Mail{Peer: mail.Peer{Hello: "x"}, Message: mail.NewMessage([]byte(raw))}
}

// run handles one mail and returns what the next stage got.
func run(t *testing.T, f *Filter, raw string) string {
	t.Helper()
	var got string
	f.Next = mail.HandlerFunc(func(_ context.Context, m *mail.Mail) error {
		got = m.Message.String()
		return nil
	})
	if err := f.Handle(t.Context(), newMail(raw)); err != nil {
		t.Errorf("the filter failed a mail: %v", err)
	}
	return got
}

const unknown = "X-Spamtacus: unknown\r\nX-Spam-Status: Unknown, not classified\r\n"

func TestLabels(t *testing.T) {
	for _, tt := range []struct {
		v    Verdict
		want string
	}{
		{Verdict{Yes, 0.9876, []string{"cheap pills", "a,b\r\nX: y"}},
			"X-Spamtacus: yes\r\nX-Spam-Status: Yes, probability=0.988,\r\n\treasons=cheap_pills,a_b__X:_y\r\nX-Spam-Flag: YES\r\n"},
		{Verdict{No, 0.01, nil}, "X-Spamtacus: no\r\nX-Spam-Status: No, probability=0.010\r\n"},
		{Verdict{Unknown, 0.5, nil}, "X-Spamtacus: unknown\r\nX-Spam-Status: Unknown, probability=0.500\r\n"},
		{Verdict{No, math.NaN(), nil}, "X-Spamtacus: no\r\nX-Spam-Status: No, without reasons\r\n"},
		{Verdict{No, 7, []string{"x"}}, "X-Spamtacus: no\r\nX-Spam-Status: No,\r\n\treasons=x\r\n"},
	} {
		f := &Filter{Classifier: classify(func(_ context.Context, m *mail.Mail) (Verdict, error) {
			if body, err := io.ReadAll(m.Message.NewReader()); err != nil || string(body) != "body \x00\xff" || m.Peer != (mail.Peer{}) {
				t.Errorf("the classifier reads %q, %v", body, err)
			}
			return tt.v, nil
		})}
		if got := run(t, f, original); got != tt.want+original {
			t.Errorf("%+v: got\n%q, want\n%q", tt.v, got, tt.want+original)
		}
	}
}

func TestForeignLabelsGo(t *testing.T) {
	forged := "X-Spamtacus: no\r\nx-spam-status : No, score=0\r\nX-SPAM-FLAG: NO\r\nX-Spam-Level: *\r\n"
	if got, want := run(t, new(Filter), forged+original), unknown+"X-Spam-Level: *\r\n"+original; got != want {
		t.Errorf("got\n%q, want\n%q", got, want)
	}
}

func TestTroubleIsUnknown(t *testing.T) {
	boom := errors.New("boom")
	for name, c := range map[string]classify{
		"error":     func(context.Context, *mail.Mail) (Verdict, error) { return Verdict{Label: Yes}, boom },
		"panic":     func(context.Context, *mail.Mail) (Verdict, error) { panic("bug") },
		"no label":  func(context.Context, *mail.Mail) (Verdict, error) { return Verdict{}, nil },
		"odd label": func(context.Context, *mail.Mail) (Verdict, error) { return Verdict{Label: "x\r\nY: z"}, nil },
	} {
		heard := 0
		f := &Filter{Classifier: c, Trouble: func(context.Context, error) { heard++ }}
		if got := run(t, f, original); got != unknown+original || heard != 1 {
			t.Errorf("%s: %q, trouble heard %d times", name, got, heard)
		}
	}
}

func TestSlowClassifier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late := make(chan error, 1)
		f := &Filter{Timeout: time.Second, Classifier: classify(func(ctx context.Context, m *mail.Mail) (Verdict, error) {
			time.Sleep(time.Minute) // deaf to its context
			m.Message.Header.Prepend(mail.NewField("X", "y"))
			_, err := io.ReadAll(m.Message.NewReader())
			late <- err
			return Verdict{Label: Yes}, nil
		})}
		start := time.Now()
		if got := run(t, f, original); got != unknown+original {
			t.Errorf("got %q", got)
		}
		if d := time.Since(start); d != time.Second {
			t.Errorf("held the mail up for %v", d)
		}
		if err := <-late; err == nil {
			t.Error("the classifier could read a mail that was gone")
		}
	})
}

func TestManySlowClassifiers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var started atomic.Int32
		f := &Filter{Timeout: time.Second, Classifier: classify(func(context.Context, *mail.Mail) (Verdict, error) {
			started.Add(1)
			time.Sleep(time.Hour)
			return Verdict{Label: No}, nil
		})}
		for range 2 * maxRunning {
			if got := run(t, f, original); got != unknown+original {
				t.Fatalf("got %q", got)
			}
		}
		if n := started.Load(); n != maxRunning {
			t.Errorf("%d classifications at once, want %d", n, maxRunning)
		}
		time.Sleep(2 * time.Hour)
		f.Classifier = classify(func(context.Context, *mail.Mail) (Verdict, error) {
			return Verdict{Label: No, Probability: math.NaN()}, nil
		})
		if got := run(t, f, original); !strings.HasPrefix(got, "X-Spamtacus: no\r\n") {
			t.Errorf("after the jam: %q", got)
		}
	})
}

func TestNextDecides(t *testing.T) {
	later := errors.New("disk")
	f := &Filter{Next: mail.HandlerFunc(func(context.Context, *mail.Mail) error { return later })}
	if err := f.Handle(t.Context(), newMail(original)); !errors.Is(err, later) {
		t.Errorf("%v", err)
	}
}
