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
	a := &Authority{Repo: r}
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
	_, _, _, bare := start(t, testFiles)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var acked []string
	rounds := 6
	if n, err := strconv.Atoi(os.Getenv("AUTHORITY_TEST_KILLS")); err == nil {
		rounds = n
	}
	for round := range rounds {
		if r, err := repo.Open(bare, repo.Options{}); err != nil || round%5 == 4 && r.Pack(t.Context()) != nil {
			t.Fatal("packing failed")
		}
		cmd := exec.Command(exe, "-test.run=^TestChild$", "-test.v")
		cmd.Env = append(os.Environ(), "AUTHORITY_TEST_REPOSITORY="+bare)
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
		time.AfterFunc(time.Duration(300+60*(round%10))*time.Millisecond, func() { cmd.Process.Kill() })
		names := make(chan string, 1000)
		done := make(chan bool)
		for w := range 4 {
			go func() {
				c := client(at, dns.TCP, keyNamed(t, "personal._update.example"))
				for i := 0; ; i++ {
					name := fmt.Sprintf("k%d-%d-%d.example.", round, w, i)
					m := dns.NewUpdate("example")
					m.Insert(rrs(t, name+" 300 TXT u"))
					if dns.Do(t.Context(), c, m) != nil {
						done <- true
						return
					}
					names <- name
				}
			}()
		}
		for range 4 {
			<-done
		}
		cmd.Wait() //nolint:errcheck // it was killed
		close(names)
		for n := range names {
			acked = append(acked, n)
		}
	}
	git(t, bare, "fsck", "--strict")
	r, err := repo.Open(bare, repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	a := &Authority{Repo: r}
	if err := a.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	z, ok := a.Zone("example")
	if !ok || len(acked) == 0 {
		t.Fatalf("no zone, or nothing to test: %d", len(acked))
	}
	for _, name := range acked {
		if z.nodes[name] == nil {
			t.Errorf("%s is lost", name)
		}
	}
	t.Logf("%d updates acknowledged", len(acked))
}
