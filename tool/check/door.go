package check

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A door is one address of a mail server, and what came of a conversation there.
type door struct {
	host string
	ip   netip.Addr

	err      error // of connecting, of TLS from the first byte, or of the greeting
	code     int   // of the greeting
	greeting string
	hello    reply // to EHLO, before TLS
	offers   bool  // STARTTLS
	tlsErr   error // of STARTTLS
	state    *tls.ConnectionState
	within   reply // to EHLO, within TLS

	postmaster, relay reply // to RCPT; code 0 where it did not come to that
	talkErr           error // that ended the conversation
}

func (d *door) String() string { return fmt.Sprintf("%s (%s)", d.host, d.ip) }

// A reply is what a server answered (RFC 5321 section 4.2).
type reply struct {
	code  int
	lines []string
}

func (r reply) String() string {
	if r.code == 0 {
		return "no reply"
	}
	return strconv.Itoa(r.code) + " " + strings.Join(r.lines, " / ")
}

// extension returns the arguments of an extension, and whether EHLO offered it.
func (r reply) extension(keyword string) (args []string, ok bool) {
	for i, line := range r.lines {
		words := strings.Fields(line)
		if i > 0 && len(words) > 0 && strings.EqualFold(words[0], keyword) {
			return words[1:], true
		}
	}
	return nil, false
}

// name is what the server calls itself.
func (r reply) name() string {
	if len(r.lines) > 0 {
		if words := strings.Fields(r.lines[0]); len(words) > 0 {
			return words[0]
		}
	}
	return ""
}

// Bounds of a reply.
const (
	maxReplyLine  = 2048
	maxReplyLines = 100
)

// A talk is one conversation.
type talk struct {
	conn net.Conn
	r    *bufio.Reader
	wait time.Duration
}

func newTalk(conn net.Conn, wait time.Duration) *talk {
	return &talk{conn: conn, r: bufio.NewReaderSize(conn, maxReplyLine), wait: wait}
}

func (t *talk) read() (reply, error) {
	var out reply
	if err := t.conn.SetReadDeadline(time.Now().Add(t.wait)); err != nil {
		return out, err
	}
	for range maxReplyLines {
		line, err := t.r.ReadSlice('\n')
		if err != nil {
			return out, fmt.Errorf("reading a reply: %w", err)
		}
		code, text, last, err := parseReplyLine(strings.TrimRight(string(line), "\r\n"))
		if err != nil {
			return out, err
		}
		out.code = code
		out.lines = append(out.lines, text)
		if last {
			return out, nil
		}
	}
	return out, errors.New("the reply does not end")
}

func parseReplyLine(line string) (code int, text string, last bool, err error) {
	if len(line) >= 3 {
		code, err = strconv.Atoi(line[:3])
	}
	if len(line) < 3 || err != nil || code < 200 || code > 599 || len(line) > 3 && line[3] != ' ' && line[3] != '-' {
		return 0, "", false, fmt.Errorf("%q is no reply of SMTP", clean(line[:min(len(line), 80)]))
	}
	if len(line) > 3 {
		text = clean(line[4:])
	}
	return code, text, len(line) == 3 || line[3] == ' ', nil
}

// say sends a command and reads the reply.
func (t *talk) say(format string, args ...any) (reply, error) {
	if err := t.conn.SetWriteDeadline(time.Now().Add(t.wait)); err != nil {
		return reply{}, err
	}
	if _, err := fmt.Fprintf(t.conn, format+"\r\n", args...); err != nil {
		return reply{}, err
	}
	return t.read()
}

// secure shakes hands. What the server said before must not count within (RFC 3207 section 5).
func (t *talk) secure(ctx context.Context, c *tls.Config) (*tls.ConnectionState, error) {
	if t.r.Buffered() > 0 {
		return nil, errors.New("the server said more than its reply before TLS")
	}
	ctx, cancel := context.WithTimeout(ctx, t.wait)
	defer cancel()
	conn := tls.Client(t.conn, c)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	*t = *newTalk(conn, t.wait)
	state := conn.ConnectionState()
	return &state, nil
}

