package hold

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stagecoach/mail"
	"stagecoach/rfc/smtp"
)

// The test binary is also the program that is killed: a server with a Holder behind it, run when this
// variable names its folder and its next hop.
const childVariable = "STAGECOACH_HOLD_CHILD"

func TestMain(m *testing.M) {
	if args, ok := os.LookupEnv(childVariable); ok {
		dir, next, _ := strings.Cut(args, "|")
		fmt.Fprintln(os.Stderr, beKilled(dir, next))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func beKilled(dir, next string) error {
	s, err := Open(dir, Limits{Mails: 1 << 20, Size: 1 << 40})
	if err != nil {
		return err
	}
	h := &Holder{
		Store: s, Key: []byte("0123456789abcdef"), DigestAt: NoDigest, Next: hop(func() string { return next }), Poll: 10 * time.Millisecond,
		Limit: func(a mail.Address) float64 { return map[string]float64{"ann": 0.9, "bob": 2}[a.Local()] },
		User:  func(a mail.Address) (string, bool) { return a.String(), true },
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	go h.Run(context.Background())
	return (&smtp.Server{Name: "hold.test.example", Inner: true, Next: h, Spool: dir}).Serve(context.Background(), l)
}

func hop(address func() string) *smtp.NextHop {
	return &smtp.NextHop{
		Name: "client.test.example", Host: "hold.test.example", Security: smtp.TLSNone, Inner: true, MaxConns: 20,
		Dial: func(ctx context.Context) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", address())
		},
	}
}

// arrivals is what the far end took: numbers of mails, with the recipient before them.
type arrivals struct {
	mu   sync.Mutex
	seen map[string]bool
}

func (a *arrivals) Handle(_ context.Context, m *mail.Mail) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, to := range m.Envelope.To {
		a.seen[to.Local()+" "+m.Message.Header.Value("Message-ID")] = true
	}
	return nil
}

func (a *arrivals) has(name string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.seen[name]
}

// A process that is killed has kept, or handed on, all that it took: of each mail one part is held
// and one is forwarded, and some are released while the next ones come.
func TestKill(t *testing.T) {
	far := &arrivals{seen: map[string]bool{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go (&smtp.Server{Name: "sink.test.example", Inner: true, Next: far}).Serve(t.Context(), l)
	dir := filepath.Join(t.TempDir(), "held")
	var at atomic.Value
	var mu sync.Mutex
	var taken []string
	store, err := Open(dir, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	child := startChild(t, dir, l.Addr().String(), &at)
	defer func() { child.Process.Kill() }()
	ctx, cancel := context.WithCancel(t.Context())
	var g sync.WaitGroup
	for i := range 6 {
		g.Go(func() {
			next := hop(func() string { return at.Load().(string) })
			for n := 0; ctx.Err() == nil; n++ {
				number := i*1_000_000 + n
				if next.Handle(ctx, spamTo(number, "ann@x.example", "bob@x.example")) == nil {
					mu.Lock()
					taken = append(taken, fmt.Sprintf("<%d@evil.example>", number))
					mu.Unlock()
				}
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	for range 6 {
		time.Sleep(120 * time.Millisecond)
		if items, _ := store.List("ann@x.example"); len(items) > 0 { // files may go meanwhile
			store.Release(items[0]) //nolint:errcheck // it may be gone
		}
		child.Process.Kill()
		child.Wait() //nolint:errcheck // it was killed
		child = startChild(t, dir, l.Addr().String(), &at)
	}
	cancel()
	g.Wait()
	child.Process.Kill()
	child.Wait() //nolint:errcheck // it was killed

	items, err := store.List("ann@x.example")
	if err != nil {
		t.Fatal(err)
	}
	held := map[string]bool{}
	for _, it := range items {
		m, err := it.Mail()
		if err != nil {
			t.Fatal(err)
		}
		held[m.Message.Header.Value("Message-ID")] = true
		m.Message.Close()
	}
	lost := 0
	for _, id := range taken {
		if !held[id] && !far.has("ann "+id) || !far.has("bob "+id) {
			lost++
		}
	}
	if lost > 0 || len(taken) == 0 {
		t.Errorf("%d of %d acknowledged mails are lost", lost, len(taken))
	}
	t.Logf("%d mails acknowledged, %d held", len(taken), len(held))
}

func startChild(t *testing.T, dir, next string, at *atomic.Value) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+dir+"|"+next)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("it does not start: %v", err)
	}
	at.Store(strings.TrimSpace(line))
	return cmd
}
