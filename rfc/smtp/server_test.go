package smtp

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"stagecoach/mail"
	"stagecoach/rfc/sasl"
)

// A taken mail is what a box keeps of one.
type taken struct {
	peer     mail.Peer
	envelope mail.Envelope
	text     string
	trace    string
}

// body returns the message without our Received field.
func (k taken) body() string {
	m := mail.NewMessage([]byte(k.text))
	m.Header.Strike(func(f mail.Field) bool { return f.Is("Received") && strings.Contains(f.Raw(), "by mx.example ") })
	return m.String()
}

// A box is the Handler of the tests.
type box struct {
	mu     sync.Mutex
	mails  []taken
	answer func(*mail.Mail) error
}

func (b *box) Handle(ctx context.Context, m *mail.Mail) error {
	if b.answer != nil {
		if err := b.answer(m); err != nil {
			return err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mails = append(b.mails, taken{m.Peer, m.Envelope.Clone(), m.Message.String(), mail.Trace(ctx)})
	return nil
}

func (b *box) all() []taken {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mails
}

// ourGate takes what is for us.example and known.
type ourGate struct{}

func (ourGate) Admit(_ context.Context, _ *mail.Mail, to mail.Address) error {
	switch {
	case to.Domain() != "us.example":
		return mail.Reject(550, "5.7.1", "we do not relay")
	case to.Local() != "ann" && to.Local() != "bob" && !strings.EqualFold(to.Local(), "postmaster"):
		return mail.Reject(550, "5.1.1", "no such user")
	}
	return nil
}

// oneUser logs ann in.
type oneUser struct{}

func (oneUser) Mechanisms(mail.Peer) []string { return []string{"PLAIN", "TWO"} }

func (oneUser) Start(_ context.Context, _ mail.Peer, name string) (sasl.Exchange, error) {
	if name == "TWO" {
		return &twoSteps{}, nil
	}
	return &plainExchange{}, nil
}

type plainExchange struct{}

func (plainExchange) Next(_ context.Context, r []byte) ([]byte, bool, error) {
	switch {
	case r == nil:
		return []byte{}, false, nil
	case bytes.Equal(r, []byte("\x00ann\x00sesame")):
		return nil, true, nil
	case bytes.Equal(r, []byte("\x00ann\x00outage")):
		return nil, false, errors.New("the book is burning")
	}
	return nil, false, mail.Reject(535, "5.7.8", "no")
}
func (plainExchange) User() string { return "ann@us.example" }

// twoSteps ends with a last word of the server.
type twoSteps struct{ n int }

func (t *twoSteps) Next(context.Context, []byte) ([]byte, bool, error) {
	t.n++
	return []byte(fmt.Sprint("step", t.n)), t.n == 2, nil
}
func (*twoSteps) User() string { return "two@us.example" }

var testTLS = sync.OnceValue(func() *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mx.example"}, DNSNames: []string{"mx.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
})

// serve runs s on a port of its own until the test ends, and returns its address.
func serve(t testing.TB, s *Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, s, l)
	return l.Addr().String()
}

func serveOn(t testing.TB, s *Server, l net.Listener) {
	t.Helper()
	if s.Name == "" {
		s.Name = "mx.example"
	}
	if s.Grace == 0 {
		s.Grace = 100 * time.Millisecond
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

// A talk is a client under the hand of a test.
type talk struct {
	testing.TB
	conn net.Conn
	r    *bufio.Reader
}

func dial(t testing.TB, addr string) *talk {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return talkOn(t, c)
}

func talkOn(t testing.TB, c net.Conn) *talk {
	c.SetDeadline(time.Now().Add(10 * time.Second))
	t.Cleanup(func() { c.Close() })
	return &talk{t, c, bufio.NewReader(c)}
}

func (c *talk) send(s string) {
	c.Helper()
	if _, err := io.WriteString(c.conn, s); err != nil {
		c.Fatalf("sending %.40q: %v", s, err)
	}
}

// read returns one reply, its lines joined by "|".
func (c *talk) read() string {
	c.Helper()
	var lines []string
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			c.Fatalf("reading a reply after %q: %v", lines, err)
		}
		lines = append(lines, strings.TrimSuffix(line, "\r\n"))
		if len(line) < 4 || line[3] != '-' {
			return strings.Join(lines, "|")
		}
	}
}

