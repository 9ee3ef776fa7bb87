package traffic

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"
)

// A Dialer opens SMTP connections to one server.
type Dialer struct {
	Target   netip.AddrPort
	Source   netip.Addr    // our address; the zero Addr leaves it to the system
	Timeout  time.Duration // of each step: connect, greeting, one message; zero means 30 s
	TLS      string        // "" clear, "starttls", or "implicit"; the certificate is not checked
	User     string        // "" for no AUTH
	Password string        // for AUTH PLAIN, which is done under TLS only
}

// A Conn is a connection that has said EHLO. It is used by one goroutine.
type Conn struct {
	c        net.Conn
	r        *bufio.Reader
	timeout  time.Duration
	Chunking bool // the server offers CHUNKING (RFC 3030)
	Pipeline bool // the server offers PIPELINING (RFC 2920)
	startTLS bool
}

// A ReplyError is a reply that says no. Only a server that answered makes one; all other
// errors leave open what became of the message.
type ReplyError struct {
	Code int
	Text string // the last line, without its code
}

// Error returns the reply.
func (e *ReplyError) Error() string { return fmt.Sprintf("%d %s", e.Code, e.Text) }

var tlsConfig = &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12} //nolint:gosec // loopback only

// Dial connects, reads the greeting, and says EHLO; with TLS and AUTH where they are asked for.
func (d *Dialer) Dial(ctx context.Context) (*Conn, error) {
	c, err := d.connect(ctx)
	if err != nil {
		return nil, err
	}
	if d.TLS == "implicit" {
		c.c = tls.Client(c.c, tlsConfig)
		c.r.Reset(c.c)
	}
	if err := d.begin(c); err != nil {
		c.c.Close()
		return nil, err
	}
	return c, nil
}

func (d *Dialer) connect(ctx context.Context) (*Conn, error) {
	timeout := d.Timeout
	if timeout == 0 {
		timeout = 30 * time.Second
	}
	if !d.Target.Addr().IsLoopback() {
		return nil, ErrNotLoopback
	}
	nd := net.Dialer{Timeout: timeout}
	if d.Source.IsValid() {
		nd.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(d.Source, 0))
	}
	conn, err := nd.DialContext(ctx, "tcp", d.Target.String())
	if err != nil {
		return nil, err
	}
	return &Conn{c: conn, r: newReplyReader(conn), timeout: timeout}, nil
}

// newReplyReader bounds a line of a reply: RFC 5321 section 4.5.3.1.5 allows 512 octets.
func newReplyReader(r io.Reader) *bufio.Reader { return bufio.NewReaderSize(r, 2048) }

func (d *Dialer) begin(c *Conn) error {
	c.deadline()
	if _, err := c.reply(220); err != nil {
		return fmt.Errorf("greeting: %w", err)
	}
	if err := c.hello(); err != nil {
		return err
	}
	if d.TLS == "starttls" {
		if err := c.upgrade(); err != nil {
			return fmt.Errorf("STARTTLS: %w", err)
		}
	}
	if d.User == "" {
		return nil
	}
	if d.TLS == "" {
		return errors.New("AUTH without TLS")
	}
	plain := base64.StdEncoding.EncodeToString([]byte("\x00" + d.User + "\x00" + d.Password))
	if err := c.send("AUTH PLAIN " + plain + "\r\n"); err != nil {
		return err
	}
	if _, err := c.reply(235); err != nil {
		return fmt.Errorf("AUTH: %w", err)
	}
	return nil
}

func (c *Conn) upgrade() error {
	if !c.startTLS {
		return errors.New("not offered")
	}
	if err := c.send("STARTTLS\r\n"); err != nil {
		return err
	}
	if _, err := c.reply(220); err != nil {
		return err
	}
	c.c = tls.Client(c.c, tlsConfig)
	c.r.Reset(c.c)
	c.deadline()
	return c.hello()
}

func (c *Conn) hello() error {
	if err := c.send("EHLO load.example\r\n"); err != nil {
		return err
	}
	lines, err := c.reply(250)
	if err != nil {
		return fmt.Errorf("EHLO: %w", err)
	}
	c.Chunking, c.Pipeline, c.startTLS = false, false, false
	for line := range strings.Lines(lines) {
		switch word, _, _ := strings.Cut(strings.ToUpper(strings.TrimSpace(line)), " "); word {
		case "CHUNKING":
			c.Chunking = true
		case "PIPELINING":
			c.Pipeline = true
		case "STARTTLS":
			c.startTLS = true
		}
	}
	return nil
}

// Close says QUIT, without waiting for the answer, and closes.
func (c *Conn) Close() error {
	c.c.SetDeadline(time.Now().Add(time.Second)) //nolint:errcheck // Close follows
	c.send("QUIT\r\n")                           //nolint:errcheck // Close follows
	return c.c.Close()
}

// Abort closes at once, unread data or not.
func (c *Conn) Abort() { c.c.Close() }

func (c *Conn) deadline() { c.c.SetDeadline(time.Now().Add(c.timeout)) } //nolint:errcheck // a write tells

func (c *Conn) send(s string) error {
	_, err := c.c.Write([]byte(s))
	return err
}

// reply reads one reply and returns its lines without their codes. Another code than want
// is a ReplyError.
func (c *Conn) reply(want int) (string, error) {
	var lines strings.Builder
	for range 100 {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return "", err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) < 3 {
			return "", fmt.Errorf("reply %q is too short", line)
		}
		code := int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0')
		if len(line) > 4 {
			lines.Write(line[4:])
		}
		if len(line) > 3 && line[3] == '-' {
			lines.WriteByte('\n')
			continue
		}
		if code != want {
			return "", &ReplyError{code, string(line[min(4, len(line)):])}
		}
		return lines.String(), nil
	}
	return "", errors.New("the reply does not end")
}

// expect reads one reply of one line or more without keeping it.
func (c *Conn) expect(want int) error {
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) >= 4 && line[3] == '-' {
			continue
		}
		if len(line) < 4 {
			return fmt.Errorf("reply %q is too short", line)
		}
		if code := int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0'); code != want {
			return &ReplyError{code, string(bytes.TrimRight(line[4:], "\r\n"))}
		}
		return nil
	}
}
