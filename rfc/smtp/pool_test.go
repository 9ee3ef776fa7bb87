package smtp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stagecoach/mail"
)

// takeOne takes one mail by DATA, and returns false at the end.
func (f *far) takeOne() bool {
	if !strings.HasPrefix(f.line(), "MAIL") {
		return false
	}
	f.send("250 ok\r\n")
	f.want("RCPT")
	f.send("250 ok\r\n")
	f.want("DATA")
	f.send("354 go\r\n")
	f.data()
	f.send("250 ok\r\n")
	return true
}

func TestReuse(t *testing.T) {
	var connections, mails atomic.Int32
	_, h := scripted(t, func(f *far) {
		limits := "LIMITS RCPTMAX=9 MAILMAX=50"
		if connections.Add(1) > 3 {
			limits = "LIMITS MAILMAX=2" // RFC 9422 section 4.1
		}
		f.greet("PIPELINING", limits)
		for f.takeOne() {
			mails.Add(1)
		}
	})
	h.MaxMessages = 4
	for range 10 {
		if err := h.Handle(t.Context(), letter(small, "a@b.example")); err != nil {
			t.Fatal(err)
		}
	}
	if connections.Load() != 3 || mails.Load() != 10 {
		t.Errorf("%d mails over %d connections", mails.Load(), connections.Load())
	}
	h.pool.drop()
	for range 4 {
		if err := h.Handle(t.Context(), letter(small, "a@b.example")); err != nil {
			t.Fatal(err)
		}
	}
	if connections.Load() != 5 {
		t.Errorf("%d connections", connections.Load())
	}
}

