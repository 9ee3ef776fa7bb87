package repo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"pgregory.net/rapid"
)

// counts asks git what is in a repository: loose objects, packs, and objects in packs.
func counts(t *testing.T, bare string) (loose, packs, packed int) {
	t.Helper()
	for line := range strings.Lines(runGit(t, bare, "count-objects", "-v")) {
		fmt.Sscanf(line, "count: %d", &loose)    //nolint:errcheck // one of them fits
		fmt.Sscanf(line, "packs: %d", &packs)    //nolint:errcheck // one of them fits
		fmt.Sscanf(line, "in-pack: %d", &packed) //nolint:errcheck // one of them fits
		if strings.HasPrefix(line, "garbage: ") && strings.TrimSpace(line) != "garbage: 0" {
			t.Errorf("git sees garbage: %s", line)
		}
	}
	return loose, packs, packed
}

// versions makes n commits, one after the other, of a file that is changed in two places each
// time, and returns what was in them by version.
func versions(t *testing.T, r *Remote, n int) map[string]string {
	t.Helper()
	s := fetch(t, r)
	all := map[string]string{}
	for i := range n {
		lines := strings.Split(string(s.Files["zone"]), "\n")
		if len(lines) < 100 {
			lines = make([]string, 2000)
			for i := range lines {
				lines[i] = fmt.Sprintf("host%d A 192.0.2.%d", i, i%250)
			}
		}
		lines[0] = fmt.Sprint("serial ", i, " ", s.Version)
		lines[rand.IntN(2000)] = fmt.Sprint("changed in ", i)
		c := change(map[string]string{"zone": strings.Join(lines, "\n"), fmt.Sprintf("sub/%d", i%7): fmt.Sprint(i)})
		next, err := r.Commit(t.Context(), s, c)
		if err != nil {
			t.Fatal(err)
		}
		all[next.Version] = string(next.Files["zone"])
		s = next
	}
	return all
}

func checkVersions(t *testing.T, bare string, all map[string]string) {
	t.Helper()
	runGit(t, bare, "fsck", "--strict", "--full")
	for version, want := range all {
		if got := runGit(t, bare, "show", version+":zone"); got != want {
			t.Fatalf("%s has changed", version)
		}
	}
}

func TestPack(t *testing.T) {
	t.Parallel()
	_, bare := pushed(t)
	r := open(t, bare, Options{})
	all := versions(t, r, 60)
	before := runGit(t, bare, "rev-list", "--count", "main")
	for round := range 4 {
		if err := r.Pack(t.Context()); err != nil {
			t.Fatal(err)
		}
		loose, packs, packed := counts(t, bare)
		if loose != 0 || packs > 3 || packed < 240 {
			t.Errorf("round %d: %d loose objects, %d packs with %d objects", round, loose, packs, packed)
		}
		checkVersions(t, bare, all)
		for v, text := range versions(t, r, 4+round*10) {
			all[v] = text
		}
		if round == 2 {
			runGit(t, bare, "gc", "-q")
		}
	}
	if after := runGit(t, bare, "rev-list", "--count", "main"); before == after {
		t.Error("no commits since")
	}
	if size := folderSize(t, bare); size > 1<<20 {
		t.Errorf("%d octets for versions of one file of 40 kB", size)
	}
}

