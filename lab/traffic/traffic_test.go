package traffic

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

func startSink(t *testing.T, s *Sink) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// Whatever the way a message is sent, what the client has acknowledged is what the sink counts.
func TestClosedLoop(t *testing.T) {
	for name, l := range map[string]Load{
		"BDAT pipelined":     {Sessions: 4, Count: 300, Size: 4000},
		"DATA pipelined":     {Sessions: 4, Count: 300, Chunking: DATA},
		"DATA in steps":      {Sessions: 2, Count: 100, Chunking: DATA, NoPipelining: true},
		"BDAT in steps":      {Sessions: 2, Count: 100, Chunking: BDAT, NoPipelining: true},
		"three a connection": {Sessions: 3, Count: 100, PerConnection: 3},
		"three recipients":   {Count: 50, To: []string{"a@sink.example", "b@sink.example", "c@sink.example"}},
		"tiny":               {Count: 10, Size: 1, Chunking: DATA},
		"large":              {Count: 5, Size: 1 << 20, Chunking: DATA},
	} {
		t.Run(name, func(t *testing.T) {
			sink := &Sink{Record: true}
			l.Dialer.Target = startSink(t, sink)
			l.Duration = time.Minute
			l.Ledger = NewLedger(nil)
			res, err := l.Run(t.Context())
			if err != nil || res.Err != nil {
				t.Fatal(err, res)
			}
			l = l.withDefaults()
			if res.Accepted != l.Count || sink.Messages() != l.Count || sink.Deliveries() != l.Count*len(l.To) {
				t.Errorf("%d acknowledged, %d messages and %d deliveries at the sink, want %d", res.Accepted, sink.Messages(), sink.Deliveries(), l.Count)
			}
			v := Check(l.Ledger, sink.Times(), l.To, nil)
			if v.Delivered != l.Count || v.Lost+v.Duplicates+v.Unasked != 0 {
				t.Error(v)
			}
			if p := res.Latencies; len(p) != l.Count || p.Quantile(0.5) <= 0 || p.Quantile(0.5) > p.Quantile(0.99) || p.Quantile(0.99) > p.Quantile(1) {
				t.Errorf("latencies %v", p)
			}
			if size := sink.Octets() / int64(l.Count); l.Size > 200 && (size < int64(l.Size) || size > int64(l.Size)+5) {
				t.Errorf("messages of %d octets, want %d", size, l.Size)
			}
		})
	}
}

func TestOpenLoopKeepsItsRate(t *testing.T) {
	l := Load{Sessions: 8, Rate: 400, Duration: time.Second, Size: 500}
	l.Dialer.Target = startSink(t, &Sink{})
	res, err := l.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if res.Accepted < 350 || res.Accepted > 401 || res.Late != 0 {
		t.Errorf("%d accepted in a second at a rate of 400, %d late", res.Accepted, res.Late)
	}
}

// A server that is too slow shows in the latency, although each single answer comes quickly.
func TestOpenLoopCountsTheWait(t *testing.T) {
	l := Load{Sessions: 1, Rate: 500, Duration: 500 * time.Millisecond, Size: 100}
	l.Dialer.Target = startSink(t, &Sink{Latency: 20 * time.Millisecond})
	res, err := l.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if p := res.Latencies.Quantile(0.9); p < 100*time.Millisecond {
		t.Errorf("p90 is %v: the wait for a free session is left out", p)
	}
}

func TestPersistOverALostServer(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	sink := &Sink{Record: true, Latency: 5 * time.Millisecond}
	stopped := make(chan error)
	go func() { stopped <- sink.Serve(ctx, listener) }()
	l := Load{Sessions: 8, Duration: 1500 * time.Millisecond, Persist: true, Size: 300, Ledger: NewLedger(nil)}
	l.Dialer.Target = listener.Addr().(*net.TCPAddr).AddrPort()
	again := make(chan error)
	go func() {
		time.Sleep(300 * time.Millisecond)
		cancel()
		<-stopped
		listener, err := net.Listen("tcp", l.Dialer.Target.String())
		if err != nil {
			again <- err
			return
		}
		again <- sink.Serve(t.Context(), listener)
	}()
	res, err := l.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	v := Check(l.Ledger, sink.Times(), l.withDefaults().To, nil)
	if res.Broken == 0 || v.Lost != 0 || v.Acked != res.Accepted {
		t.Errorf("%d broken, %v", res.Broken, v)
	}
	select {
	case err := <-again:
		t.Error(err)
	default:
	}
}