// A connection that the server closed while it was idle costs nothing.
func TestStale(t *testing.T) {
	once := func(last string) func(*far) {
		return func(f *far) {
			f.greet("PIPELINING", "CHUNKING")
			f.want("MAIL", "RCPT")
			f.chunk()
			f.send("250 ok\r\n250 ok\r\n250 ok\r\n" + last)
		}
	}
	for name, script := range map[string]func(*far){
		"closed":     once(""),
		"told first": once("421 4.4.2 you were idle\r\n"),
		"at MAIL": func(f *far) { // it closes when it hears of us again
			once("")(f)
			f.line()
			f.send("421 4.4.2 you were idle\r\n")
		},
	} {
		_, h := scripted(t, script)
		for i := range 3 {
			if err := h.Handle(t.Context(), letter(small, "a@b.example")); err != nil {
				t.Errorf("%s, mail %d: %v", name, i, err)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
}

// A server that dies when it hears MAIL on an old connection gets the mail on a new one,
// once; on a new connection nothing is tried again.
func TestStaleOnce(t *testing.T) {
	var connections atomic.Int32
	_, h := scripted(t, func(f *far) {
		connections.Add(1)
		f.greet()
		f.takeOne()
		f.want("MAIL")
	}, func(f *far) {
		connections.Add(1)
		f.greet()
		f.want("MAIL")
	})
	if err := h.Handle(t.Context(), letter(small, "a@b.example")); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, h.Handle(t.Context(), letter(small, "a@b.example")), "451 4.4.2")
	if n := connections.Load(); n != 2 {
		t.Errorf("%d connections", n)
	}
}

func TestBoundedConnections(t *testing.T) {
	var now, most atomic.Int32
	_, h := scripted(t, func(f *far) {
		n := now.Add(1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		f.greet("PIPELINING")
		for f.takeOne() {
			time.Sleep(time.Millisecond)
		}
		now.Add(-1)
	})
	h.MaxConns = 3
	var wg sync.WaitGroup
	for range 30 {
		wg.Go(func() {
			if err := h.Handle(t.Context(), letter(small, "a@b.example")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := most.Load(); n > 3 {
		t.Errorf("%d connections at a time", n)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	h.MaxConns = 0
	stuck := hopTo(t, "127.0.0.1:1")
	stuck.MaxConns = 1
	if err := stuck.pool.enter(ctx, 1); err != nil {
		t.Fatal(err)
	}
	err := stuck.Handle(ctx, letter(small, "a@b.example"))
	wantRefusal(t, err, "451 4.4.1")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestIdleEnds(t *testing.T) {
	ended := make(chan string, 1)
	_, h := scripted(t, func(f *far) {
		f.greet()
		f.takeOne()
		ended <- f.line()
	})
	h.IdleTimeout = 20 * time.Millisecond
	if err := h.Handle(t.Context(), letter(small, "a@b.example")); err != nil {
		t.Fatal(err)
	}
	select {
	case s := <-ended:
		if s != "QUIT" {
			t.Errorf("got %q", s)
		}
	case <-time.After(5 * time.Second):
		t.Error("the connection was kept")
	}
	if l := h.pool.popAny(); l != nil {
		t.Error("it is still in the pool")
	}
}

// The end of the context ends the connection at once, wherever it stands.
func TestCancel(t *testing.T) {
	for stop := range 6 {
		_, h := scripted(t, func(f *far) {
			replies := []string{"220 hi\r\n", "250 hi\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n", ""}
			for i, r := range replies[:stop] {
				f.send(r)
				if i < 4 {
					f.line()
				} else {
					f.data()
				}
			}
			f.ended0()
		})
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		start := time.Now()
		err := h.Handle(ctx, letter(small, "a@b.example"))
		cancel()
		if d := time.Since(start); d > 2*time.Second {
			t.Errorf("stop %d: it took %v", stop, d)
		}
		r := wantRefusal(t, err, "451 4.4.2")
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrReplyLost) != (stop == 5) {
			t.Errorf("stop %d: %v", stop, r)
		}
		h.Close()
	}
}

func TestTimeouts(t *testing.T) {
	brief := 30 * time.Millisecond
	for stop := range 6 {
		_, h := scripted(t, func(f *far) {
			replies := []string{"220 hi\r\n", "250 hi\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n", ""}
			for i, r := range replies[:stop] {
				f.send(r)
				if i < 4 {
					f.line()
				} else {
					f.data()
				}
			}
			for { // a reply that never ends
				if _, err := f.conn.Write([]byte("2")); err != nil {
					return
				}
				time.Sleep(5 * time.Millisecond)
			}
		})
		h.Timeouts = Timeouts{Greeting: brief, Command: brief, Data: brief, Final: brief}
		start := time.Now()
		wantRefusal(t, h.Handle(t.Context(), letter(small, "a@b.example")), "451 4.4.2")
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("stop %d: it took %v", stop, d)
		}
		h.Close()
	}
}

// A server that never reads the message is given up.
func TestDeafServer(t *testing.T) {
	_, h := scripted(t, func(f *far) {
		f.greet()
		f.want("MAIL")
		f.send("250 ok\r\n")
		f.want("RCPT")
		f.send("250 ok\r\n")
		f.want("DATA")
		f.send("354 go\r\n")
		time.Sleep(300 * time.Millisecond)
	})
	h.Timeouts = Timeouts{Block: 50 * time.Millisecond}
	err := h.Handle(t.Context(), letter(strings.Repeat("a line\r\n", 3_000_000), "a@b.example"))
	wantRefusal(t, err, "451 4.4.2")
	if errors.Is(err, ErrReplyLost) {
		t.Error(err)
	}
}

// Many mails at once through one hop to our own server, some refused: no reply is mixed up.
func TestConcurrent(t *testing.T) {
	b := &box{answer: func(m *mail.Mail) error {
		if m.Envelope.To[0].Local() == "bob" {
			return mail.Reject(550, "5.7.9", "not bob")
		}
		return nil
	}}
	h := hopTo(t, serve(t, &Server{Next: b, Gate: ourGate{}}))
	h.MaxConns = 5
	users := []string{"ann", "bob", "nobody"}
	want := []string{"", "550 5.7.9", "550 5.1.1"}
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			err := h.Handle(t.Context(), letter(fmt.Sprintf("X: %d\r\n\r\n", i), users[i%3]+"@us.example"))
			if want[i%3] == "" && err != nil || want[i%3] != "" && !strings.HasPrefix(fmt.Sprint(err), want[i%3]) {
				t.Errorf("%s: %v", users[i%3], err)
			}
		})
	}
	wg.Wait()
	if n := len(b.all()); n != 20 {
		t.Errorf("%d mails", n)
	}
}

// BenchmarkHandle hands mails of 4 kB to a Server of ours over a unix socket.
func BenchmarkHandle(b *testing.B) {
	h := &NextHop{Name: "us.example", Host: "inner", Inner: true}
	l, err := net.Listen("unix", filepath.Join(b.TempDir(), "s"))
	if err != nil {
		b.Fatal(err)
	}
	serveOn(b, &Server{Next: mail.HandlerFunc(func(context.Context, *mail.Mail) error { return nil }), Inner: true}, l)
	h.Dial = func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", l.Addr().String())
	}
	defer h.Close()
	m := letter("Subject: x\r\n\r\n"+strings.Repeat("a line of text, and one more word\r\n", 117), "a@b.example")
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if err := h.Handle(b.Context(), m); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
