package stagetest

import (
	"context"
	"net"
	"testing"

	"stagecoach/mail"
	"stagecoach/rfc/smtp"
)

// wireName is how a Wire's server calls itself in Received.
const wireName = "wire.stagetest.example"

// Wire returns a Handler that hands mails to h over TCP on loopback, as two of our processes
// do. It is gone at the end of the test.
func Wire(t testing.TB, h mail.Handler) mail.Handler {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	server := &smtp.Server{Name: wireName, Inner: true, Next: h, Spool: t.TempDir()}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx, l) }()
	hop := &smtp.NextHop{
		Name: "stagetest.example", Inner: true, Security: smtp.TLSNone,
		Dial: func(ctx context.Context) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", l.Addr().String())
		},
	}
	t.Cleanup(func() {
		hop.Close() //nolint:errcheck // it does not fail
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the wire: %v", err)
		}
	})
	return hop
}
