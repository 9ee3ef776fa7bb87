package smtp

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"stagecoach/mail"
)

// A pipeListener hands out in-memory connections, for tests in which time is simulated.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newPipeListener() *pipeListener {
	return &pipeListener{make(chan net.Conn), make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	select {
	case <-l.closed:
	default:
		close(l.closed)
	}
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func (l *pipeListener) dial(t testing.TB) *talk {
	ours, theirs := net.Pipe()
	l.conns <- theirs
	c := talkOn(t, ours)
	c.conn.SetDeadline(time.Now().Add(24 * time.Hour))
	return c
}

// inBubble runs a server in simulated time.
func inBubble(t *testing.T, s *Server, do func(t *testing.T, l *pipeListener, stop func() error)) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		s.Name = "mx.example"
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx, l) }()
		stopped := false
		stop := func() error {
			stopped = true
			cancel()
			return <-done
		}
		do(t, l, stop)
		time.Sleep(time.Hour) // so that goroutines of the test see the end
		if !stopped {
			if err := stop(); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestCommandTimeout(t *testing.T) {
	inBubble(t, &Server{Next: &box{}}, func(t *testing.T, l *pipeListener, _ func() error) {
		c := l.dial(t)
		c.want("220 ")
		start := time.Now()
		go func() { // a command a minute keeps a connection, an octet a minute does not
			for {
				if _, err := c.conn.Write([]byte("N")); err != nil {
					return
				}
				time.Sleep(time.Minute)
			}
		}()
		c.want("421 4.4.2")
		if d := time.Since(start); d != 5*time.Minute {
			t.Errorf("after %v", d)
		}
		c.conn.Close()
	})
}

func TestSlowMessage(t *testing.T) {
	inBubble(t, &Server{Next: &box{}}, func(t *testing.T, l *pipeListener, _ func() error) {
		c := l.dial(t).begin()
		c.say("DATA", "354")
		start := time.Now()
		go func() {
			for {
				if _, err := c.conn.Write([]byte("x")); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}()
		c.want("421 4.4.2")
		if d := time.Since(start); d < time.Minute || d > 70*time.Second {
			t.Errorf("after %v", d)
		}
		c.conn.Close()
	})
}

func TestTransactionTimeout(t *testing.T) {
	inBubble(t, &Server{Next: &box{}, Limits: Limits{Commands: -1}}, func(t *testing.T, l *pipeListener, _ func() error) {
		c := l.dial(t).begin()
		start := time.Now()
		go func() {
			for {
				if _, err := c.conn.Write([]byte("NOOP\r\n")); err != nil {
					return
				}
				time.Sleep(time.Minute)
			}
		}()
		for {
			if got := c.read(); !strings.HasPrefix(got, "250") {
				break
			}
		}
		if d := time.Since(start); d != 30*time.Minute {
			t.Errorf("after %v", d)
		}
		c.conn.Close()
	})
}

// At the end of a server an idle session is told so at once, and a message on its way may
// arrive.
func TestEnd(t *testing.T) {
	b := &box{answer: func(*mail.Mail) error { time.Sleep(time.Second); return nil }}
	inBubble(t, &Server{Next: b, Limits: Limits{Commands: -1}}, func(t *testing.T, l *pipeListener, stop func() error) {
		idle, busy, chunks := l.dial(t), l.dial(t).begin(), l.dial(t).begin()
		idle.want("220 ")
		busy.say("DATA", "354")
		chunks.send("BDAT 4\r\na: b")
		chunks.want("250")
		synctest.Wait()
		result := make(chan error)
		go func() { result <- stop() }()
		idle.want("421 4.3.2")
		idle.closed()
		time.Sleep(time.Second)
		busy.send("A: b\r\n\r\n.\r\n")
		chunks.send("BDAT 4 LAST\r\n\r\n\r\n")
		busy.want("250", "421 4.3.2")
		busy.closed()
		chunks.want("250", "421 4.3.2")
		chunks.closed()
		if err := <-result; err != nil {
			t.Error(err)
		}
		if n := len(b.all()); n != 2 {
			t.Errorf("%d mails", n)
		}
	})
}

// Whoever stalls in the midst of a message has no more than the grace, and so has Next.
func TestEndOfGrace(t *testing.T) {
	stuck := mail.HandlerFunc(func(ctx context.Context, _ *mail.Mail) error {
		<-ctx.Done()
		return ctx.Err()
	})
	inBubble(t, &Server{Next: stuck, Grace: 3 * time.Second}, func(t *testing.T, l *pipeListener, stop func() error) {
		stalled, handled := l.dial(t).begin(), l.dial(t).begin()
		stalled.say("DATA", "354")
		handled.say("DATA", "354")
		handled.send(".\r\n")
		synctest.Wait()
		start := time.Now()
		result := make(chan error)
		go func() { result <- stop() }()
		stalled.want("421 4.3.2")
		handled.want("451 4.3.0", "421 4.3.2")
		if err := <-result; err != nil {
			t.Error(err)
		}
		if d := time.Since(start); d != 3*time.Second {
			t.Errorf("after %v", d)
		}
	})
}

func TestHandlerTimeoutAndPanic(t *testing.T) {
	next := mail.HandlerFunc(func(ctx context.Context, m *mail.Mail) error {
		if m.Envelope.From.IsZero() {
			panic("boo")
		}
		<-ctx.Done()
		return errors.Join(errors.New("secret"), ctx.Err())
	})
	inBubble(t, &Server{Next: next}, func(t *testing.T, l *pipeListener, _ func() error) {
		c := l.dial(t).begin()
		start := time.Now()
		c.say("DATA", "354")
		c.send(".\r\n")
		c.want("451 4.3.0 timed out")
		if d := time.Since(start); d != 5*time.Minute {
			t.Errorf("after %v", d)
		}
		c.say("MAIL FROM:<>", "250")
		c.say("RCPT TO:<a@b.example>", "250")
		c.say("DATA", "354")
		c.send(".\r\n")
		c.want("421 4.3.0")
		c.closed()
	})
}

// When connections are scarce, those that wait for nothing give way.
func TestPressure(t *testing.T) {
	inBubble(t, &Server{Next: &box{}, Limits: Limits{Connections: 8}}, func(t *testing.T, l *pipeListener, _ func() error) {
		first := l.dial(t)
		first.want("220 ")
		time.Sleep(10 * time.Second)
		for range 7 {
			l.dial(t).want("220 ")
		}
		start := time.Now()
		first.want("421 4.4.2")
		if d := time.Since(start); d != 20*time.Second {
			t.Errorf("after %v", d)
		}
	})
}
