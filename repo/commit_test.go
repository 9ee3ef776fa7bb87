package repo

import (
	"errors"
	"fmt"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stagecoach/lab/peer"
)

func change(files map[string]string) Change {
	c := Change{Files: map[string][]byte{}, Message: "a change", Name: "key", Email: "key@example", When: time.Unix(1_700_000_000, 0)}
	for path, text := range files {
		if text == "" {
			c.Files[path] = nil
		} else {
			c.Files[path] = []byte(text)
		}
	}
	return c
}

// checkCommits makes changes one after the other and compares with what git sees in bare.
func checkCommits(t *testing.T, r *Remote, bare string) {
	t.Helper()
	s := fetch(t, r)
	for i, files := range []map[string]string{
		{"ann": "new"}, {"sub/deep/x": "1", "sub/a": "2", "sub.x": "3", "sub0": "4"},
		{"ann": "", "sub/deep/x": ""}, {"bob": "b"}, {"run": "#!changed"},
	} {
		next, err := r.Commit(t.Context(), s, change(files))
		if err != nil {
			t.Fatalf("change %d: %v", i, err)
		}
		seen := fetch(t, open(t, bare, Options{}))
		if d := cmp.Diff(text(seen), text(next)); d != "" || seen.Version != next.Version {
			t.Errorf("change %d: %s", i, d)
		}
		if _, err := r.Commit(t.Context(), s, change(files)); !errors.Is(err, ErrMoved) {
			t.Errorf("change %d on an old version: %v", i, err)
		}
		s = next
	}
	next, err := r.Commit(t.Context(), s, change(map[string]string{"ann": "1"}), change(map[string]string{"ann": "2", "sub/n": "n"}),
		change(map[string]string{"sub/n": ""}))
	for i := 0; err == nil && i < 2; i++ { // as many as go into a pack
		var many []Change
		for n := range 20 {
			many = append(many, change(map[string]string{"many": fmt.Sprint(i, n), fmt.Sprintf("m%d", n): "x"}))
		}
		next, err = r.Commit(t.Context(), next, many...)
	}
	if seen := fetch(t, open(t, bare, Options{})); err != nil || seen.Version != next.Version || cmp.Diff(text(seen), text(next)) != "" {
		t.Errorf("three at once: %v %s", err, cmp.Diff(text(seen), text(next)))
	}
	runGit(t, bare, "fsck", "--strict", "--full")
	if got := runGit(t, bare, "log", "-1", "--format=%an %ae %s %at", s.Branch); got != "key key@example a change 1700000000" {
		t.Errorf("git log: %s", got)
	}
	if got := runGit(t, bare, "ls-tree", s.Branch, "run"); !strings.HasPrefix(got, "100755") {
		t.Errorf("the mode is lost: %s", got)
	}
}

func pushed(t *testing.T) (work, bare string) {
	t.Helper()
	work, bare = newRepo(t, "main")
	write(t, work, map[string]string{"ann": "old", "sub/b": "kept", "run": "#!"})
	if err := os.Chmod(filepath.Join(work, "run"), 0o755); err != nil {
		t.Fatal(err)
	}
	commit(t, work, "first")
	runGit(t, work, "push", "-q", "origin", "main")
	return work, bare
}

func TestCommitToBare(t *testing.T) {
	t.Parallel()
	_, bare := pushed(t)
	checkCommits(t, open(t, bare, Options{}), bare)
}

func TestCommitOverSSH(t *testing.T) {
	t.Parallel()
	server := startSSH(t)
	_, bare := pushed(t)
	checkCommits(t, open(t, server.remote(bare), Options{Key: "ed25519:" + server.seed, HostKeys: server.hostKeys["ed25519"]}), bare)
}

func TestCommitOverHTTP(t *testing.T) {
	t.Parallel()
	path := runGit(t, t.TempDir(), "--exec-path")
	_, bare := pushed(t)
	runGit(t, bare, "config", "http.receivepack", "true")
	server := httptest.NewServer(&cgi.Handler{Path: filepath.Join(path, "git-http-backend"),
		Env: []string{"GIT_PROJECT_ROOT=" + filepath.Dir(bare), "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_GLOBAL=/dev/null"}})
	defer server.Close()
	checkCommits(t, open(t, server.URL+"/users.git#main", Options{}), bare)
}

