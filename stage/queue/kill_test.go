package queue

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stagecoach/mail"
	"stagecoach/rfc/smtp"
)

const killedConcurrency = 20

// The test binary is also the program that is killed: a relay of SMTP server, queue and
// SMTP client, run when this variable names its spool and its next hop.
const childVariable = "STAGECOACH_QUEUE_CHILD"

func TestMain(m *testing.M) {
	if args, ok := os.LookupEnv(childVariable); ok {
		dir, next, _ := strings.Cut(args, "|")
		fmt.Fprintln(os.Stderr, beKilled(dir, next))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// beKilled runs a relay until the process is killed. It prints its address.
func beKilled(dir, next string) error {
	s := testSettings()
	s.FirstRetry, s.MaxRetry, s.Concurrency = 200*time.Millisecond, time.Second, killedConcurrency
	q, err := Open(dir, s)
	if err != nil {
		return err
	}
	q.Courier = nextHop(func() string { return next }, killedConcurrency)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	server := &smtp.Server{Name: "relay.test.example", Inner: true, Next: q, Spool: dir}
	go server.Serve(context.Background(), l)
	return q.Run(context.Background())
}

func nextHop(address func() string, conns int) *smtp.NextHop {
	return &smtp.NextHop{
		Name: "client.test.example", Host: "relay.test.example", Security: smtp.TLSNone, Inner: true, MaxConns: conns,
		Dial: func(ctx context.Context) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", address())
		},
	}
}

// A relay is a child process that is killed and started again on the same spool.
type relay struct {
	dir, sink string
	address   atomic.Value
	cmd       *exec.Cmd
	slowest   time.Duration // from start to listening
}

func (r *relay) start(t *testing.T) {
	t.Helper()
	begin := time.Now()
	r.cmd = exec.Command(os.Args[0])
	r.cmd.Env = append(os.Environ(), childVariable+"="+r.dir+"|"+r.sink)
	r.cmd.Stderr = os.Stderr
	out, err := r.cmd.StdoutPipe()
	if err == nil {
		err = r.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the relay does not start: %v", err)
	}
	r.address.Store(strings.TrimSpace(line))
	r.slowest = max(r.slowest, time.Since(begin))
}

func (r *relay) kill() {
	r.cmd.Process.Kill()
	r.cmd.Wait() //nolint:errcheck // it was killed
}

// A record is what the far end took: how often each mail arrived.
type record struct {
	mu    sync.Mutex
	times map[string]int // name + " " + recipient
}

func (r *record) Handle(_ context.Context, m *mail.Mail) error {
	time.Sleep(time.Duration(rand.IntN(50)) * time.Millisecond)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, to := range m.Envelope.To {
		r.times[m.Message.Header.Value("X-N")+" "+to.String()]++
	}
	return nil
}

// With 64 sessions at work the relay is killed 25 times, or as often as QUEUE_KILLS says.
// Whatever it acknowledged arrives, and at most the deliveries under way arrive twice.
func TestKill(t *testing.T) {
	kills := 25
	if testing.Short() {
		kills = 5
	}
	if n, err := strconv.Atoi(os.Getenv("QUEUE_KILLS")); err == nil {
		kills = n
	}
	far := &record{times: map[string]int{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go (&smtp.Server{Name: "sink.test.example", Inner: true, Next: far}).Serve(t.Context(), l)
	r := &relay{dir: filepath.Join(t.TempDir(), "spool"), sink: l.Addr().String()}
	r.start(t)
	defer func() { r.kill() }()
	load := &load{names: map[string][]string{}}
	ctx, cancel := context.WithCancel(t.Context())
	var g sync.WaitGroup
	for i := range 64 {
		g.Go(func() { load.session(ctx, r, i) })
	}
	for range kills {
		time.Sleep(50*time.Millisecond + time.Duration(rand.IntN(300))*time.Millisecond)
		r.kill()
		r.start(t)
	}
	time.Sleep(100 * time.Millisecond)
	cancel()
	g.Wait()
	load.compare(t, far, kills)
	t.Logf("%d kills, slowest start %v", kills, r.slowest)
}

// A load is many sessions that send, and the ledger of what was acknowledged.
type load struct {
	mu    sync.Mutex
	names map[string][]string // acknowledged name → recipients
}

func (l *load) session(ctx context.Context, r *relay, number int) {
	hop := nextHop(func() string { return r.address.Load().(string) }, 1)
	body := strings.Repeat("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n", 160)
	for i := 0; ctx.Err() == nil; i++ {
		name := fmt.Sprintf("%d-%d", number, i)
		to := []string{fmt.Sprintf("x@d%d.example", i%10)}
		if i%5 == 0 {
			to = append(to, fmt.Sprintf("y@e%d.example", number%7))
		}
		m := newMail(name, "a@from.example", to...)
		m.Message = mail.NewMessage([]byte("X-N: " + name + "\r\n\r\n" + body))
		if err := hop.Handle(ctx, m); err == nil {
			l.mu.Lock()
			l.names[name] = to
			l.mu.Unlock()
		}
		time.Sleep(time.Duration(rand.IntN(200)) * time.Millisecond)
	}
}

func (l *load) compare(t *testing.T, far *record, kills int) {
	t.Helper()
	lost := errors.New("not looked")
	for end := time.Now().Add(60 * time.Second); lost != nil && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		lost = l.lost(far)
	}
	if lost != nil {
		t.Error(lost)
	}
	far.mu.Lock()
	defer far.mu.Unlock()
	twice := 0
	for _, n := range far.times {
		twice += n - 1
	}
	if twice > killedConcurrency*kills {
		t.Errorf("%d mails arrived more than once, more than were under way at %d kills", twice, kills)
	}
	t.Logf("%d mails acknowledged, %d arrivals, %d of them duplicates", len(l.names), len(far.times)+twice, twice)
}

func (l *load) lost(far *record) error {
	far.mu.Lock()
	defer far.mu.Unlock()
	n, example := 0, ""
	for name, to := range l.names {
		for _, a := range to {
			if far.times[name+" "+a] == 0 {
				n, example = n+1, name+" "+a
			}
		}
	}
	if n > 0 {
		return fmt.Errorf("%d acknowledged mails are lost, such as %s", n, example)
	}
	return nil
}
