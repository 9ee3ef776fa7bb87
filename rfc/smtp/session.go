package smtp

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"stagecoach/mail"
)

const (
	writeTimeout = time.Minute
	maxOut       = 16 << 10 // octets of replies that may wait
	keptOut      = 512      // octets that an idle session keeps for them
)

// A session is one connection. All but what mu guards belongs to one goroutine.
type session struct {
	*service
	raw    net.Conn // as accepted
	in     *reader
	out    []byte // replies to be sent
	broken bool   // a reply could not be sent
	now    incoming

	peer     mail.Peer
	local    bool // the client is on this machine
	counted  bool // by gauge.come
	errors   int
	idle     int // commands that lead nowhere, since the last mail
	mails    int
	logins   int // failed
	lastTalk time.Time

	mu       sync.Mutex
	conn     net.Conn // raw, or TLS on it
	draining bool
	expired  bool      // the grace is over
	busy     bool      // a message is on its way
	waiting  time.Time // for a command, since when; zero while it is not
}

// A fatal error is told to the client, and ends the connection.
type fatal struct {
	*mail.Refusal
	bad bool // the client broke the rules
}

func (f fatal) Unwrap() error { return f.Refusal }

func hangUp(code int, status, text string) error {
	return fatal{mail.Reject(code, status, text), false}
}
func badTalk(code int, status, text string) error {
	return fatal{mail.Reject(code, status, text), true}
}

// errClose ends the connection without another word.
var errClose = errors.New("smtp: end of the connection")

func newSession(v *service, conn net.Conn) *session {
	s := &session{service: v, raw: conn, conn: conn}
	s.peer.Addr, s.peer.Port, s.local = remote(conn.RemoteAddr())
	if addr, port, _ := remote(conn.LocalAddr()); addr.IsValid() {
		s.peer.Local = netip.AddrPortFrom(addr, port)
	}
	return s
}

// remote takes an address apart. local says that only this machine can have it.
func remote(a net.Addr) (addr netip.Addr, port uint16, local bool) {
	switch a := a.(type) {
	case *net.TCPAddr:
		p := a.AddrPort()
		addr = p.Addr().Unmap().WithZone("")
		return addr, p.Port(), addr.IsLoopback()
	case nil:
		return addr, 0, false
	}
	return addr, 0, a.Network() == "unix" || a.Network() == "pipe"
}

// serve is the life of the session.
func (s *session) serve() {
	defer s.raw.Close()
	defer s.leave()
	defer func() {
		if p := recover(); p != nil {
			s.log().Error("panic in a session", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			s.answer(s.ending(hangUp(421, "4.3.0", "temporary trouble, please try again later")))
		}
	}()
	err := s.open()
	for err == nil {
		err = s.step()
	}
	s.answer(s.ending(err))
}

// leave gives back what the session holds.
func (s *session) leave() {
	s.reset()
	if s.in != nil {
		s.in.free()
	}
	if s.counted {
		s.state.gauge.leave(s.peer.Addr)
	}
}

// step reads and does one command. A refusal is answered here; any other error ends the
// session.
func (s *session) step() error {
	if err := s.next(); err != nil {
		return err
	}
	line, err := s.in.line(maxCommand)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.waiting = time.Time{}
	s.mu.Unlock()
	err = s.command(string(line))
	if err == nil {
		return nil
	}
	if r := (*mail.Refusal)(nil); !errors.As(err, new(fatal)) && errors.As(err, &r) {
		return s.refuse(r)
	}
	return err
}

// next makes ready for the next command.
func (s *session) next() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining && !s.busy {
		return os.ErrDeadlineExceeded
	}
	s.waiting = time.Time{}
	s.lastTalk = time.Time{}
	return nil
}

// refuse answers with a refusal, and ends the session after too many.
func (s *session) refuse(r *mail.Refusal) error {
	s.tell(r)
	s.errors++
	if s.limits.Errors >= 0 && s.errors >= s.limits.Errors {
		return hangUp(421, "4.7.0", "too many errors")
	}
	return nil
}

