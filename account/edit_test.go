package account

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stagecoach/mail"
	"stagecoach/repo"
)

// A board is a Keeper in memory.
type board struct {
	shelf
	moved   int // how often somebody else is faster
	commits []repo.Change
}

func (b *board) Commit(_ context.Context, base *repo.Snapshot, changes ...repo.Change) (*repo.Snapshot, error) {
	if b.moved > 0 {
		b.moved--
		b.snapshot.Files["late"] = []byte(`{}`)
		return nil, repo.ErrMoved
	}
	b.commits = append(b.commits, changes...)
	for _, c := range changes {
		for name, data := range c.Files {
			if data == nil {
				delete(b.snapshot.Files, name)
			} else {
				b.snapshot.Files[name] = data
			}
		}
	}
	return b.snapshot, nil
}

func newBoard(archive string, t *testing.T) *board {
	b := &board{}
	b.snapshot = &repo.Snapshot{Version: "1", Files: files(t, archive)}
	return b
}

var (
	editing = Settings{Domain: "x.example", Separator: "+"}
	editor  = Author{"Otto", "otto@x.example"}
)

func put(a string, change func(*Entry)) func(*Draft) (string, error) {
	return func(d *Draft) (string, error) {
		address := mail.MustParseAddress(a)
		var e *Entry
		var err error
		if u, ok := d.Book.Holder(address); ok {
			e, err = d.Entry(u)
		} else {
			e, err = d.New(address)
		}
		if err != nil {
			return "", err
		}
		change(e)
		return "Change " + a, d.Put(e)
	}
}

func target(list ...string) func(*Entry) {
	return func(e *Entry) {
		for _, t := range list {
			e.Targets = append(e.Targets, mail.MustParseAddress(t))
		}
	}
}

// What is not changed stays: order, password, and keys of which an Entry shows nothing.
func TestEditKeepsTheRest(t *testing.T) {
	b := newBoard(`
-- ann --
{"separator":"","targets":["ann@b.example","ann@a.example"],"password":"`+hex128+`","insecure":true,"aliases":["info","ann@y.example"]}
-- .unconfirmed/ann --
ann@b.example
-- y.example/bob --
{}
`, t)
	changed, err := Edit(t.Context(), b, editing, editor, put("ann@x.example", target("ann@c.example")))
	if err != nil || !changed {
		t.Fatal(changed, err)
	}
	want := `{
  "targets": [
    "ann@b.example",
    "ann@a.example",
    "ann@c.example"
  ],
  "password": "` + hex128 + `",
  "aliases": [
    "info",
    "ann@y.example"
  ],
  "separator": "",
  "insecure": true
}
`
	if diff := cmp.Diff(want, string(b.snapshot.Files["ann"])); diff != "" {
		t.Error(diff)
	}
	if got := string(b.snapshot.Files[".unconfirmed/ann"]); got != "ann@b.example\n" {
		t.Errorf("unconfirmed: %q", got)
	}
	if c := b.commits[0]; c.Name != "Otto" || c.Message != "Change ann@x.example\n" || len(c.Files) != 1 {
		t.Errorf("%+v", c)
	}
	changed, err = Edit(t.Context(), b, editing, editor, put("ann@x.example", func(*Entry) {}))
	if err != nil || changed || len(b.commits) != 1 {
		t.Error("a change of nothing:", changed, err)
	}
}

func TestEditRefuses(t *testing.T) {
	const there = `
-- ann --
{"targets": ["bob@x.example", "ann@far.example"], "aliases": ["info"]}
-- bob --
{"targets": ["bob@far.example"]}
`
	for _, c := range []struct{ a, want string }{
		{"info@x.example", "info@x.example is taken by ann@x.example"},
		{"README@x.example", "a file cannot have this name"},
		{"a/b@x.example", "a file cannot have this name"},
	} {
		b := newBoard(there, t)
		_, err := Edit(t.Context(), b, editing, editor, func(d *Draft) (string, error) {
			_, err := d.New(mail.MustParseAddress(c.a))
			return "", err
		})
		if err == nil || !strings.Contains(err.Error(), c.want) || len(b.commits) > 0 {
			t.Errorf("%s: %v", c.a, err)
		}
	}
	for _, c := range []struct{ a, target, want string }{
		{"bob@x.example", "ann@x.example", "leads back to bob@x.example"},
		{"bob@x.example", "bob+tag@x.example", "leads back to bob@x.example"},
		{"new@x.example", "nobody@x.example", "nobody here has this address"},
		{"new@x.example", "new@x.example", "leads back to new@x.example"},
	} {
		b := newBoard(there, t)
		_, err := Edit(t.Context(), b, editing, editor, put(c.a, target(c.target)))
		if err == nil || !strings.Contains(err.Error(), c.want) || len(b.commits) > 0 {
			t.Errorf("%s to %s: %v", c.a, c.target, err)
		}
	}
	_, err := Edit(t.Context(), newBoard("-- ann --\n{", t), editing, editor, put("b@x.example", target()))
	if err == nil || !strings.Contains(err.Error(), "must be mended first") {
		t.Error(err)
	}
}

