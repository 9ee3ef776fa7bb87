package authority

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"stagecoach/repo"
	"stagecoach/rfc/dns"
)

// TestChild is no test: it is the server that TestKill kills.
func TestChild(t *testing.T) {
	bare := os.Getenv("AUTHORITY_TEST_REPOSITORY")
	if bare == "" {
		t.Skip("for TestKill")
	}
	r, err := repo.Open(bare, repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	a := &Authority{Repo: r, Signing: &Signing{Dir: os.Getenv("AUTHORITY_TEST_KEYS")}}
	if err := a.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("listening", l.Addr())
	(&dns.Server{Handler: a, Keys: a.Key}).Serve(context.Background(), l)
}

// No UPDATE that was answered with NOERROR is lost when the server is killed, and the
// repository is whole. AUTHORITY_TEST_KILLS is how many times; the repository is packed in between.
func TestKill(t *testing.T) {
	t.Parallel()
	_, _, _, bare := start(t, testFiles)
	keys := t.TempDir()
	var acked []string
	rounds := 4
	if n, err := strconv.Atoi(os.Getenv("AUTHORITY_TEST_KILLS")); err == nil {
		rounds = n
	}
	for round := range rounds {
		if r, err := repo.Open(bare, repo.Options{}); err != nil || round%5 == 4 && r.Pack(t.Context()) != nil {
			t.Fatal("packing failed")
		}
		acked = append(acked, killAfter(t, bare, keys, round)...)
	}
	git(t, bare, "fsck", "--strict")
	r, err := repo.Open(bare, repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	a := &Authority{Repo: r, Signing: &Signing{Dir: keys}}
	if err := a.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	z, ok := a.Zone("example")
	if !ok || len(acked) < rounds {
		t.Fatalf("no zone, or nothing to test: %d", len(acked))
	}
	for _, name := range acked {
		if z.nodes[name] == nil {
			t.Errorf("%s is lost", name)
		}
	}
	t.Logf("%d updates acknowledged", len(acked))
}

// killAfter starts a server and kills it after some updates, while others are on their way. It
// returns the names of those that were acknowledged.
func killAfter(t *testing.T, bare, keys string, round int) []string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, "-test.run=^TestChild$", "-test.v")
	cmd.Env = append(os.Environ(), "AUTHORITY_TEST_REPOSITORY="+bare, "AUTHORITY_TEST_KEYS="+keys)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var at netip.AddrPort
	for s := bufio.NewScanner(out); s.Scan(); {
		if a, ok := strings.CutPrefix(s.Text(), "listening "); ok {
			at = netip.MustParseAddrPort(a)
			break
		}
	}
	dead, kill := context.WithCancel(t.Context())
	defer kill()
	names := make(chan string)
	var clients sync.WaitGroup
	for w := range 4 {
		clients.Go(func() {
			c := client(at, dns.TCP, keyNamed(t, "personal._update.example"))
			for i := 0; dead.Err() == nil; i++ {
				name := fmt.Sprintf("k%d-%d-%d.example.", round, w, i)
				m := dns.NewUpdate("example")
				m.Insert(rrs(t, name+" 300 TXT u"))
				if dns.Do(t.Context(), c, m) == nil {
					names <- name
				} else if i > 1000 {
					return
				}
			}
		})
	}
	go func() { clients.Wait(); close(names) }()
	var acked []string
	for name := range names {
		acked = append(acked, name)
		if len(acked) == 2+4*(round%10) {
			// In the midst of what comes next.
			time.AfterFunc(time.Duration(round%7)*time.Millisecond, func() {
				cmd.Process.Kill() //nolint:errcheck // it is there
				kill()
			})
		}
	}
	cmd.Process.Kill() //nolint:errcheck // it has gone, if all went well
	cmd.Wait()         //nolint:errcheck // it was killed
	return acked
}
