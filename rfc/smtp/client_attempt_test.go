package smtp

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"stagecoach/mail"
)

// All of a small mail to one recipient goes out before the first reply.
func TestOneFlight(t *testing.T) {
	_, h := scripted(t, func(f *far) {
		f.greet("PIPELINING", "CHUNKING")
		f.want("MAIL FROM:<joe@us.example>", "RCPT TO:<a@b.example>")
		if text, last := f.chunk(); text != small || !last {
			f.t.Errorf("got %q, %v", text, last)
		}
		f.send("250 ok\r\n251 will forward\r\n250 ok\r\n")
		f.ended()
	})
	if err := h.Handle(t.Context(), letter(small, "a@b.example")); err != nil {
		t.Fatal(err)
	}
}

func TestPipelinedDATA(t *testing.T) {
	_, h := scripted(t, func(f *far) {
		f.greet("PIPELINING")
		f.want("MAIL", "RCPT TO:<a@", "RCPT TO:<b@", "RCPT TO:<c@", "DATA")
		f.send("250 ok\r\n250 2.1.5 ok\r\n550-5.1.1 no\r\n550 5.1.1 such user\r\n252 perhaps\r\n354 go\r\n")
		if got := f.data(); got != small {
			f.t.Errorf("got %q", got)
		}
		f.send("250 ok\r\n")
		f.ended()
	})
	results := h.Carry(t.Context(), letter(small, "a@b.example", "b@b.example", "c@b.example"))
	if results[0] != nil || results[2] != nil {
		t.Error(results)
	}
	r := wantRefusal(t, results[1], "550 5.1.1")
	e := hopError(t, results[1])
	if r.Text != "no such user" || e.Step != "RCPT" || e.Elsewhere || e.RemoteMTA() != "mx.example" {
		t.Errorf("%v, %+v", r, e)
	}
}

// Without PIPELINING every command waits for the reply to the one before.
func TestNoPipelining(t *testing.T) {
	_, h := scripted(t, func(f *far) {
		f.greet("CHUNKING")
		for _, step := range []string{"MAIL", "RCPT", "RCPT"} {
			f.want(step)
			time.Sleep(5 * time.Millisecond)
			if n := f.r.Buffered(); n > 0 {
				f.t.Errorf("%d octets behind %s", n, step)
			}
			f.send("250 ok\r\n")
		}
		f.chunk()
		f.send("250 ok\r\n")
		f.ended()
	})
	if err := h.Handle(t.Context(), letter(small, "a@b.example", "b@b.example")); err != nil {
		t.Fatal(err)
	}
}

// A mail for all or none is not sent when one recipient is refused, for now or for good.
func TestAllOrNone(t *testing.T) {
	for _, offers := range [][]string{{"PIPELINING"}, {"PIPELINING", "CHUNKING"}, {"CHUNKING"}, nil} {
		_, h := scripted(t, func(f *far) {
			f.greet(offers...)
			replies := []string{"250 ok", "250 ok", "450 4.2.1 later", "550 5.1.1 never"}
			for i, step := range []string{"MAIL", "RCPT", "RCPT", "RCPT"} {
				f.want(step)
				f.send(replies[i] + "\r\n")
			}
			f.want("RSET")
			f.send("250 ok\r\n")
			f.ended()
		})
		err := h.Handle(t.Context(), letter(small, "a@b.example", "b@b.example", "c@b.example"))
		wantRefusal(t, err, "550 5.1.1")
	}
}

// The lone recipient is refused, and the server wants the message all the same: it is not
// given one (RFC 2920 section 3.1).
func TestWants354WithNobody(t *testing.T) {
	for _, carry := range []bool{false, true} {
		_, h := scripted(t, func(f *far) {
			f.greet("PIPELINING")
			f.want("MAIL", "RCPT", "DATA")
			f.send("250 ok\r\n550 5.1.1 no\r\n354 go\r\n")
			f.ended()
		})
		m := letter(small, "a@b.example")
		err := h.Handle(t.Context(), m)
		if carry {
			err = h.Carry(t.Context(), m)[0]
		}
		wantRefusal(t, err, "550 5.1.1")
	}
}

