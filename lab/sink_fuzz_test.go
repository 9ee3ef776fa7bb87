package lab

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"
)

// A script is a connection whose other end has said all that it will ever say.
type script struct{ io.Reader }

func (script) Write(p []byte) (int, error)      { return len(p), nil }
func (script) Close() error                     { return nil }
func (script) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (script) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
func (script) SetDeadline(time.Time) error      { return nil }
func (script) SetReadDeadline(time.Time) error  { return nil }
func (script) SetWriteDeadline(time.Time) error { return nil }

var _ net.Conn = script{}

// Whatever a client says, the conversation ends, and what is kept has a recipient.
func FuzzSinkTalk(f *testing.F) {
	for _, s := range []string{
		"EHLO x\r\nMAIL FROM:<a@b> BODY=8BITMIME SMTPUTF8\r\nRCPT TO:<c@d>\r\nDATA\r\n..x\r\n.\r\nQUIT\r\n",
		"MAIL FROM:<>\r\nRCPT TO:<c@d> NOTIFY=NEVER\r\nBDAT 3\r\nabcBDAT 0 LAST\r\n", "BDAT -1\r\n", "BDAT 0 LAST\r\n",
		"MAIL FROM:x>\r\nMAIL FROM:<\r\nRCPT TO:<\"a> b\"@c>\r\n", "STARTTLS\r\n\x16\x03", "RCPT\r\nDATA\r\n.\r\n", "\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		s := &Sink{Inbox: newInbox(), MX: "mx.sink.example"}
		newTalk(t.Context(), s, script{bytes.NewReader(in)}).run()
		for _, r := range s.Mails() {
			if len(r.Envelope.To) == 0 || len(r.Raw) > len(in) {
				t.Errorf("%+v", r)
			}
		}
	})
}
