package smtp

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"stagecoach/mail"
)

// A deaf is a server that talks without listening: it says what it has to say, and hangs up.
type deaf struct {
	net.Conn
	r io.Reader
}

func (d deaf) Read(p []byte) (int, error)       { return d.r.Read(p) }
func (d deaf) Write(p []byte) (int, error)      { return len(p), nil }
func (d deaf) Close() error                     { return nil }
func (d deaf) SetReadDeadline(time.Time) error  { return nil }
func (d deaf) SetWriteDeadline(time.Time) error { return nil }
func (d deaf) LocalAddr() net.Addr              { return &net.UnixAddr{} }

// Whatever a server says, a mail has one result a recipient, each nil or a Refusal of one
// short printable line, and it is not taken unless the server said 2yz to its end.
func FuzzNextHop(f *testing.F) {
	f.Add("220 hi\r\n250-mx\r\n250 PIPELINING\r\n250 ok\r\n250 ok\r\n550 no\r\n354 go\r\n250 ok\r\n", false)
	f.Add("220 hi\r\n250-mx\r\n250-CHUNKING\r\n250-DSN\r\n250-SIZE 99\r\n250 SMTPUTF8\r\n250 ok\r\n251 ok\r\n452 4.2.2 \xff\r\n250 ok\r\n", true)
	f.Add("220-a\r\n220 b\r\n502 what\r\n250 ok\r\n250\r\n250 \r\n250 ok\r\n354\r\n554-5.6.0 a\r\n554 5.6.0 b\r\n", false)
	f.Add("220 hi\r\n250-mx\r\n250 STARTTLS\r\n220 go\r\n", true)
	f.Fuzz(func(t *testing.T, says string, carry bool) {
		h := &NextHop{Name: "us.example", Host: "mx.example", ClearFallback: true, Dial: func(context.Context) (net.Conn, error) {
			return deaf{r: strings.NewReader(says)}, nil
		}}
		defer h.Close()
		m := letter(small, "a@b.example", "b@b.example")
		m.Envelope.UTF8, m.Envelope.Body = true, mail.Body8BitMIME
		results := []error{h.Handle(t.Context(), m)}
		if carry {
			results = h.Carry(t.Context(), m)
			if len(results) != 2 {
				t.Fatalf("%d results", len(results))
			}
		}
		for _, err := range results {
			if err == nil {
				if !strings.Contains(says, "\n2") {
					t.Fatal("taken by nobody")
				}
				continue
			}
			r := mail.RefusalOf(err)
			if r.Code < 400 || r.Code > 599 || !isStatus(r.Status) || int(r.Status[0]-'0') != r.Code/100 || len(r.Text) > maxRefusalText || r.Text != printable(r.Text, 1000) {
				t.Fatalf("%#v", r)
			}
			hopError(t, err)
		}
	})
}

// A reply is bounded, and its texts are printable; what is no reply is an error.
func FuzzReply(f *testing.F) {
	for _, s := range []string{"250 ok\r\n", "250-a\r\n250 b\r\n", "250-a\r\n251 b\r\n", "550 5.1.1 no\n", "99", "250\r\n", "250-\r\n"} {
		f.Add(s)
	}
	f.Add(strings.Repeat("250-x\r\n", 1000))
	f.Add("250 " + strings.Repeat("x", 5000) + "\r\n")
	f.Fuzz(func(t *testing.T, s string) {
		r, err := readReply(bufio.NewReaderSize(strings.NewReader(s), linkReads))
		if err != nil {
			return
		}
		text := r.text()
		if r.code < 200 || r.code > 599 || len(r.lines) == 0 || len(r.lines) > maxReplyLines || len(text) > maxReplySize || text != printable(text, len(text)) {
			t.Fatalf("%q gave %+v", s, r)
		}
	})
}