// What a server says where: the reply, and whether another host may be tried.
func TestRefusals(t *testing.T) {
	greeting := func(s string) func(*far) { return func(f *far) { f.send(s); f.ended() } }
	after := func(replies ...string) func(*far) {
		return func(f *far) {
			f.greet("PIPELINING")
			f.want("MAIL", "RCPT", "DATA")
			for _, r := range replies {
				f.send(r + "\r\n")
				if strings.HasPrefix(r, "354 go") {
					f.data()
				}
			}
			for f.line() == "RSET" {
				f.send("250 ok\r\n")
			}
		}
	}
	for name, test := range map[string]struct {
		script    func(*far)
		want      string
		step      string
		elsewhere bool
	}{
		"greeting 421":    {greeting("421 4.3.2 busy\r\n"), "451 4.3.2", "greeting", true},
		"greeting 554":    {greeting("554 no mail here\r\n"), "554 5.0.0", "greeting", true},
		"greeting 250":    {greeting("250 what\r\n"), "451 4.5.0", "greeting", true},
		"greeting HTTP":   {greeting("HTTP/1.1 400 Bad Request\r\n"), "451 4.4.2", "greeting", true},
		"MAIL 451":        {after("451 4.7.1 greylisted", "503 no", "503 no"), "451 4.7.1", "MAIL", true},
		"MAIL 550":        {after("550 5.7.1 go away", "503 no", "503 no"), "550 5.7.1", "MAIL", false},
		"MAIL 421":        {after("421 4.3.2 bye"), "451 4.3.2", "MAIL", true},
		"RCPT 450":        {after("250 ok", "450 4.2.0 later", "503 no"), "450 4.2.0", "RCPT", false},
		"RCPT 552":        {after("250 ok", "552 too many", "503 no"), "452 4.5.3", "RCPT", false},
		"RCPT 552 5.2.2":  {after("250 ok", "552 5.2.2 full", "503 no"), "552 5.2.2", "RCPT", false},
		"RCPT 421":        {after("250 ok", "421 bye"), "451 4.0.0", "RCPT", true},
		"RCPT 354":        {after("250 ok", "354 what", "503 no"), "451 4.5.0", "RCPT", false},
		"DATA 554":        {after("250 ok", "250 ok", "554 5.7.1 no"), "554 5.7.1", "DATA", false},
		"DATA 250":        {after("250 ok", "250 ok", "250 ok"), "451 4.5.0", "DATA", false},
		"dot 451":         {after("250 ok", "250 ok", "354 go", "451 4.3.0 disk"), "451 4.3.0", "DATA", false},
		"dot 550":         {after("250 ok", "250 ok", "354 go", "550 spam"), "550 5.0.0", "DATA", false},
		"status mismatch": {after("250 ok", "550 4.1.1 what", "503 no"), "550 5.0.0", "RCPT", false},
	} {
		_, h := scripted(t, test.script)
		err := h.Handle(t.Context(), letter(small, "a@b.example"))
		wantRefusal(t, err, test.want)
		if e := hopError(t, err); e.Step != test.step || e.Elsewhere != test.elsewhere {
			t.Errorf("%s: %+v", name, e)
		}
		h.Close()
	}
}

func TestConnectRefused(t *testing.T) {
	h := &NextHop{Host: "mx.example", Dial: func(context.Context) (net.Conn, error) { return nil, errors.New("no route") }}
	err := h.Handle(t.Context(), letter(small, "a@b.example"))
	wantRefusal(t, err, "451 4.4.1")
	if e := hopError(t, err); !e.Elsewhere || e.RemoteMTA() != "" {
		t.Errorf("%+v", e)
	}
}

