package account

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"stagecoach/mail"
	"stagecoach/repo"
)

// A shelf is a Source whose files a test changes.
type shelf struct {
	mu       sync.Mutex
	snapshot *repo.Snapshot
	err      error
}

func (s *shelf) String() string { return "shelf" }

func (s *shelf) Fetch(context.Context) (*repo.Snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.snapshot, s.err
}

func (s *shelf) put(version string, err error, files map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
	s.snapshot = &repo.Snapshot{Version: version, Files: map[string][]byte{}}
	for name, text := range files {
		s.snapshot.Files[name] = []byte(text)
	}
}

func has(d *Directory, name string) bool {
	_, ok := d.Book().Login(name)
	return ok
}

func TestDirectoryKeepsTheLastGoodCopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		s.put("0", errors.New("no network"), nil)
		if _, err := Open(t.Context(), s, Settings{Domain: "x.example"}); err == nil {
			t.Fatal("opened without any accounts")
		}
		s.put("1", nil, map[string]string{"ann": `{}`})
		d, err := Open(t.Context(), s, Settings{Domain: "x.example"})
		if err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		d.Log, d.Poll = slog.New(slog.NewTextHandler(&log, nil)), time.Minute
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { d.Run(ctx); close(done) }()
		first := d.Book()

		step := func() { time.Sleep(time.Minute); synctest.Wait() }
		s.put("2", nil, map[string]string{"ann": `{}`, "bob": `{}`})
		step()
		if !has(d, "bob") || d.Book().Version != "2" {
			t.Error("bob was not picked up")
		}
		if _, ok := first.Login("bob"); ok {
			t.Error("the old book has changed")
		}
		s.put("3", nil, map[string]string{"ann": `{"quota": "1"}`})
		step()
		step()
		step()
		if !has(d, "bob") || d.Book().Version != "2" {
			t.Error("the last good copy went away")
		}
		if n := strings.Count(log.String(), "quota"); n != 1 {
			t.Errorf("the error was logged %d times, want 1:\n%s", n, log.String())
		}
		s.put("3", errors.New("no network"), nil)
		step()
		if !has(d, "bob") {
			t.Error("the last good copy went away with the network")
		}
		s.put("4", nil, map[string]string{"carl": `{"password": "` + hex128 + `"}`})
		if err := d.Refresh(t.Context()); err != nil {
			t.Error(err)
		}
		if has(d, "ann") || !has(d, "carl") {
			t.Error("Refresh did not take over the new version")
		}
		if !strings.Contains(log.String(), "weak") || strings.Contains(log.String(), hex128[:20]) {
			t.Errorf("the log must warn of carl's password, and not show it:\n%s", log.String())
		}
		cancel()
		<-done
	})
}

// A repository of the OCaml system works as it is, from a real folder.
func TestReferenceRepository(t *testing.T) {
	r, err := repo.Open("testdata/reference", repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := Open(t.Context(), r, Settings{Domain: "x25519.net"})
	if err != nil {
		t.Fatal(err)
	}
	u, ok := d.Book().Lookup(mail.MustParseAddress("din@x25519.net"))
	if !ok || u.Targets[0].String() != "romain.calascibetta@gmail.com" {
		t.Fatalf("%+v, %v", u, ok)
	}
	if _, err := d.Authenticate(t.Context(), "din", "abc"); err != nil {
		t.Error(err)
	}
}
