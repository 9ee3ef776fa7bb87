package teach

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"stagecoach/mail"
	"stagecoach/spam"
)

func newJudge(t testing.TB) *spam.Judge {
	t.Helper()
	m, err := spam.Default()
	if err != nil {
		t.Fatal(err)
	}
	return &spam.Judge{Model: m}
}

func message(n int, text string) *mail.Message {
	return mail.NewMessage(fmt.Appendf(nil, "From: x@example.com\r\nMessage-ID: <%d@example.com>\r\nSubject: the minutes of the garden club\r\n\r\n%s\r\n", n, text))
}

const minutes = "the committee of the garden club met on monday and spoke of the hedges and of the bill for the new roof of the shed"

func label(t *testing.T, s *Store, j *spam.Judge, user string, m *mail.Message) spam.Label {
	t.Helper()
	lessons, err := s.Lessons(user)
	if err != nil {
		t.Fatal(err)
	}
	v, err := j.Judge(m, spam.Beside{Lessons: lessons})
	if err != nil {
		t.Fatal(err)
	}
	return v.Label
}

func open(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTeach(t *testing.T) {
	j, dir := newJudge(t), t.TempDir()
	s := open(t, dir)
	m := message(1, minutes)
	plain := label(t, s, j, "ann@x", m)
	if plain == spam.Yes {
		t.Fatal("the mail is spam before anybody said so")
	}
	if err := s.Teach("ann@x", j, m, true); err != nil {
		t.Fatal(err)
	}
	if got := label(t, s, j, "ann@x", m); got != spam.Yes {
		t.Errorf("after teaching spam: %s", got)
	}
	if got := label(t, s, j, "ann@x", message(2, minutes+" again")); got != spam.Yes {
		t.Errorf("a mail like it: %s", got)
	}
	if got := label(t, s, j, "bob@x", m); got != plain {
		t.Errorf("another user's label changed from %s to %s", plain, got)
	}
	if err := s.Teach("ann@x", j, m, true); !errors.Is(err, ErrTaught) {
		t.Errorf("taught twice: %v", err)
	}
	again := open(t, dir) // after a restart
	if got := label(t, again, j, "ann@x", m); got != spam.Yes {
		t.Errorf("after a restart: %s", got)
	}
	if err := again.Teach("ann@x", j, m, false); err != nil {
		t.Fatal(err)
	}
	if got := label(t, s, j, "ann@x", m); got != spam.No {
		t.Errorf("taught the opposite, seen by the other process: %s", got)
	}
	if found, err := s.Forget("ann@x", j, m); !found || err != nil {
		t.Errorf("forget: %v %v", found, err)
	}
	if got := label(t, again, j, "ann@x", m); got != plain {
		t.Errorf("forgotten: %s, want %s", got, plain)
	}
}

func TestEveryone(t *testing.T) {
	j, s := newJudge(t), open(t, t.TempDir())
	m := message(1, minutes)
	if err := s.Teach(Everyone, j, m, true); err != nil {
		t.Fatal(err)
	}
	if got := label(t, s, j, "bob@x", m); got != spam.Yes {
		t.Errorf("%s", got)
	}
}

func TestLessonsFade(t *testing.T) {
	now := time.Now()
	j, s := newJudge(t), open(t, t.TempDir())
	s.Now = func() time.Time { return now }
	m := message(1, minutes)
	plain := label(t, s, j, "ann@x", m)
	if err := s.Teach("ann@x", j, m, true); err != nil {
		t.Fatal(err)
	}
	now = now.Add(8 * HalfLife)
	if got := label(t, s, j, "ann@x", m); got != plain {
		t.Errorf("after years: %s, want %s", got, plain)
	}
}

func TestBounded(t *testing.T) {
	j, dir := newJudge(t), t.TempDir()
	s := open(t, dir)
	for i := range MaxLessons + 100 {
		if err := s.Teach("ann@x", j, message(i, fmt.Sprint(minutes, i)), i%2 == 0); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 500 { // the file is written anew, and does not grow for ever
		if err := s.Teach("ann@x", j, message(0, minutes), i%2 == 0); err != nil {
			t.Fatal(err)
		}
	}
	stats, err := open(t, dir).Stats()
	if err != nil || len(stats) != 1 || stats[0].Spam+stats[0].Ham != MaxLessons {
		t.Errorf("%+v, %v", stats, err)
	}
	if info, err := os.Stat(s.path("ann@x")); err != nil || info.Size() > 4*MaxLessons*1000 {
		t.Errorf("%v, %v", info.Size(), err)
	}
}

// Whatever of the last record a crash leaves, what was taught before it is there.
func TestTornFile(t *testing.T) {
	j, dir := newJudge(t), t.TempDir()
	s := open(t, dir)
	if err := s.Teach("ann@x", j, message(1, minutes), true); err != nil {
		t.Fatal(err)
	}
	path := s.path("ann@x")
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Teach("ann@x", j, message(2, "quite another mail about boats and sails and the sea"), false); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n <= len(after); n += 7 {
		if err := os.WriteFile(path, after[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, dir)
		lessons, err := s.Lessons("ann@x")
		want := 0
		switch {
		case n == len(after):
			want = 2
		case n >= len(before):
			want = 1
		}
		if err != nil || len(lessons) != want {
			t.Fatalf("cut at %d of %d: %d lessons, %v", n, len(after), len(lessons), err)
		}
		if err := s.Teach("ann@x", j, message(3, "a third mail"), true); err != nil {
			t.Fatal(err)
		}
		if lessons, err := open(t, dir).Lessons("ann@x"); err != nil || len(lessons) != want+1 {
			t.Fatalf("taught after a cut at %d: %d lessons, %v", n, len(lessons), err)
		}
	}
}

func TestExportImport(t *testing.T) {
	j, s := newJudge(t), open(t, t.TempDir())
	m := message(1, minutes)
	if err := s.Teach("ann@x", j, m, true); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := s.Export("ann@x", &b); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Import("bob@x", bytes.NewReader(b.Bytes())); n != 1 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	if got := label(t, s, j, "bob@x", m); got != spam.Yes {
		t.Errorf("%s", got)
	}
	if _, err := s.Import("bob@x", strings.NewReader("rubbish")); err == nil {
		t.Error("rubbish was imported")
	}
}

func TestCorrespondents(t *testing.T) {
	s := open(t, t.TempDir())
	to := mail.MustParseAddress("Carol@example.net")
	if err := s.Wrote("ann@x", to, to); err != nil {
		t.Fatal(err)
	}
	if !s.Knows("ann@x", mail.MustParseAddress("carol@example.net")) || s.Knows("bob@x", to) || s.Knows("ann@x", mail.MustParseAddress("dan@example.net")) {
		t.Error("who knows whom is wrong")
	}
	now := time.Now().Add(KnownFor / 2)
	s.Now = func() time.Time { return now }
	if f := s.Familiar("ann@x", to); f < 0.49 || f > 0.51 {
		t.Errorf("after a year she knows him by %v", f)
	}
	now = now.Add(KnownFor)
	if s.Knows("ann@x", to) {
		t.Error("she knows him after years of silence")
	}
}

// No name of a user leads out of the folder, or to another's file.
func TestFileNames(t *testing.T) {
	seen := map[string]string{}
	for _, name := range []string{"ann@x", "../ann@x", "ann/x", "..", ".", "a%40x", "a@x", "ä@x", "a\x00b", "A@x"} {
		file := escape(name)
		if strings.ContainsAny(file, "/\x00") || strings.HasPrefix(file, ".") || seen[file] != "" || unescape(file) != name {
			t.Errorf("%q has the file %q", name, file)
		}
		seen[file] = name
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(record{kind: kindSpam, at: 1, weight: 2, packed: []byte{1, 2, 0, 0, 0, 0}}.encode(nil))
	j := newJudge(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		r, n := decode(b)
		if n > len(b) {
			t.Fatal(n)
		}
		if n > 0 && !bytes.Equal(r.encode(nil), b[:n]) {
			t.Fatal("a record does not come back")
		}
		lessons := []spam.Lesson{{Weight: 1, Packed: b}, {Weight: float64(r.weight), Packed: r.packed}}
		if _, err := j.Judge(message(1, minutes), spam.Beside{Lessons: lessons}); err != nil {
			t.Fatal(err)
		}
	})
}