func folderSize(t *testing.T, dir string) (n int64) {
	t.Helper()
	err := filepath.Walk(filepath.Join(dir, "objects"), func(_ string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			n += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Commits, our packing, git's, and clones all at once: nobody fails, and nothing is lost.
// inUse is for how long REPO_PACK has it done, a second by default.
func inUse(t *testing.T) time.Duration {
	text := os.Getenv("REPO_PACK")
	if text == "" {
		return time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestPackWhileInUse(t *testing.T) {
	t.Parallel()
	_, bare := pushed(t)
	ctx, cancel := context.WithTimeout(t.Context(), inUse(t))
	defer cancel()
	var wg sync.WaitGroup
	all := make(chan map[string]string, 1)
	wg.Go(func() {
		seen := map[string]string{}
		defer func() { all <- seen }()
		r := open(t, bare, Options{})
		for ctx.Err() == nil {
			for v, text := range versions(t, r, 10) {
				seen[v] = text
			}
			runGit(t, bare, "log", "-3")
		}
	})
	wg.Go(func() {
		r := open(t, bare, Options{})
		for ctx.Err() == nil {
			if err := r.Pack(ctx); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		}
	})
	wg.Go(func() {
		for ctx.Err() == nil {
			cmd := exec.Command("git", "gc", "-q")
			cmd.Dir = bare
			// It says so when it meets us at the lock.
			if out, err := cmd.CombinedOutput(); err != nil && !strings.Contains(string(out), "gc.pid.lock") && !strings.Contains(string(out), "gc is already running") {
				t.Errorf("git gc: %v: %s", err, out)
			}
		}
	})
	wg.Go(func() {
		dir := t.TempDir()
		for i := 0; ctx.Err() == nil; i++ {
			runGit(t, dir, "clone", "-q", "--no-local", bare, fmt.Sprint(i))
			if _, err := open(t, bare, Options{}).Fetch(context.Background()); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	if err := open(t, bare, Options{}).Pack(t.Context()); err != nil {
		t.Error(err)
	}
	seen := <-all
	if len(seen) == 0 {
		t.Fatal("no commits")
	}
	checkVersions(t, bare, seen)
}

// What commits leave behind is packed without being asked for.
func TestPacksBySoon(t *testing.T) {
	t.Parallel()
	_, bare := pushed(t)
	r := open(t, bare, Options{})
	s := r.source.(*local)
	s.left = leavings{counted: true, objects: maxLoose - 6}
	versions(t, r, 4)
	if s.busy == nil {
		t.Fatal("nothing was done")
	}
	<-s.busy
	if loose, packs, _ := counts(t, bare); loose > 16 || packs == 0 {
		t.Errorf("%d loose objects, %d packs", loose, packs)
	}
	if err := r.PackFailure(); err != nil {
		t.Error(err)
	}
}

// What goes wrong in the background is told, once.
func TestPackFailure(t *testing.T) {
	_, bare := pushed(t)
	r := open(t, bare, Options{})
	s := r.source.(*local)
	id := strings.Repeat("a", 40)
	write(t, bare, map[string]string{"refs/heads/broken": id + "\n", "objects/" + id[:2] + "/" + id[2:]: "no object"})
	s.left = leavings{counted: true, objects: maxLoose}
	versions(t, r, 1)
	<-s.busy
	if err := r.PackFailure(); err == nil {
		t.Error("nothing was told")
	}
	if err := r.PackFailure(); err != nil {
		t.Errorf("it is told again: %v", err)
	}
}

// Git gc and we keep out of each other's way.
func TestPackHoldsGitsLock(t *testing.T) {
	_, bare := pushed(t)
	release, err := lockCollection(bare)
	if err != nil || release == nil {
		t.Fatal(err)
	}
	if again, err := lockCollection(bare); again != nil && err == nil {
		again() // the lock is that of this process, which knows that it does not hold it
	}
	host, _ := os.Hostname()
	write(t, bare, map[string]string{"gc.pid": fmt.Sprint(os.Getppid(), " ", host)})
	if got, err := lockCollection(bare); got != nil || err != nil {
		t.Errorf("the lock of a process that lives is broken: %v", err)
	}
	write(t, bare, map[string]string{"gc.pid": fmt.Sprint(1<<22+1, " ", host)})
	if got, err := lockCollection(bare); got == nil || err != nil {
		t.Errorf("the lock of a process that is gone holds: %v", err)
	} else {
		got()
	}
	write(t, bare, map[string]string{"gc.pid": "1 elsewhere"})
	if got, _ := lockCollection(bare); got != nil {
		t.Error("the lock of another host is broken")
	}
	if _, err := os.Stat(filepath.Join(bare, "gc.pid.lock")); !errors.Is(err, os.ErrNotExist) {
		t.Error("a lock file is left")
	}
}

func TestDelta(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from := []byte(strings.Repeat(rapid.StringN(0, 40, 200).Draw(t, "from"), rapid.IntRange(0, 300).Draw(t, "times")))
		to := append([]byte(nil), from...)
		for range rapid.IntRange(0, 5).Draw(t, "changes") {
			i := rapid.IntRange(0, len(to)).Draw(t, "from")
			j := rapid.IntRange(i, min(len(to), i+100)).Draw(t, "to")
			to = append(append(append([]byte(nil), to[:i]...), rapid.SliceOfN(rapid.Byte(), 0, 50).Draw(t, "new")...), to[j:]...)
		}
		checkDelta(t, from, to)
	})
	big := []byte(strings.Repeat("0123456789abcdef", 2<<20)) // copies of more than 16 MB
	checkDelta(t, big, append([]byte("x"), big...))
	if n := len(diff(big, append(append([]byte("x"), big[:20<<20]...), big[20<<20+5:]...))); n > 200 {
		t.Errorf("a delta of %d octets for a small change", n)
	}
}

func checkDelta(t interface{ Fatalf(string, ...any) }, from, to []byte) {
	if len(from) == 0 || len(to) < 8 {
		return // it would never be written as a difference
	}
	got, err := packfile.PatchDelta(from, diff(from, to))
	if err != nil || string(got) != string(to) {
		t.Fatalf("a delta from %q to %q: %v", head(from), head(to), err)
	}
}

func head(b []byte) []byte { return b[:min(len(b), 100)] }

func FuzzDelta(f *testing.F) {
	f.Add([]byte("one text and then another one, which is longer"), []byte("one text or then another one, which is longer"))
	f.Fuzz(func(t *testing.T, from, to []byte) { checkDelta(t, from, to) })
}
