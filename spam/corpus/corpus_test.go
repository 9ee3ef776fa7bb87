package corpus

import (
	"os"
	"path/filepath"
	"testing"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, all []Mail) (out []string) {
	t.Helper()
	for _, m := range all {
		raw, err := m.Read()
		if err != nil {
			t.Fatal(err)
		}
		label := "ham "
		if m.Spam {
			label = "spam "
		}
		out = append(out, label+string(raw))
	}
	return out
}

func check(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %q", what, got)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("%s: %q, want %q", what, got[i], want[i])
		}
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/easy-ham-1/1.txt", "A: b\n\nham\n")
	write(t, dir+"/easy-ham-1/1.json", "{}")
	write(t, dir+"/spam-2/cur/1:2,S", "A: b\r\n\r\nspam\r\n")
	write(t, dir+"/spam-2/tmp/2", "half a mail")
	write(t, dir+"/spam-2/.hidden", "x")
	write(t, dir+"/other/1", "x")
	all, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	check(t, "folders", read(t, all), "ham A: b\r\n\r\nham\r\n", "spam A: b\r\n\r\nspam\r\n")

	write(t, dir+"/index", "spam other/1\n\nham easy-ham-1/1.txt\n")
	if all, err = Open(dir + "/index"); err != nil {
		t.Fatal(err)
	}
	check(t, "index", read(t, all), "spam x", "ham A: b\r\n\r\nham\r\n")
	write(t, dir+"/bad", "eggs other/1\n")
	if _, err := Open(dir + "/bad"); err == nil {
		t.Error("an index with eggs was taken")
	}
}

func TestMbox(t *testing.T) {
	path := t.TempDir() + "/mbox"
	write(t, path, "From a@x Mon Jan  1 10:11:12 2001\nA: 1\n\nFrom here on\ntext\n\nFrom b@x Tue Jan  2 10:11:12 2001\nA: 2\n\nx\n")
	var all []Mail
	for m, err := range Files(true, path) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	check(t, "mbox", read(t, all), "spam A: 1\r\n\r\nFrom here on\r\ntext\r\n\r\n", "spam A: 2\r\n\r\nx\r\n")
}

func TestDistinct(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/ham/1", "A: 1\n\nthe text\n")
	write(t, dir+"/ham/2", "A: 2\r\n\r\nthe  text\r\n\r\n")
	write(t, dir+"/ham/3", "A: 1\n\nanother\n")
	all, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if all, err = Distinct(all); err != nil {
		t.Fatal(err)
	}
	check(t, "distinct", read(t, all), "ham A: 1\r\n\r\nthe text\r\n", "ham A: 1\r\n\r\nanother\r\n")
}
