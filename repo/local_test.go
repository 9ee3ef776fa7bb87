package repo

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stagecoach/lab/peer"
)

// runGit runs the git program in a folder, apart from whatever the user has configured.
func runGit(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command(peer.Need(t, "git")[0], args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.org")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func commit(t *testing.T, work, message string) string {
	t.Helper()
	runGit(t, work, "add", "-A")
	runGit(t, work, "commit", "-qm", message)
	return runGit(t, work, "rev-parse", "HEAD")
}

// newRepo makes a checkout with a bare repository that it pushes to.
func newRepo(t *testing.T, branch string) (work, bare string) {
	t.Helper()
	dir := t.TempDir()
	work, bare = filepath.Join(dir, "work"), filepath.Join(dir, "users.git")
	runGit(t, dir, "init", "-q", "-b", branch, "work")
	runGit(t, dir, "init", "-q", "--bare", "-b", branch, "users.git")
	runGit(t, work, "remote", "add", "origin", bare)
	return work, bare
}

func open(t *testing.T, text string, o Options) *Remote {
	t.Helper()
	r, err := Open(text, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func fetch(t *testing.T, r *Remote) *Snapshot {
	t.Helper()
	s, err := r.Fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func text(s *Snapshot) map[string]string {
	m := map[string]string{}
	for name, data := range s.Files {
		m[name] = string(data)
	}
	return m
}

func TestBareRepository(t *testing.T) {
	t.Parallel()
	work, bare := newRepo(t, "trunk")
	write(t, work, map[string]string{"ann": "one", "other.example/bob": "two", "run": "#!"})
	if err := os.Chmod(filepath.Join(work, "run"), 0o755); err != nil {
		t.Fatal(err)
	}
	id := commit(t, work, "first")
	runGit(t, work, "push", "-q", "origin", "trunk", "trunk:side")

	r := open(t, bare, Options{})
	first := fetch(t, r)
	if first.Version != id || first.Branch != "trunk" {
		t.Errorf("version %s of branch %q, want %s of trunk", first.Version, first.Branch, id)
	}
	if diff := cmp.Diff(map[string]string{"ann": "one", "other.example/bob": "two", "run": "#!"}, text(first)); diff != "" {
		t.Error(diff)
	}
	if again := fetch(t, r); again != first {
		t.Error("nothing has changed, but there is another snapshot")
	}

	write(t, work, map[string]string{"ann": "changed"})
	commit(t, work, "second")
	runGit(t, work, "push", "-q", "origin", "HEAD")
	runGit(t, bare, "gc", "-q")
	if got := string(fetch(t, r).Files["ann"]); got != "changed" {
		t.Errorf("after a push ann is %q", got)
	}
	if got := fetch(t, open(t, bare+"#side", Options{})); got.Version != id || got.Branch != "side" {
		t.Errorf("branch side: version %s of %q", got.Version, got.Branch)
	}
	if _, err := open(t, bare+"#none", Options{}).Fetch(t.Context()); !errors.Is(err, ErrNoBranch) {
		t.Errorf("branch that does not exist: %v", err)
	}
}

func TestDefaultBranch(t *testing.T) {
	t.Parallel()
	for _, branch := range []string{"main", "master"} {
		work, bare := newRepo(t, branch)
		write(t, work, map[string]string{"ann": branch})
		commit(t, work, "first")
		runGit(t, work, "push", "-q", "origin", branch)
		runGit(t, bare, "symbolic-ref", "HEAD", "refs/heads/unborn")
		if s := fetch(t, open(t, bare, Options{})); s.Branch != branch {
			t.Errorf("HEAD names no branch: %q was read, want %s", s.Branch, branch)
		}
	}
	_, empty := newRepo(t, "main")
	if _, err := open(t, empty, Options{}).Fetch(t.Context()); !errors.Is(err, ErrEmpty) {
		t.Errorf("empty repository: %v", err)
	}
}

func TestCheckout(t *testing.T) {
	work, _ := newRepo(t, "main")
	write(t, work, map[string]string{"ann": "committed"})
	id := commit(t, work, "first")
	write(t, work, map[string]string{"ann": "not committed", "new": ""})
	for _, at := range []string{work, "file://" + work} {
		s := fetch(t, open(t, at, Options{}))
		if s.Version != id || text(s)["ann"] != "committed" || len(s.Files) != 1 {
			t.Errorf("%s: version %s, files %v", at, s.Version, text(s))
		}
	}
	tree := filepath.Join(t.TempDir(), "linked")
	runGit(t, work, "worktree", "add", "-q", tree, "-b", "side")
	if s := fetch(t, open(t, tree, Options{})); s.Version != id || s.Branch != "side" {
		t.Errorf("linked work tree: version %s of %q", s.Version, s.Branch)
	}
	runGit(t, work, "checkout", "-q", "--detach")
	if s := fetch(t, open(t, work, Options{})); s.Version != id || s.Branch != "" {
		t.Errorf("detached HEAD: version %s of %q", s.Version, s.Branch)
	}
}

func TestPlainFolder(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"ann": "one", "other.example/bob": "two"})
	r := open(t, dir, Options{})
	first := fetch(t, r)
	if diff := cmp.Diff(map[string]string{"ann": "one", "other.example/bob": "two"}, text(first)); diff != "" {
		t.Error(diff)
	}
	if fetch(t, r) != first {
		t.Error("nothing has changed, but there is another snapshot")
	}
	// Names and contents must not run into each other in the hash.
	write(t, dir, map[string]string{"ann": "on", "other.example/bob": "etwo"})
	if fetch(t, r).Version == first.Version {
		t.Error("contents changed, the version did not")
	}
	if _, err := open(t, dir+"#main", Options{}).Fetch(t.Context()); !errors.Is(err, ErrNoBranch) {
		t.Errorf("a branch of a plain folder: %v", err)
	}
	if _, err := open(t, filepath.Join(dir, "none"), Options{}).Fetch(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
}

func TestRefusedFiles(t *testing.T) {
	t.Parallel()
	work, bare := newRepo(t, "main")
	write(t, work, map[string]string{"ann": "fine"})
	commit(t, work, "first")
	runGit(t, work, "push", "-q", "origin", "main")
	plain := t.TempDir()
	for _, place := range []struct {
		name, dir string
		publish   func()
	}{
		{"git", work, func() { commit(t, work, "more"); runGit(t, work, "push", "-q", "-f", "origin", "main") }},
		{"plain", plain, func() {}},
	} {
		at := map[string]string{"git": bare, "plain": plain}[place.name]
		t.Run(place.name, func(t *testing.T) {
			link := filepath.Join(place.dir, "link")
			if err := os.Symlink("/etc/passwd", link); err != nil {
				t.Fatal(err)
			}
			place.publish()
			if _, err := open(t, at, Options{}).Fetch(t.Context()); !errors.Is(err, ErrFileKind) || !strings.Contains(err.Error(), "link") {
				t.Errorf("symbolic link: %v", err)
			}
			os.Remove(link)

			write(t, place.dir, map[string]string{"big": strings.Repeat("x", 1001)})
			place.publish()
			if _, err := open(t, at, Options{Limits: Limits{FileSize: 1000}}).Fetch(t.Context()); !errors.Is(err, ErrLimit) || !strings.Contains(err.Error(), "big") {
				t.Errorf("file over the limit: %v", err)
			}
			if _, err := open(t, at, Options{Limits: Limits{FileSize: 2000, Total: 1002}}).Fetch(t.Context()); err != nil && !errors.Is(err, ErrLimit) {
				t.Errorf("total over the limit: %v", err)
			}
			write(t, place.dir, map[string]string{"a/b/c/d": ""})
			place.publish()
			if _, err := open(t, at, Options{Limits: Limits{Depth: 2}}).Fetch(t.Context()); !errors.Is(err, ErrLimit) {
				t.Errorf("too deep: %v", err)
			}
			if _, err := open(t, at, Options{Limits: Limits{Files: 3}}).Fetch(t.Context()); !errors.Is(err, ErrLimit) {
				t.Errorf("too many files: %v", err)
			}
			fetch(t, open(t, at, Options{}))
		})
	}
}

func TestSubmoduleIsRefused(t *testing.T) {
	work, _ := newRepo(t, "main")
	write(t, work, map[string]string{"ann": "fine"})
	id := commit(t, work, "first")
	runGit(t, work, "update-index", "--add", "--cacheinfo", "160000,"+id+",module")
	runGit(t, work, "commit", "-qm", "module")
	if _, err := open(t, work, Options{}).Fetch(t.Context()); !errors.Is(err, ErrFileKind) {
		t.Errorf("submodule: %v", err)
	}
}
