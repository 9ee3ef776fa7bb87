package main

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"stagecoach/mail"
	"stagecoach/rfc/sasl"
	"stagecoach/rfc/smtp"
)

// The scripts use the program as people do, in pipes: testdata/script/*.txtar.
func TestScripts(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.Symlink(self, filepath.Join(bin, "stagecoach")); err != nil {
		t.Fatal(err)
	}
	host, ca := submissionServer(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", bin+string(os.PathListSeparator)+e.Getenv("PATH"))
			e.Setenv(asProgram, "1")
			e.Setenv("SUBMISSION", host)
			return os.WriteFile(filepath.Join(e.WorkDir, "ca.pem"), ca, 0o600)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"listening": waitListening, "freeport": freeAddress},
	})
}

// waitListening waits until a server listens on the address.
func waitListening(ts *testscript.TestScript, _ bool, args []string) {
	for range 500 {
		if c, err := net.Dial("tcp", args[0]); err == nil {
			c.Close()
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	ts.Fatalf("nobody listens on %s", args[0])
}

// freeAddress puts an address on which nobody listens into a variable.
func freeAddress(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv(args[0], l.Addr().String())
	_, port, _ := net.SplitHostPort(l.Addr().String())
	ts.Setenv(args[0]+"PORT", port)
	ts.Check(l.Close())
}

type oneUser struct{}

func (oneUser) Mechanisms(mail.Peer) []string { return []string{sasl.MechanismPlain} }

func (oneUser) Start(context.Context, mail.Peer, string) (sasl.Exchange, error) {
	return sasl.NewPlain(func(_ context.Context, name, password string) (string, error) {
		if name == "ann" && password == "correct horse" {
			return "ann@example.org", nil
		}
		return "", sasl.ErrDenied
	}), nil
}

// submissionServer knows ann, over TLS. Its certificate is good for localhost.
func submissionServer(t *testing.T) (address string, ca []byte) {
	t.Helper()
	cert, err := loadCertificate("", "", "localhost")
	if err != nil {
		t.Fatal(err)
	}
	s := &smtp.Server{
		Name: "localhost", TLS: cert.Config(), Auth: oneUser{}, RequireAuth: true, Limits: smtp.Limits{LoginDelay: -1},
		Next: mail.HandlerFunc(func(context.Context, *mail.Mail) error { return nil }),
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	ctx, stop := context.WithCancel(context.Background())
	go func() { done <- s.Serve(ctx, tls.NewListener(l, smtp.ServerTLS(cert.Config()))) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String(), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Leaf().Raw})
}