// D7: when the reply to the end is lost, that is what the error says; at any point before, it
// is not.
func TestReplyLost(t *testing.T) {
	for _, offers := range [][]string{{"PIPELINING"}, {"CHUNKING"}, {"CHUNKING", "PIPELINING"}} {
		_, h := scripted(t, func(f *far) {
			f.greet(offers...)
			f.want("MAIL")
			f.send("250 ok\r\n")
			f.want("RCPT")
			f.send("250 ok\r\n")
			if offers[0] == "CHUNKING" {
				f.chunk()
				return
			}
			f.want("DATA")
			f.send("354 go\r\n")
			f.data()
		})
		err := h.Handle(t.Context(), letter(small, "a@b.example"))
		wantRefusal(t, err, "451 4.4.2")
		if !errors.Is(err, ErrReplyLost) || hopError(t, err).Elsewhere {
			t.Errorf("%v: %v", offers, err)
		}
	}
	for stop := range 3 {
		_, h := scripted(t, func(f *far) {
			f.greet()
			for i, reply := range []string{"250 ok\r\n", "250 ok\r\n", "354 go\r\n"} {
				f.line()
				if i == stop {
					return
				}
				f.send(reply)
			}
		})
		err := h.Handle(t.Context(), letter(small, "a@b.example"))
		wantRefusal(t, err, "451 4.4.2")
		if errors.Is(err, ErrReplyLost) || !hopError(t, err).Elsewhere {
			t.Errorf("stopped after %d: %v", stop, err)
		}
	}
}

// A server that refuses in the middle of the message is heard.
func TestRefusedMidway(t *testing.T) {
	large := strings.Repeat("a line of text, over and over again\r\n", 400_000)
	for _, offers := range [][]string{{"PIPELINING"}, {"PIPELINING", "CHUNKING"}} {
		_, h := scripted(t, func(f *far) {
			f.greet(offers...)
			f.want("MAIL", "RCPT")
			f.send("250 ok\r\n250 ok\r\n")
			if len(offers) == 1 {
				f.want("DATA")
				f.send("354 go\r\n")
				f.line()
				f.send("552 5.3.4 too big\r\n")
				f.conn.(*net.TCPConn).CloseWrite()
				f.ended0()
				return
			}
			f.chunk()
			f.send("552 5.3.4 too big\r\n")
			f.want("RSET")
			f.send("250 ok\r\n")
			f.ended()
		})
		wantRefusal(t, h.Handle(t.Context(), letter(large, "a@b.example")), "552 5.3.4")
	}
}

// A message that cannot be read is never sent in part.
func TestUnreadable(t *testing.T) {
	for _, offers := range [][]string{{"PIPELINING"}, {"PIPELINING", "CHUNKING"}, {"CHUNKING"}} {
		for _, size := range []int64{100, 1 << 20} {
			_, h := scripted(t, func(f *far) {
				f.greet(offers...)
				for {
					s := f.line()
					if s == "" {
						return
					}
					if s == "." || strings.HasPrefix(s, "BDAT") && strings.HasSuffix(s, "LAST") && size > 1000 {
						f.t.Errorf("%v: the server got %q", offers, s)
					}
					f.send("250 ok\r\n")
				}
			})
			m := letter("", "a@b.example")
			m.Message = mail.NewMessageFrom("A: b\r\n\r\n", badDisk{}, size, nil)
			err := h.Handle(t.Context(), m)
			wantRefusal(t, err, "451 4.3.0")
			if hopError(t, err).Elsewhere {
				t.Error("another host is to be tried")
			}
			h.Close()
		}
	}
}

type badDisk struct{}

func (badDisk) ReadAt(p []byte, off int64) (int, error) {
	if off == 0 && len(p) > 10 {
		return copy(p, "ten octets"), nil
	}
	return 0, errors.New("input/output error")
}
