package repo

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func firstChange() Change {
	return Change{
		Files:   map[string][]byte{"ann": []byte("{}\n"), "other.example/bob": []byte("{}\n")},
		Message: "First users\n", Name: "stagecoach", Email: "postmaster@example.org", When: time.Unix(1_800_000_000, 0),
	}
}

// What is made here is a repository for git, for us, and for who pushes to it.
func TestCreate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users.git")
	if err := Create(t.Context(), path, firstChange()); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o700 {
		t.Fatalf("the folder: %v, %v", info.Mode(), err)
	}
	r, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := r.Fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(firstChange().Files, s.Files); diff != "" || s.Branch != "main" {
		t.Fatalf("branch %s, files:\n%s", s.Branch, diff)
	}
	next := Change{Files: map[string][]byte{"carl": []byte("{}")}, Message: "Carl", Name: "a", Email: "b@c", When: time.Unix(1_800_000_001, 0)}
	if _, err := r.Commit(t.Context(), s, next); err != nil {
		t.Fatal(err)
	}

	work := filepath.Join(t.TempDir(), "work")
	runGit(t, ".", "clone", "-q", path, work)
	runGit(t, path, "fsck", "--strict")
	if got := runGit(t, work, "log", "--format=%s %ae"); got != "Carl b@c\nFirst users postmaster@example.org" {
		t.Fatalf("the history: %s", got)
	}
	if got := runGit(t, work, "symbolic-ref", "HEAD"); got != "refs/heads/main" {
		t.Fatalf("HEAD of a clone: %s", got)
	}
	write(t, work, map[string]string{"dora": "{}"})
	commit(t, work, "Dora")
	runGit(t, work, "push", "-q", "origin", "main")
	if s, err = r.Fetch(t.Context()); err != nil || s.Files["dora"] == nil {
		t.Fatalf("after a push: %v", err)
	}
}

func TestCreateReplacesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "zones.git")
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Create(t.Context(), path, firstChange()); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("over a folder: %v", err)
	}
	bad := firstChange()
	bad.Files["../x"] = nil
	if err := Create(t.Context(), filepath.Join(dir, "bad.git"), bad); err == nil {
		t.Fatal("a path that leads out was taken")
	}
	if err := Create(t.Context(), filepath.Join(dir, "none", "z.git"), firstChange()); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("in no folder: %v", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatalf("left behind: %v, %v", entries, err)
	}
}