func TestCheck(t *testing.T) {
	var file bytes.Buffer
	l := NewLedger(&file)
	a, b, c, d := ID{1, 1, 1}, ID{1, 1, 2}, ID{1, 1, 3}, ID{1, 1, 4}
	for _, id := range []ID{a, b, c, d} {
		l.note(id, sent)
	}
	l.note(a, acked)
	l.note(b, acked)
	l.note(d, refused)
	times := map[Delivery]int{{a, "x@y"}: 3, {b, "z@y"}: 2, {c, "x@y"}: 1}
	v := Check(l, times, []string{"x@y"}, nil)
	if v.Acked != 2 || v.Delivered != 1 || v.Lost != 1 || v.Duplicates != 3 || v.Unasked != 1 || len(v.LostIDs) != 1 || v.LostIDs[0] != b {
		t.Errorf("%+v", v)
	}
	if v := Check(l, times, []string{"x@y"}, func(x Delivery) bool { return x == Delivery{b, "x@y"} }); v.Lost != 0 {
		t.Errorf("what is queued counts as lost: %v", v)
	}
	if len(l.Unknown()) != 1 || l.Unknown()[0] != c {
		t.Errorf("unknown: %v", l.Unknown())
	}
	if err := l.Flush(); err != nil || strings.Count(file.String(), "\n") != 7 || !strings.Contains(file.String(), "acked "+a.String()) {
		t.Errorf("%v: %s", err, &file)
	}
}

func TestLoopbackOnly(t *testing.T) {
	for _, target := range []string{"192.0.2.1:25", "[2001:db8::1]:25", "example.com:25", "0.0.0.0:25", "10.0.0.1:25"} {
		if _, err := Loopback(t.Context(), target); !errors.Is(err, ErrNotLoopback) {
			t.Errorf("%s: %v", target, err)
		}
	}
	for _, target := range []string{"127.0.0.1:25", "[::1]:25", "127.9.8.7:smtp", "localhost:2525"} {
		if a, err := Loopback(t.Context(), target); err != nil || !a.Addr().IsLoopback() {
			t.Errorf("%s: %v %v", target, a, err)
		}
	}
	d := Dialer{Target: netip.MustParseAddrPort("192.0.2.1:25")}
	if _, err := d.Dial(t.Context()); !errors.Is(err, ErrNotLoopback) {
		t.Errorf("Dial: %v", err)
	}
}

func TestIdle(t *testing.T) {
	i := Idle{Count: 200}
	i.Dialer.Target = startSink(t, &Sink{})
	n, err := i.Open(t.Context())
	if err != nil || n != 200 || i.Standing() != 200 {
		t.Errorf("%d connections, %v", n, err)
	}
	i.Close()
}

func TestUsageOf(t *testing.T) {
	u, err := UsageOf(os.Getpid())
	if err != nil || u.RSS < 1<<20 || u.Processes < 1 {
		t.Errorf("%+v %v", u, err)
	}
	if _, err := UsageOf(1 << 30); err == nil {
		t.Error("a process that does not exist has usage")
	}
}

func TestScanEndInPieces(t *testing.T) {
	const text = "a\r\n..\r\n\r\r\n.\r.\r\n x.\r\n.\r\nQUIT\r\n"
	want := strings.Index(text, "\r\n.\r\nQUIT") + 5
	for size := 1; size <= len(text); size++ {
		matched, used := 2, 0
		for used < len(text) {
			n, done := scanEnd([]byte(text[used:min(used+size, len(text))]), []byte("\r\n.\r\n"), &matched)
			used += n
			if done {
				break
			}
		}
		if used != want {
			t.Errorf("in pieces of %d the end is found at %d, want %d", size, used, want)
		}
	}
}
