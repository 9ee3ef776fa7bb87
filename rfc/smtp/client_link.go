package smtp

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// A link is one connection to a server, ready for a mail.
type link struct {
	hop  *NextHop
	wait Timeouts
	raw  net.Conn // as dialled
	conn net.Conn // raw, or TLS on it
	r    *bufio.Reader
	w    *bufio.Writer

	offers   map[string]string    // keywords of EHLO in upper case, with their parameters
	state    *tls.ConnectionState // nil in clear
	verified bool                 // the server is who it should be
	loggedIn bool

	mails    int       // begun on it
	broken   bool      // not to be used again
	deadline time.Time // of the transaction; zero: none
	expiry   *time.Timer
}

// Sizes of buffers. A line of a reply fits into the first, a small mail with its envelope
// into the second.
const (
	linkReads  = 4 << 10
	linkWrites = 16 << 10
)

func newLink(h *NextHop, c net.Conn) *link {
	l := &link{hop: h, wait: h.Timeouts.withDefaults(), raw: c}
	l.use(c)
	return l
}

// use begins to talk over c, and forgets what was buffered of another one.
func (l *link) use(c net.Conn) {
	l.conn = c
	l.r = bufio.NewReaderSize(c, linkReads)
	l.w = bufio.NewWriterSize(blockWriter{l}, linkWrites)
}

// A blockWriter gives every block that it writes its own time.
type blockWriter struct{ l *link }

func (b blockWriter) Write(p []byte) (int, error) {
	if err := b.l.conn.SetWriteDeadline(b.l.within(b.l.wait.Block)); err != nil {
		return 0, err
	}
	return b.l.conn.Write(p)
}

// within returns when a step that may take d must be over.
func (l *link) within(d time.Duration) time.Time {
	t := time.Now().Add(d)
	if !l.deadline.IsZero() && l.deadline.Before(t) {
		return l.deadline
	}
	return t
}

// read reads one reply, for all of which there is d. After an error, and after a 421, the
// connection is not used again (RFC 5321 section 3.8).
func (l *link) read(d time.Duration) (reply, error) {
	if err := l.conn.SetReadDeadline(l.within(d)); err != nil {
		return reply{}, l.fail(err)
	}
	r, err := readReply(l.r)
	if err != nil {
		return reply{}, l.fail(err)
	}
	if r.code == 421 {
		l.broken = true
	}
	return r, nil
}

func (l *link) fail(err error) error {
	l.broken = true
	if errors.Is(err, io.EOF) {
		return errors.New("the server closed the connection")
	}
	return err
}

// send writes a line into the buffer.
func (l *link) send(words ...string) {
	for _, w := range words {
		l.w.WriteString(w) //nolint:errcheck // flush returns it
	}
	l.w.WriteString("\r\n") //nolint:errcheck // flush returns it
}

func (l *link) flush() error {
	if err := l.w.Flush(); err != nil {
		l.broken = true
		return err
	}
	return nil
}

// ask sends one command and reads its reply.
func (l *link) ask(d time.Duration, words ...string) (reply, error) {
	l.send(words...)
	if err := l.flush(); err != nil {
		return reply{}, err
	}
	return l.read(d)
}

// offer returns what EHLO said of an extension.
func (l *link) offer(keyword string) (params string, ok bool) {
	params, ok = l.offers[keyword]
	return params, ok
}

func (l *link) has(keyword string) bool {
	_, ok := l.offers[keyword]
	return ok
}

// limit returns a number that EHLO gave, 0 for none.
func (l *link) limit(keyword string) int64 {
	n, err := strconv.ParseInt(l.offers[keyword], 10, 64)
	if err != nil {
		return 0
	}
	return max(n, 0)
}

// announced returns a limit of the LIMITS extension (RFC 9422 section 4), 0 for none.
func (l *link) announced(limit string) int {
	for word := range strings.FieldsSeq(l.offers["LIMITS"]) {
		name, value, _ := strings.Cut(word, "=")
		if n, err := strconv.Atoi(value); err == nil && n > 0 && strings.EqualFold(name, limit) {
			return n
		}
	}
	return 0
}

// abort ends the connection at once, whoever is using it.
func (l *link) abort() { l.raw.Close() }

func (l *link) close() { l.raw.Close() }

// quit ends an idle connection politely (RFC 5321 section 4.1.1.10); it does not wait for
// the reply, which nothing depends on.
func (l *link) quit() {
	if l.conn.SetWriteDeadline(time.Now().Add(time.Second)) == nil {
		io.WriteString(l.conn, "QUIT\r\n") //nolint:errcheck // nothing depends on it
	}
	l.close()
}

// alive reports whether an idle connection is still open and silent. A server that has
// something to say unasked says 421.
func (l *link) alive() bool {
	if l.r.Buffered() > 0 || l.conn.SetReadDeadline(time.Time{}) != nil {
		return false
	}
	return isQuiet(l.raw)
}

// guard ends the connection when ctx does. The returned function ends the guard; after it
// reported false the connection is gone.
func (l *link) guard(ctx context.Context) (release func() bool) {
	return context.AfterFunc(ctx, l.abort)
}
