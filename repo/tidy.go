package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// What commits may leave behind before it is packed. Git's own limits are 6700 objects and 50
// packs, so that pushes find nothing to do.
const (
	maxLoose     = 3000
	maxLooseSize = 64 << 20
	maxNewPacks  = 24
)

// leavings counts what the commits of this process have left since the last tidying.
type leavings struct {
	counted        bool // what others had left
	objects, packs int
	size           int64
}

func (l *leavings) add(files []placing) {
	for _, f := range files {
		switch filepath.Ext(f.path) {
		case ".pack":
			l.packs++
		case "":
			l.objects++
			l.size += int64(len(f.data))
		}
	}
}

func (l *leavings) much() bool {
	return l.objects >= maxLoose || l.size >= maxLooseSize || l.packs >= maxNewPacks
}

// A tidier packs a repository while it is in use. It only ever takes away what stands, durably, in
// a new pack, and so do others who do the same at the same time: git looks again where it does not
// find what was there before.
type tidier struct {
	left    leavings
	running sync.Mutex
	busy    chan struct{} // closed at the end of what runs in the background; nil for nothing
	failed  atomic.Pointer[error]
}

// Pack packs the repository, if it is one on this machine: the loose objects that its branches and
// tags need, and the smaller ones of its packs. The repository may be in use meanwhile. Where git gc
// is at work there is nothing to do. Commit packs by itself, in the background, when it has left
// enough behind.
func (r *Remote) Pack(ctx context.Context) error {
	at, ok := r.source.(*local)
	if !ok {
		return nil
	}
	repository, err := openRepository(at.path)
	if errors.Is(err, git.ErrRepositoryNotExists) {
		return nil
	}
	if err == nil {
		err = at.tidy(ctx, repository)
	}
	if err != nil {
		return fmt.Errorf("%s: pack: %w", r.at, err)
	}
	return nil
}

// PackFailure returns why the last packing in the background that failed did so, once: nil when
// there is nothing new. Nothing is lost by it, but the repository grows.
func (r *Remote) PackFailure() error {
	at, ok := r.source.(*local)
	if !ok {
		return nil
	}
	if err := at.failed.Swap(nil); err != nil {
		return fmt.Errorf("%s: pack: %w", r.at, *err)
	}
	return nil
}

// packSoon counts what a commit has left and packs in the background when it is much.
func (t *tidier) packSoon(repository *git.Repository, objects string, files []placing) {
	t.left.add(files)
	if !t.left.counted {
		t.left.counted = true
		t.left.objects += estimateLoose(objects)
	}
	if !t.left.much() || t.busy != nil && !isClosed(t.busy) {
		return
	}
	t.left = leavings{counted: true}
	done := make(chan struct{})
	t.busy = done
	go func() {
		defer close(done)
		if err := t.tidy(context.Background(), repository); err != nil {
			t.failed.Store(&err)
		}
	}()
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// estimateLoose looks at one of the 256 folders of loose objects, as git does.
func estimateLoose(objects string) int {
	entries, err := os.ReadDir(filepath.Join(objects, "17"))
	if err != nil {
		return 0
	}
	return 256 * len(entries)
}

func (t *tidier) tidy(ctx context.Context, repository *git.Repository) error {
	t.running.Lock()
	defer t.running.Unlock()
	store, ok := repository.Storer.(*filesystem.Storage)
	if !ok {
		return nil
	}
	dir := commonDir(store.Filesystem().Root())
	release, err := lockCollection(dir)
	if err != nil || release == nil {
		return err
	}
	defer release()
	tips, err := tipsOf(dir)
	if err != nil {
		return err
	}
	objects := filepath.Join(dir, "objects")
	if err := packLoose(ctx, objects, tips); err != nil {
		return err
	}
	return mergePacks(ctx, objects)
}

// tipsOf reads what the references of a repository point to. The library would read the locks of
// references too.
func tipsOf(dir string) ([]plumbing.Hash, error) {
	var tips []plumbing.Hash
	note := func(path string) error {
		text, err := os.ReadFile(path)
		if name := firstWord(text); plumbing.IsHash(name) {
			tips = append(tips, plumbing.NewHash(name))
		}
		return ifStillThere(err)
	}
	err := filepath.WalkDir(filepath.Join(dir, "refs"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".lock") {
			return ifStillThere(err)
		}
		return note(path)
	})
	if err != nil {
		return nil, err
	}
	packed, err := os.ReadFile(filepath.Join(dir, "packed-refs"))
	if ifStillThere(err) != nil {
		return nil, err
	}
	for line := range bytes.Lines(packed) {
		if name := firstWord(line); plumbing.IsHash(name) {
			tips = append(tips, plumbing.NewHash(name))
		}
	}
	return tips, note(filepath.Join(dir, "HEAD"))
}

func firstWord(text []byte) string {
	if words := strings.Fields(string(text)); len(words) > 0 {
		return words[0]
	}
	return ""
}

// lockCollection takes the lock that git gc takes, gc.pid, which holds the process and the host.
// It returns nil where somebody else is at it.
func lockCollection(dir string) (release func(), err error) {
	path := filepath.Join(dir, "gc.pid")
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path+".lock", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if errors.Is(err, fs.ErrExist) {
		if info, err := os.Stat(path + ".lock"); err == nil && time.Since(info.ModTime()) > staleLock {
			os.Remove(path + ".lock") // the next time then
		}
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if isCollecting(path, host) {
		f.Close()
		return nil, os.Remove(path + ".lock")
	}
	_, err = fmt.Fprintf(f, "%d %s", os.Getpid(), host)
	if err := errors.Join(err, f.Close()); err != nil {
		os.Remove(path + ".lock")
		return nil, err
	}
	if err := os.Rename(path+".lock", path); err != nil {
		return nil, err
	}
	return func() { os.Remove(path) }, nil
}

// isCollecting reads the lock as git does: for twelve hours it is that of a process that lives, or
// of one on another host.
func isCollecting(path, host string) bool {
	info, err := os.Stat(path)
	if err != nil || time.Since(info.ModTime()) > 12*time.Hour {
		return false
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	number, on, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	pid, err := strconv.Atoi(number)
	if err != nil || on != host {
		return true
	}
	return pid != os.Getpid() && isAlive(pid) // with our number it is of an earlier life
}