// tell answers with a refusal.
func (s *session) tell(r *mail.Refusal) {
	s.count(Refused, r.Code)
	if r.Cause != nil {
		s.log().Info("refused", "id", s.now.id, "client", s.peer.Addr, "reply", r.Code, "status", r.Status,
			"text", r.Text, "cause", r.Cause)
	}
	s.reply(r.Code, r.Status, r.Text)
}

// reply puts a reply behind those that wait to be sent.
func (s *session) reply(code int, status, text string) {
	if !isStatus(status) {
		status = ""
	}
	s.out = appendReply(s.out, code, status, text)
	if len(s.out) > maxOut {
		s.flush() //nolint:errcheck // the next read fails too
	}
}

// flush sends the replies that wait.
func (s *session) flush() error {
	if s.broken {
		return errClose
	}
	if len(s.out) == 0 {
		return nil
	}
	s.mu.Lock()
	patience := writeTimeout
	if s.draining {
		patience = lastWords
	}
	conn := s.conn
	s.mu.Unlock()
	conn.SetWriteDeadline(time.Now().Add(patience)) //nolint:errcheck // then Write fails
	_, err := conn.Write(s.out)
	s.broken = s.broken || err != nil
	if s.out = s.out[:0]; cap(s.out) > keptOut {
		s.out = nil
	}
	return err
}

// ending turns the error that ended the session into the last words to the client, nil for
// none.
func (s *session) ending(err error) *mail.Refusal {
	var f fatal
	text, bad := "", true
	switch {
	case errors.As(err, &f):
		text, bad = f.Text, f.bad
	case isTimeout(err):
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.draining {
			return mail.Defer(421, "4.3.2", s.Name+" is shutting down")
		}
		return mail.Defer(421, "4.4.2", "timeout")
	default:
		f.Refusal = lineTrouble(err)
		if f.Refusal == nil {
			return nil
		}
		text = err.Error()
	}
	if bad {
		s.count(BadTalk, f.Code)
		s.log().Info("bad talk", "client", s.peer.Addr, "text", text)
	}
	return f.Refusal
}

// lineTrouble is the reply to a command line that is none, nil for other errors.
func lineTrouble(err error) *mail.Refusal {
	switch err {
	case errLineTooLong:
		return mail.Reject(500, "5.5.6", "the command line is too long")
	case errBareCR, errBareLF:
		return mail.Reject(500, "5.5.2", "a line ends with CRLF")
	case errNUL, errControl:
		return mail.Reject(500, "5.5.2", "control character in a command")
	}
	return nil
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// answer says the last words and ends the connection so that they arrive: what the client
// still sends is read for a moment, as an unread octet would make the system reset the
// connection.
func (s *session) answer(r *mail.Refusal) {
	if r != nil {
		s.tell(r)
	}
	if s.flush() != nil || r == nil {
		s.closeTLS()
		return
	}
	s.closeTLS()
	if c, ok := tcp(s.raw).(interface{ CloseWrite() error }); ok && c.CloseWrite() == nil {
		s.raw.SetReadDeadline(time.Now().Add(lingerTime)) //nolint:errcheck // then the copy ends at once
		io.CopyN(io.Discard, tcp(s.raw), lingerOctets)    //nolint:errcheck // as far as it goes
	}
}

const (
	lingerTime   = 2 * time.Second
	lingerOctets = 1 << 20
)

// closeTLS says goodbye in TLS.
func (s *session) closeTLS() {
	if c, ok := s.conn.(*tls.Conn); ok {
		c.SetWriteDeadline(time.Now().Add(lastWords)) //nolint:errcheck // then the next fails
		c.CloseWrite()                                //nolint:errcheck // it ends in any case
	}
}

// tcp returns the connection below TLS.
func tcp(c net.Conn) net.Conn {
	if t, ok := c.(*tls.Conn); ok {
		return t.NetConn()
	}
	return c
}