func TestCommitToCheckout(t *testing.T) {
	work, _ := pushed(t)
	r := open(t, work, Options{})
	write(t, work, map[string]string{"sub/b": "being written"})
	if _, err := r.Commit(t.Context(), fetch(t, r), change(map[string]string{"ann": "new", "c": "c", "sub/b": "ours"})); err != nil {
		t.Fatal(err)
	}
	if got := runGit(t, work, "status", "--porcelain"); got != "M sub/b" && got != "MM sub/b" {
		t.Errorf("git status: %q", got)
	}
	for name, want := range map[string]string{"ann": "new", "c": "c", "sub/b": "being written"} {
		if got, err := os.ReadFile(filepath.Join(work, name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestCommitToFolder(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"ann": "old", "gone": "x"})
	r := open(t, dir, Options{})
	s := fetch(t, r)
	next, err := r.Commit(t.Context(), s, change(map[string]string{"ann": "new", "a/b": "b", "gone": ""}))
	if err != nil {
		t.Fatal(err)
	}
	if seen := fetch(t, r); seen.Version != next.Version || cmp.Diff(text(seen), map[string]string{"ann": "new", "a/b": "b"}) != "" {
		t.Errorf("%v", text(seen))
	}
	if _, err := r.Commit(t.Context(), s, change(map[string]string{"ann": "newer"})); !errors.Is(err, ErrMoved) {
		t.Errorf("on an old version: %v", err)
	}
}

func TestCommitIsRefused(t *testing.T) {
	t.Parallel()
	_, bare := pushed(t)
	r := open(t, bare, Options{})
	s := fetch(t, r)
	for _, path := range []string{"", "/x", "../x", "a/../b", ".git/config", "."} {
		if _, err := r.Commit(t.Context(), s, change(map[string]string{path: "x"})); err == nil {
			t.Errorf("%q is taken", path)
		}
	}
	for _, files := range []map[string]string{{"sub": "x"}, {"ann/x": "x"}} {
		if _, err := r.Commit(t.Context(), s, change(files)); err == nil {
			t.Errorf("%v is taken", files)
		}
	}
	server := startSSH(t)
	write(t, filepath.Join(bare, "hooks"), map[string]string{"pre-receive": "#!/bin/sh\necho no such thing >&2\nexit 1\n"})
	if err := os.Chmod(filepath.Join(bare, "hooks", "pre-receive"), 0o755); err != nil {
		t.Fatal(err)
	}
	far := open(t, server.remote(bare), Options{Key: "ed25519:" + server.seed, HostKeys: server.hostKeys["ed25519"]})
	if _, err := far.Commit(t.Context(), fetch(t, far), change(map[string]string{"ann": "x"})); !errors.Is(err, ErrRejected) {
		t.Errorf("a hook says no: %v", err)
	}
}

// Two writers of ours and one that pushes with git: each change ends up in the branch.
func TestCommitsRace(t *testing.T) {
	t.Parallel()
	work, bare := pushed(t)
	git := peer.Need(t, "git")[0]
	const each = 15
	done := make(chan error, 3)
	for w := range 2 {
		go func() {
			r, err := Open(bare, Options{})
			for i := 0; i < each && err == nil; {
				var s *Snapshot
				if s, err = r.Fetch(t.Context()); err != nil {
					break
				}
				_, err = r.Commit(t.Context(), s, change(map[string]string{fmt.Sprintf("w%d-%d", w, i): "x"}))
				if err == nil {
					i++
				} else if errors.Is(err, ErrMoved) {
					err = nil
				}
			}
			done <- err
		}()
	}
	go func() {
		script := `for i in $(seq ` + strconv.Itoa(each) + `); do echo x > g-$i && git add g-$i && git commit -qm g || exit 1
			until git push -q origin main; do git pull -q --rebase origin main || exit 1; done; done`
		cmd := exec.Command("/bin/sh", "-c", script)
		cmd.Dir = work
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b",
			"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b", "PATH="+filepath.Dir(git)+":"+os.Getenv("PATH"))
		if out, err := cmd.CombinedOutput(); err != nil {
			done <- fmt.Errorf("%w: %s", err, out)
			return
		}
		done <- nil
	}()
	for range 3 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if n := len(fetch(t, open(t, bare, Options{})).Files); n != 3+3*each {
		t.Errorf("%d files, want %d", n, 3+3*each)
	}
	runGit(t, bare, "fsck", "--strict", "--full")
}

// A process that was killed at the wrong moment leaves a lock behind, which does not last.
func TestStaleLock(t *testing.T) {
	t.Parallel()
	_, bare := pushed(t)
	lock := filepath.Join(bare, "refs", "heads", "main.lock")
	write(t, bare, map[string]string{"refs/heads/main.lock": ""})
	r := open(t, bare, Options{Timeout: 100 * time.Millisecond})
	s := fetch(t, r)
	if _, err := r.Commit(t.Context(), s, change(map[string]string{"ann": "x"})); err == nil {
		t.Error("a lock of somebody who may live is broken")
	}
	old := time.Now().Add(-2 * staleLock)
	if err := os.Chtimes(lock, old, old); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Commit(t.Context(), s, change(map[string]string{"ann": "x"})); err != nil {
		t.Errorf("a stale lock: %v", err)
	}
}
