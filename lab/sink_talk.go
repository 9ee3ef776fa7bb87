package lab

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"stagecoach/mail"
)

// A talk is one conversation of a Sink.
type talk struct {
	sink    *Sink
	ctx     context.Context //nolint:containedctx // it lives as long as its conversation
	raw     net.Conn
	conn    net.Conn // raw, or TLS over it
	r       *bufio.Reader
	peer    mail.Peer
	secured bool
	env     mail.Envelope
	open    bool // MAIL was accepted
	body    bytes.Buffer
	started bool // the message has begun
}

// errOver ends a conversation on purpose.
var errOver = errors.New("the conversation is over")

const (
	sinkLimit    = 50 << 20 // octets of a message
	sinkPatience = 5 * time.Minute
)

func newTalk(ctx context.Context, s *Sink, c net.Conn) *talk {
	t := &talk{sink: s, ctx: ctx, raw: c, conn: c, r: bufio.NewReader(c)}
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		ap := a.AddrPort()
		t.peer.Addr, t.peer.Port = ap.Addr().Unmap(), ap.Port()
	}
	return t
}

func (t *talk) run() {
	defer t.raw.Close()
	if t.perform(t.sink.act(AtConnect), "220 "+t.sink.MX+" ESMTP") != nil {
		return
	}
	for {
		t.conn.SetDeadline(time.Now().Add(sinkPatience)) //nolint:errcheck // the read tells
		line, err := t.r.ReadString('\n')
		if err != nil || len(line) > 4096 {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		t.sink.heard(line)
		if t.command(line) != nil {
			return
		}
	}
}

// perform does an act, whose usual answer is reply.
func (t *talk) perform(a Act, reply string) error {
	if !t.wait(a.Delay) {
		return errOver
	}
	if a.Reply != "" {
		reply = a.Reply
	}
	if !a.Mute && reply != "" {
		if err := t.say(reply, a.Pace); err != nil {
			return err
		}
	}
	switch a.Then {
	case Continue:
		return nil
	case Reset:
		if c, ok := t.raw.(*net.TCPConn); ok {
			c.SetLinger(0) //nolint:errcheck // Close follows
		}
	case Stall:
		io.Copy(io.Discard, t.raw) //nolint:errcheck // until the client goes away
	case Garbage:
		t.raw.Write([]byte("\x16\x03\x09\xff\xff\x00not TLS\x00\r\n500 what?\r\n")) //nolint:errcheck // Close follows
	}
	return errOver
}

func (t *talk) wait(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	select {
	case <-t.ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func (t *talk) say(reply string, pace time.Duration) error {
	b := []byte(reply + "\r\n")
	if pace <= 0 {
		_, err := t.conn.Write(b)
		return err
	}
	for i := range b {
		if !t.wait(pace) {
			return errOver
		}
		if _, err := t.conn.Write(b[i : i+1]); err != nil {
			return err
		}
	}
	return nil
}

func (t *talk) command(line string) error {
	verb, arg, _ := strings.Cut(line, " ")
	switch strings.ToUpper(verb) {
	case "EHLO", "HELO":
		return t.hello(strings.ToUpper(verb) == "EHLO", arg)
	case "STARTTLS":
		return t.startTLS()
	case "MAIL":
		return t.mail(arg)
	case "RCPT":
		return t.rcpt(arg)
	case "DATA":
		return t.data()
	case "BDAT":
		return t.bdat(arg)
	case "RSET":
		t.reset()
		return t.say("250 2.0.0 ok", 0)
	case "NOOP":
		return t.say("250 2.0.0 ok", 0)
	case "QUIT":
		t.say("221 2.0.0 bye", 0) //nolint:errcheck // it is over
		return errOver
	}
	return t.say("502 5.5.1 unknown command", 0)
}

func (t *talk) reset() {
	t.env, t.open, t.started = mail.Envelope{}, false, false
	t.body.Reset()
}

func (t *talk) hello(extended bool, name string) error {
	t.reset()
	t.peer.Hello, t.peer.ESMTP = name, extended
	reply := "250 " + t.sink.MX
	if extended {
		lines := strings.Split(t.sink.hello(), "\n")
		if t.sink.certificate() != nil && !t.secured {
			lines = append(lines, "STARTTLS")
		}
		for i := range lines {
			sep := "-"
			if i == len(lines)-1 {
				sep = " "
			}
			lines[i] = "250" + sep + lines[i]
		}
		reply = strings.Join(lines, "\r\n")
	}
	return t.perform(t.sink.act(AtHello), reply)
}

func (t *talk) startTLS() error {
	cert := t.sink.certificate()
	if cert == nil || t.secured {
		return t.say("502 5.5.1 not offered", 0)
	}
	a := t.sink.act(AtSTARTTLS)
	if err := t.perform(a, "220 2.0.0 go on"); err != nil {
		return err
	}
	if a.Reply != "" && !strings.HasPrefix(a.Reply, "220") {
		return nil
	}
	c := tls.Server(t.raw, &tls.Config{Certificates: []tls.Certificate{*cert}, MinVersion: tls.VersionTLS12})
	if err := c.HandshakeContext(t.ctx); err != nil {
		return err
	}
	t.reset()
	state := c.ConnectionState()
	t.conn, t.r, t.secured, t.peer.TLS = c, bufio.NewReader(c), true, &state
	return nil
}

// negative reports whether the answer of an act says no, or may have been lost on purpose.
func (a Act) negative() bool { return len(a.Reply) > 0 && (a.Reply[0] == '4' || a.Reply[0] == '5') }

func (t *talk) mail(arg string) error {
	a := t.sink.act(AtMail)
	path, params, ok := cutPath(arg, "FROM:")
	if !ok {
		return t.say("501 5.5.4 syntax error", 0)
	}
	if !a.negative() {
		t.reset()
		t.open = true
		if path != "" {
			from, err := mail.ParseAddress(path)
			if err != nil {
				return t.say("553 5.1.7 no address", 0)
			}
			t.env.From = from
		}
		t.env.UTF8 = strings.Contains(strings.ToUpper(params), "SMTPUTF8")
		t.env.Body = bodyOf(params)
	}
	return t.perform(a, "250 2.1.0 ok")
}

// bodyOf returns the value of BODY= among the parameters of MAIL.
func bodyOf(params string) mail.BodyType {
	for _, p := range strings.Fields(strings.ToUpper(params)) {
		if v, ok := strings.CutPrefix(p, "BODY="); ok {
			return mail.BodyType(v)
		}
	}
	return ""
}

// cutPath takes the path and the parameters out of the argument of MAIL or RCPT.
func cutPath(arg, keyword string) (path, params string, ok bool) {
	if len(arg) < len(keyword) || !strings.EqualFold(arg[:len(keyword)], keyword) {
		return "", "", false
	}
	rest := strings.TrimSpace(arg[len(keyword):])
	if !strings.HasPrefix(rest, "<") {
		return "", "", false
	}
	end := strings.LastIndex(rest, ">")
	if i := strings.Index(rest, "> "); i >= 0 {
		end = i
	}
	if end < 0 {
		return "", "", false
	}
	return rest[1:end], rest[end+1:], true
}

func (t *talk) rcpt(arg string) error {
	path, _, ok := cutPath(arg, "TO:")
	to, err := mail.ParseAddress(path)
	switch {
	case !ok || err != nil:
		return t.say("501 5.1.3 syntax error", 0)
	case !t.open:
		return t.say("503 5.5.1 MAIL first", 0)
	}
	a := t.sink.actFor(t.peer.Addr.String(), t.env.From.String(), to.String())
	if !a.negative() {
		t.env.To = append(t.env.To, mail.Recipient{Address: to})
	}
	return t.perform(a, "250 2.1.5 ok")
}

func (t *talk) data() error {
	if len(t.env.To) == 0 {
		return t.say("554 5.5.1 no valid recipients", 0)
	}
	a := t.sink.act(AtData)
	if err := t.perform(a, "354 go on"); err != nil || a.negative() {
		return err
	}
	for fresh := true; ; {
		line, err := t.r.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		if fresh {
			if bytes.Equal(line, []byte(".\r\n")) {
				return t.end()
			}
			line = bytes.TrimPrefix(line, []byte("."))
		}
		fresh = err == nil
		if err := t.take(line); err != nil {
			return err
		}
	}
}

func (t *talk) bdat(arg string) error {
	size, last, _ := strings.Cut(arg, " ")
	n, err := strconv.ParseInt(size, 10, 64)
	if err != nil || n < 0 || n > sinkLimit {
		return errOver // what follows cannot be told from commands
	}
	refused := len(t.env.To) == 0
	var begin Act
	if !refused && !t.started {
		begin = t.sink.act(AtData)
	}
	for n > 0 {
		b, err := t.r.Peek(int(min(n, int64(max(1, t.r.Buffered())))))
		if err != nil {
			return err
		}
		if !refused {
			if err := t.take(b); err != nil {
				return err
			}
		}
		t.r.Discard(len(b)) //nolint:errcheck // it is buffered
		n -= int64(len(b))
	}
	switch {
	case refused:
		return t.say("503 5.5.1 no valid recipients", 0)
	case begin != Act{}:
		t.reset()
		return t.perform(begin, "250 2.0.0 ok")
	case strings.EqualFold(last, "LAST"):
		return t.end()
	}
	return t.say("250 2.0.0 ok", 0)
}

// take keeps a piece of the message. The first one is the moment AtBody.
func (t *talk) take(b []byte) error {
	if t.body.Len()+len(b) > sinkLimit {
		return errOver
	}
	t.body.Write(b)
	if t.started {
		return nil
	}
	t.started = true
	return t.perform(t.sink.act(AtBody), "")
}

// end has the whole message: it is kept before it is answered, so that a test finds all that
// a client may have seen acknowledged.
func (t *talk) end() error {
	a := t.sink.act(AtEnd)
	if !a.negative() && !a.Discard {
		r := &Received{At: time.Now(), Peer: t.peer, Envelope: t.env.Clone(), Raw: bytes.Clone(t.body.Bytes())}
		if err := t.sink.put(r); err != nil {
			t.reset()
			return t.say("452 4.2.2 the sink is full", 0)
		}
	}
	t.reset()
	return t.perform(a, "250 2.0.0 ok")
}
