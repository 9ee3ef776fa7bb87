package authority

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"stagecoach/lab/peer"
	"stagecoach/rfc/dns"
)

// Machines update while people push, into the same file and others: all of it is there in the end,
// and each is a commit. AUTHORITY_RACE=1000 makes it so many in all.
func TestRacingUpdatesAndPushes(t *testing.T) {
	t.Parallel()
	all := 50
	if s := os.Getenv("AUTHORITY_RACE"); s != "" {
		var err error
		if all, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	pushes := all / 5
	updates := all - pushes
	files := map[string]string{"example": "@ 60 SOA ns h 7 1 1 1 60\n@ 60 NS ns\nns 60 A 192.0.2.1\n; people write below\n", "example._keys": testFiles["example._keys"]}
	a, at, work, bare := start(t, files)
	var wg sync.WaitGroup
	began := time.Now()
	next := make(chan int)
	for range 16 {
		wg.Go(func() {
			c := client(at, dns.TCP, keyNamed(t, "personal._update.example"))
			c.Timeout = 2 * time.Minute
			for i := range next {
				m := dns.NewUpdate("example")
				m.RRsetNotUsed(rrs(t, fmt.Sprintf("u%d.example. 300 TXT u", i)))
				m.Insert(rrs(t, fmt.Sprintf("u%d.example. 300 TXT u", i)))
				if err := dns.Do(t.Context(), c, m); err != nil {
					t.Errorf("update %d: %v", i, err)
				}
			}
		})
	}
	wg.Go(func() {
		defer close(next)
		for i := range updates {
			next <- i
		}
	})
	tries := 0
	for i := range pushes {
		tries += pushByHand(t, work, i)
	}
	wg.Wait()
	took := time.Since(began)
	if err := a.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !a.Healthy() || len(a.Problems()) > 0 {
		t.Errorf("the zone is broken: %v", a.Problems())
	}
	z, _ := a.Zone("example")
	for i := range updates {
		if z.nodes[fmt.Sprintf("u%d.example.", i)] == nil {
			t.Errorf("update %d is lost", i)
		}
	}
	for i := range pushes {
		_, zone := a.Zone(fmt.Sprintf("p%d", i))
		if !zone && z.nodes[fmt.Sprintf("p%d.example.", i)] == nil {
			t.Errorf("push %d is lost", i)
		}
	}
	if n := git(t, bare, "rev-list", "--count", "main"); n != fmt.Sprint(1+updates+pushes) {
		t.Errorf("%s commits", n)
	}
	git(t, bare, "fsck", "--strict")
	if text := git(t, bare, "show", "main:example"); strings.Count(text, "people write below") != 1 {
		t.Error("the comment is lost")
	}
	t.Logf("%d updates and %d pushes (%d tries) in %v", updates, pushes, tries, took.Round(time.Millisecond))
}

// pushByHand is what somebody does who is in the way of machines: an edit of what is there, with a
// serial that is raised, or a new zone; again and again, until it is the first. It returns the
// number of tries.
func pushByHand(t *testing.T, work string, i int) (tries int) {
	t.Helper()
	for tries = 1; tries < 1000; tries++ {
		git(t, work, "fetch", "-q", "origin", "main")
		git(t, work, "reset", "-q", "--hard", "origin/main")
		if i%2 == 0 {
			writeFiles(t, work, map[string]string{fmt.Sprintf("p%d", i): "@ 60 SOA ns h 7 1 1 1 60\n@ TXT p\n"})
		} else {
			text, err := os.ReadFile(filepath.Join(work, "example"))
			if err != nil {
				t.Fatal(err)
			}
			soa := strings.Fields(string(text))
			serial, err := strconv.ParseUint(soa[5], 10, 32)
			if err != nil {
				t.Fatal(err)
			}
			edited := strings.Replace(string(text), soa[5], fmt.Sprint(serial+1), 1) + fmt.Sprintf("p%d 60 TXT p\n", i)
			writeFiles(t, work, map[string]string{"example": edited})
		}
		git(t, work, "add", "-A")
		git(t, work, "commit", "-qm", "by hand")
		cmd := exec.Command(peer.Need(t, "git")[0], "push", "-q", "origin", "HEAD:main")
		cmd.Dir = work
		if cmd.Run() == nil {
			return tries
		}
	}
	t.Fatal("no way to push")
	return tries
}
