package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stagecoach/lab/peer"
	"stagecoach/lab/traffic"
	"stagecoach/mail"
	"stagecoach/rfc/smtp"

	"context"
)

// startRelay runs a server of ours that hands each mail to the sink at once.
func startRelay(t *testing.T, sink string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	hop := &smtp.NextHop{Name: "relay.example", Host: "sink.example", Security: smtp.TLSNone, MaxConns: 50,
		Dial: func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", sink) }}
	s := &smtp.Server{Name: "relay.example", Next: mail.HandlerFunc(hop.Handle), Limits: smtp.Limits{PerAddress: -1, PerNetwork: -1, Rate: -1, Mails: -1}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		<-done
		hop.Close()
	})
	return l.Addr().String()
}

func freeAddress(t *testing.T) string {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}

func load(t *testing.T, args ...string) *report {
	t.Helper()
	var out bytes.Buffer
	if err := run(t.Context(), append(args, "-json"), &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("%v: %s", err, &out)
	}
	return &r
}

func TestEveryMessageIsAccountedFor(t *testing.T) {
	sink := freeAddress(t)
	ledger := filepath.Join(t.TempDir(), "ledger")
	for _, extra := range [][]string{nil, {"-verb", "data"}, {"-verb", "data", "-no-pipelining"}, {"-per-connection", "5", "-rcpts", "3"}} {
		args := append([]string{"-target", startRelay(t, sink), "-sink", sink, "-check", "-sessions", "4", "-count", "200", "-size", "2k", "-ledger", ledger, "-pid", fmt.Sprint(os.Getpid())}, extra...)
		r := load(t, args...)
		if r.Accepted != 200 || r.Delivered != 200 || !r.Drained || r.Verdict == nil || r.Verdict.Delivered != 200 || r.Verdict.Lost+r.Verdict.Duplicates != 0 || r.Trouble != "" {
			t.Errorf("%v: %+v %+v", extra, r, r.Verdict)
		}
		if r.P50 <= 0 || r.P50 > r.P99 || r.P99 > r.Max || r.PerSec <= 0 || r.DeliveredPerSec <= 0 || r.RSS == 0 {
			t.Errorf("%v: %+v", extra, r)
		}
		text, err := os.ReadFile(ledger)
		if err != nil || strings.Count(string(text), "\nacked ") != 200 {
			t.Errorf("%v: the ledger has not 200 acknowledgements: %v", extra, err)
		}
	}
}

// What is refused is neither accepted nor delivered, and is named.
func TestRefusals(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &smtp.Server{Name: "x.example", Next: mail.HandlerFunc(func(context.Context, *mail.Mail) error { return mail.Reject(554, "5.6.0", "not this one") })}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Serve(ctx, l) }()
	defer func() { cancel(); <-done }()
	r := load(t, "-target", l.Addr().String(), "-sessions", "1", "-count", "5", "-size", "500")
	if r.Accepted != 0 || r.Refused != 5 || !strings.HasPrefix(r.Trouble, "554") {
		t.Errorf("%+v", r)
	}
}

func TestIdleConnections(t *testing.T) {
	sink := freeAddress(t)
	r := load(t, "-target", startRelay(t, sink), "-idle", "300", "-sessions", "0", "-duration", "50ms", "-pid", fmt.Sprint(os.Getpid()))
	if r.Idle == nil || r.Idle.Connections != 300 || r.Idle.Standing != 300 || r.Idle.Trouble != "" {
		t.Errorf("%+v", r.Idle)
	}
}

func TestOnlyLoopback(t *testing.T) {
	for _, args := range [][]string{{"-target", "192.0.2.1:25"}, {"-sink", "0.0.0.0:25"}, {"-target", "mail.example.com:25"}} {
		if err := run(t.Context(), args, io.Discard, io.Discard); !errors.Is(err, traffic.ErrNotLoopback) {
			t.Errorf("%v: %v", args, err)
		}
	}
}

func TestFlags(t *testing.T) {
	for _, args := range []string{"", "-versus exim", "-target 127.0.0.1:1 -duration 3h", "-target 127.0.0.1:1 -size 0",
		"-target 127.0.0.1:1 -verb smtp", "-target 127.0.0.1:1 -rcpts 0", "-target 127.0.0.1:1 -tls maybe", "-target 127.0.0.1:1 more", "-target 127.0.0.1:1 -idle 5"} {
		if err := run(t.Context(), strings.Fields(args), io.Discard, io.Discard); err == nil {
			t.Errorf("%q was taken", args)
		}
	}
	o, err := parseFlags([]string{"-target", "127.0.0.1:1", "-size", "1.5m"}, io.Discard)
	if err != nil || o.load.Size != 1_500_000 {
		t.Errorf("%+v %v", o, err)
	}
}

func TestSinkAlone(t *testing.T) {
	var out bytes.Buffer
	began := time.Now()
	if err := run(t.Context(), []string{"-sink", freeAddress(t), "-duration", "50ms"}, &out, io.Discard); err != nil || time.Since(began) > 5*time.Second {
		t.Error(err)
	}
	if !strings.HasPrefix(out.String(), "0 messages") {
		t.Error(out.String())
	}
}

// Our Postfix instance relays to the sink, and nothing of it stays.
func TestPostfix(t *testing.T) {
	peer.NeedRoot(t)
	peer.Need(t, "postfix", "postconf")
	dir := t.TempDir()
	for d := dir; strings.HasPrefix(d, os.TempDir()) && d != os.TempDir(); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	o := &options{sink: freeAddress(t), drain: 20 * time.Second, load: traffic.Load{Sessions: 5, Size: 4000, Count: 300, To: []string{"load@sink.example"}}}
	stop, sink, err := startSink(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	p, err := startPostfix(t.Context(), filepath.Join(dir, "postfix"), o.sink, 100)
	if err != nil {
		t.Fatal(err)
	}
	r, err := p.measure(t.Context(), o, sink)
	if err != nil || r.Accepted != 300 || !r.Drained || r.Delivered != 300 || r.CPUPerMessage <= 0 || r.PSS == 0 {
		t.Errorf("%v %+v", err, r)
	}
	t.Logf("%+v", r)
	if err := p.stop(); err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", p.target); err == nil {
		t.Error("Postfix still listens")
	}
}

type testWriter struct{ t *testing.T }

// Write logs a line.
func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}
