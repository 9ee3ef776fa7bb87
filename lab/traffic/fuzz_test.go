package traffic

import (
	"bytes"
	"context"
	"io"
	"net"
	"testing"
	"time"
)

// A script is a connection whose other end has said all that it will ever say.
type script struct {
	io.Reader
	said bytes.Buffer
}

func (s *script) Write(p []byte) (int, error)      { return s.said.Write(p) }
func (*script) Close() error                       { return nil }
func (*script) LocalAddr() net.Addr                { return &net.TCPAddr{} }
func (*script) RemoteAddr() net.Addr               { return &net.TCPAddr{} }
func (*script) SetDeadline(time.Time) error        { return nil }
func (*script) SetReadDeadline(time.Time) error    { return nil }
func (*script) SetWriteDeadline(t time.Time) error { return nil }

var _ net.Conn = (*script)(nil)

// Whatever a client says the sink ends, and has answered no more messages than there can be.
func FuzzSink(f *testing.F) {
	for _, s := range []string{
		"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nMessage-ID: <load.00000000.00000001.00000002@load.example>\r\n\r\n.\r\nQUIT\r\n",
		"MAIL FROM:<>\r\nRCPT TO:<c@d> NOTIFY=NEVER\r\nBDAT 3\r\nabcBDAT 0 LAST\r\n", "BDAT -1\r\n", "BDAT 99999999999999999999 LAST\r\n", "RCPT TO:>x<\r\n",
		"RCPT\r\nDATA\r\n.\r\n", "\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		s := &Sink{Record: true}
		c := &script{Reader: bytes.NewReader(in)}
		s.talk(context.Background(), c)
		if n := s.Messages(); n > bytes.Count(in, []byte(".\r\n"))+bytes.Count(bytes.ToUpper(in), []byte("LAST")) || s.InFlight() != 0 {
			t.Errorf("%d messages, %d in flight", n, s.InFlight())
		}
	})
}

func FuzzReply(f *testing.F) {
	f.Add([]byte("220-a\r\n220 b\r\n250-x\r\n250-CHUNKING\r\n250 PIPELINING\r\n"))
	f.Add([]byte("220\r\n25\r\n"))
	f.Fuzz(func(_ *testing.T, in []byte) {
		d := &Dialer{}
		c := &Conn{c: &script{}, timeout: time.Second}
		c.r = newReplyReader(bytes.NewReader(in))
		if d.begin(c) == nil {
			c.expect(250) //nolint:errcheck // it ends, that is all
		}
	})
}

func FuzzParseID(f *testing.F) {
	f.Add([]byte("00000001.00000002.0000000a@load.example>"))
	f.Fuzz(func(t *testing.T, in []byte) {
		if id, ok := ParseID(in); ok && !bytes.HasPrefix(in, []byte(id.String())) {
			t.Errorf("%q became %s", in, id)
		}
	})
}
