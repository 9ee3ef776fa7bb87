package smtp

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"stagecoach/mail"
)

// A far end is a scripted SMTP server: one connection of it.
type far struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

// A farEnd runs a script for every connection: the first one for the first, the last one
// for all that follow.
type farEnd struct {
	addr    string
	scripts sync.WaitGroup
}

func scripted(t *testing.T, scripts ...func(*far)) (*farEnd, *NextHop) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &farEnd{addr: l.Addr().String()}
	go func() {
		for i := 0; ; i++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.SetDeadline(time.Now().Add(20 * time.Second))
			e.scripts.Go(func() {
				defer c.Close()
				scripts[min(i, len(scripts)-1)](&far{t, c, bufio.NewReader(c)})
			})
		}
	}()
	h := hopTo(t, e.addr)
	t.Cleanup(func() { l.Close(); h.Close(); e.scripts.Wait() })
	return e, h
}

func hopTo(t testing.TB, addr string) *NextHop {
	h := &NextHop{Name: "us.example", Host: "mx.example", Dial: func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", addr)
	}}
	t.Cleanup(func() { h.Close() })
	return h
}

func (f *far) send(s string) { io.WriteString(f.conn, s) }

// line reads one line, "" at the end.
func (f *far) line() string {
	s, _ := f.r.ReadString('\n')
	return strings.TrimSuffix(s, "\r\n")
}

// want reads a line for each prefix.
func (f *far) want(prefixes ...string) bool {
	for _, p := range prefixes {
		if got := f.line(); !strings.HasPrefix(got, p) {
			f.t.Errorf("the server got %q, want %q", got, p)
			return false
		}
	}
	return true
}

// ended demands that the client says no more, a QUIT aside.
func (f *far) ended() {
	f.t.Helper()
	rest, _ := io.ReadAll(f.r)
	if s := strings.TrimSuffix(string(rest), "QUIT\r\n"); s != "" {
		f.t.Errorf("the server got %q after all", s)
	}
}

// greet goes through greeting and EHLO, and offers extensions.
func (f *far) greet(offers ...string) bool {
	f.send("220 mx.example\r\n")
	return f.hello(offers...)
}

func (f *far) hello(offers ...string) bool {
	ok := f.want("EHLO us.example")
	f.send("250-mx.example\r\n")
	for _, o := range offers {
		f.send("250-" + o + "\r\n")
	}
	f.send("250 HELP\r\n")
	return ok
}

// data reads a message as DATA ends it, and undoes the dots.
func (f *far) data() string {
	var b strings.Builder
	for {
		s, err := f.r.ReadString('\n')
		if err != nil || s == ".\r\n" {
			return b.String()
		}
		b.WriteString(strings.TrimPrefix(s, "."))
	}
}

// chunk reads one BDAT.
func (f *far) chunk() (text string, last bool) {
	word := strings.Fields(f.line())
	if len(word) < 2 || word[0] != "BDAT" {
		f.t.Errorf("the server got %q, want BDAT", word)
		return "", true
	}
	n, _ := strconv.Atoi(word[1])
	b := make([]byte, n)
	io.ReadFull(f.r, b)
	return string(b), len(word) == 3
}

const small = "Subject: x\r\n\r\n.one\r\n..two\r\nend\r\n"

// letter makes a mail to the named recipients.
func letter(text string, to ...string) *mail.Mail {
	m := &mail.Mail{Message: mail.NewMessage([]byte(text)), Envelope: mail.Envelope{From: mail.MustParseAddress("joe@us.example")}}
	for _, s := range to {
		m.Envelope.To = append(m.Envelope.To, mail.Recipient{Address: mail.MustParseAddress(s)})
	}
	return m
}

// wantRefusal checks what an error says to an SMTP client, as "550 5.1.1".
func wantRefusal(t *testing.T, err error, want string) *mail.Refusal {
	t.Helper()
	var r *mail.Refusal
	if !errors.As(err, &r) {
		t.Fatalf("got %v, want %s", err, want)
	}
	if got := strconv.Itoa(r.Code) + " " + r.Status; got != want {
		t.Fatalf("got %v, want %s", err, want)
	}
	return r
}

// hopError returns the cause that every refusal of a NextHop has.
func hopError(t testing.TB, err error) *HopError {
	t.Helper()
	var e *HopError
	if !errors.As(err, &e) {
		t.Fatalf("no HopError in %v", err)
	}
	return e
}