// want reads replies, which begin with what is given.
func (c *talk) want(prefixes ...string) {
	c.Helper()
	for _, p := range prefixes {
		if got := c.read(); !strings.HasPrefix(got, p) {
			c.Fatalf("got %q, want %q", got, p)
		}
	}
}

// say sends a line and reads the reply to it.
func (c *talk) say(line, want string) {
	c.Helper()
	c.send(line + "\r\n")
	if got := c.read(); !strings.HasPrefix(got, want) {
		c.Fatalf("%.60q: got %q, want %q", line, got, want)
	}
}

// closed demands that the server says no more.
func (c *talk) closed() {
	c.Helper()
	rest, err := io.ReadAll(c.r)
	if len(rest) > 0 || isTimeout(err) {
		c.Fatalf("want the end, got %q, %v", rest, err)
	}
}

// begin goes to the state in which DATA or BDAT may follow.
func (c *talk) begin() *talk {
	c.Helper()
	c.want("220 ")
	c.say("EHLO client.example", "250-")
	c.say("MAIL FROM:<joe@far.example>", "250 2.1.0")
	c.say("RCPT TO:<ann@us.example>", "250 2.1.5")
	return c
}

func (c *talk) startTLS() *talk {
	c.Helper()
	c.say("STARTTLS", "220 2.0.0")
	t := tls.Client(c.conn, &tls.Config{InsecureSkipVerify: true})
	if err := t.Handshake(); err != nil {
		c.Fatal(err)
	}
	return &talk{c.TB, t, bufio.NewReader(t)}
}

func TestOneMail(t *testing.T) {
	b := &box{}
	s := &Server{Next: b, TLS: testTLS(), Gate: ourGate{}, Now: func() time.Time { return time.Unix(1e9, 0) }}
	c := dial(t, serve(t, s)).begin()
	c.say("DATA", "354 ")
	c.send("Subject: hello\r\n\r\n..dot\r\n...\r\n.x\r\nend\r\n.\r\n")
	c.want("250 2.0.0 accepted as ")
	c.say("QUIT", "221 2.0.0")
	c.closed()
	got := b.all()
	if len(got) != 1 {
		t.Fatalf("%d mails", len(got))
	}
	m := got[0]
	want := "Received: from client.example ([127.0.0.1])\r\n\tby mx.example with ESMTP\r\n\tid " + m.trace +
		" for <ann@us.example>;\r\n\tSun, 09 Sep 2001 01:46:40 +0000\r\nSubject: hello\r\n\r\n.dot\r\n..\r\nx\r\nend\r\n"
	if m.text != want {
		t.Errorf("got\n%s\nwant\n%s", m.text, want)
	}
	if m.envelope.From.String() != "joe@far.example" || m.envelope.To[0].String() != "ann@us.example" || m.peer.Hello != "client.example" {
		t.Errorf("envelope %+v of %+v", m.envelope, m.peer)
	}
}

func TestPipelinedBDAT(t *testing.T) {
	b := &box{}
	c := dial(t, serve(t, &Server{Next: b, Inner: true}))
	c.want("220 ")
	c.say("EHLO inner.example", "250-")
	for range 3 {
		c.send("MAIL FROM:<> BODY=BINARYMIME AUTH=<>\r\nRCPT TO:<a@b.example>\r\nBDAT 5\r\nA: b\nBDAT 6 LAST\r\n\r\n\r\n\x00\n")
		c.want("250 2.1.0", "250 2.1.5", "250 2.0.0", "250 2.0.0")
	}
	c.say("MAIL FROM:<>", "250")
	c.say("RCPT TO:<a@b.example>", "250")
	c.say("DATA", "502 5.5.1")
	if got := b.all(); len(got) != 3 || got[2].envelope.Submitter != "<>" || !strings.HasSuffix(got[2].text, "A: b\n\r\n\r\n\x00\n") {
		t.Fatalf("%+v", got)
	}
}