// open connects, and goes through greeting, EHLO, STARTTLS and EHLO. The talk is nil where that
// is as far as it went. The caller closes it.
func (d *door) open(ctx context.Context, l *look, port uint16, implicit bool) *talk {
	conn, err := l.env.dial(ctx, d.ip, port)
	if err != nil {
		d.err = err
		return nil
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	t := newTalk(conn, l.env.Patience)
	if err := d.greet(ctx, l, t, implicit); err != nil {
		d.err, d.tlsErr = inTime(ctx, d.err), inTime(ctx, d.tlsErr)
		stop()
		conn.Close()
		return nil
	}
	return t
}

func (d *door) greet(ctx context.Context, l *look, t *talk, implicit bool) (err error) {
	if implicit {
		if d.state, d.err = t.secure(ctx, l.env.tlsConfig(d.host)); d.err != nil {
			return d.err
		}
	}
	g, err := t.read()
	if err != nil {
		d.err = err
		return err
	}
	d.code, d.greeting = g.code, strings.Join(g.lines, " / ")
	if g.code != 220 {
		return errors.New("refused")
	}
	hello, err := t.say("EHLO %s", l.ourName())
	if err != nil {
		d.err = err
		return err
	}
	d.hello = hello
	if hello.code != 250 {
		d.err = fmt.Errorf("the reply to EHLO is %s", hello)
		return d.err
	}
	if implicit {
		d.within = hello
		return nil
	}
	if _, d.offers = hello.extension("STARTTLS"); !d.offers {
		return nil
	}
	return d.startTLS(ctx, l, t)
}

func (d *door) startTLS(ctx context.Context, l *look, t *talk) error {
	r, err := t.say("STARTTLS")
	if err == nil && r.code != 220 {
		err = fmt.Errorf("the reply to STARTTLS is %s", r)
	}
	if err == nil {
		d.state, err = t.secure(ctx, l.env.tlsConfig(d.host))
	}
	if err == nil {
		d.within, err = t.say("EHLO %s", l.ourName())
	}
	d.tlsErr = err
	return err
}

// ourName is what we call ourselves.
func (l *look) ourName() string {
	if l.target.Name != "" {
		return l.target.Name
	}
	return l.target.Domain
}

// knock talks to all MX hosts, as far as RCPT: does postmaster get mail, and does somebody
// else's domain not? The MAIL FROM of the second is ours, as relays that are half open trust
// their own domain.
func (l *look) knock(ctx context.Context) []*door {
	var out []*door
	for _, h := range l.mx().hosts {
		for _, ip := range h.ips {
			out = append(out, &door{host: h.name, ip: ip})
		}
	}
	out = out[:min(len(out), maxHosts)]
	var all sync.WaitGroup
	for _, d := range out {
		all.Go(func() {
			if t := d.open(ctx, l, l.env.Ports.SMTP, false); t != nil {
				defer t.conn.Close()
				d.talkErr = d.ask(t, l.target.Domain)
				t.say("QUIT") //nolint:errcheck // out of politeness
			}
		})
	}
	all.Wait()
	return out
}

func (d *door) ask(t *talk, domain string) (err error) {
	if r, err := t.say("MAIL FROM:<>"); err != nil || r.code != 250 {
		d.postmaster = r
		if err != nil {
			return err
		}
	} else if d.postmaster, err = t.say("RCPT TO:<postmaster@%s>", domain); err != nil {
		return err
	}
	if _, err := t.say("RSET"); err != nil {
		return err
	}
	r, err := t.say("MAIL FROM:<postmaster@%s>", domain)
	if err != nil || r.code != 250 {
		d.relay = r
		return err
	}
	d.relay, err = t.say("RCPT TO:<relay-test@example.com>")
	return err
}