func TestEditAgainWhenMoved(t *testing.T) {
	b := newBoard("-- ann --\n{}\n", t)
	b.moved = 2
	changed, err := Edit(t.Context(), b, editing, editor, put("bob@y.example", target("bob@far.example")))
	if err != nil || !changed || b.snapshot.Files["late"] == nil || b.snapshot.Files["y.example/bob"] == nil {
		t.Fatal(changed, err, b.snapshot.Files)
	}
	b.moved = 1000
	if _, err := Edit(t.Context(), b, editing, editor, put("c@x.example", target())); !errors.Is(err, repo.ErrMoved) {
		t.Error(err)
	}
}

// A plain folder takes changes too; a removed user leaves nothing behind.
func TestEditFolder(t *testing.T) {
	dir := t.TempDir()
	remote, err := repo.Open(dir, repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	steps := []func(*Draft) (string, error){
		put("ann@x.example", func(e *Entry) { target("ann@far.example")(e); e.Pending = e.Targets }),
		func(d *Draft) (string, error) {
			u, _ := d.Book.Holder(mail.MustParseAddress("ann@x.example"))
			if !u.Waits() {
				t.Error("ann does not wait")
			}
			d.Remove(u)
			return "", nil
		},
	}
	for i, step := range steps {
		if changed, err := Edit(t.Context(), remote, editing, editor, step); err != nil || !changed {
			t.Fatal(i, changed, err)
		}
		for _, name := range []string{"ann", ".unconfirmed/ann"} {
			if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != (i == 0) {
				t.Errorf("step %d: %s: %v", i, name, err)
			}
		}
	}
}

// What is written is read again as the same.
func FuzzEntry(f *testing.F) {
	f.Add("ann", []byte(`{"targets":["a@b.example","\"x y\"@c.example"],"aliases":["i","\"a@b\"@x.example"],"separator":"","insecure":true}`), []byte("a@b.example\n"))
	f.Add("y.example/ann", []byte(`{"catch_all":true,"disabled":true,"password":"`+hex128+`"}`), []byte("\n"))
	f.Add(`"a b"`, []byte(`{"targets":["jürgen@bücher.example"]}`), []byte("jürgen@bücher.example"))
	f.Fuzz(func(t *testing.T, name string, user, pending []byte) {
		before := map[string][]byte{name: user, pendingFolder + name: pending}
		b, err := Parse(before, editing)
		if err != nil {
			return
		}
		d := &Draft{Book: b, files: before, changed: map[string][]byte{}}
		for u := range b.Users() {
			e, err := d.Entry(u)
			if err != nil {
				t.Fatal(err)
			}
			if err := d.Put(e); err != nil {
				t.Fatal(err)
			}
			after := map[string][]byte{name: d.files[name], pendingFolder + name: e.pendingText()}
			if text, ok := d.changed[name]; ok {
				after[name] = text
			}
			b2, err := Parse(after, editing)
			if err != nil {
				t.Fatalf("%v\n%s", err, after[name])
			}
			got := b2.users[0]
			if diff := cmp.Diff([]any{texts(u.Targets), texts(u.Pending), texts(u.Aliases), u.CatchAll, u.Disabled, u.separator, u.Secret(), u.File},
				[]any{texts(got.Targets), texts(got.Pending), texts(got.Aliases), got.CatchAll, got.Disabled, got.separator, got.Secret(), got.File}); diff != "" {
				t.Fatalf("%s\n%s", diff, after[name])
			}
		}
	})
}
