package smtp

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"stagecoach/mail"
)

// A guardedBox checks that no mail comes which a lenient reader could take for two.
type guardedBox struct {
	t     testing.TB
	mu    sync.Mutex
	mails int
}

func (g *guardedBox) Handle(_ context.Context, m *mail.Mail) error {
	text := m.Message.String()
	if m.Envelope.Body != mail.BodyBinary {
		checkClean(g.t, text)
	}
	if len(m.Envelope.To) == 0 || !strings.HasPrefix(text, "Received: from ") {
		g.t.Errorf("got %+v, %q", m.Envelope, text)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mails++
	return nil
}

// FuzzServer throws octets at a server in several states of a dialogue. Every reply is well
// formed, every mail clean, and no more mails are taken than replies say.
func FuzzServer(f *testing.F) {
	for _, p := range probes {
		f.Add([]byte(strings.Join(p.say, "")), byte(0))
	}
	for state := range byte(len(fuzzStates)) {
		f.Add([]byte("a: b\r\n\r\nx\r\n.\r\nMAIL FROM:<>\r\n"), state)
		f.Add([]byte("BDAT 4\r\na: bBDAT 0 LAST\r\nQUIT\r\n"), state)
	}
	testTLS() // not in a bubble
	f.Fuzz(func(t *testing.T, in []byte, state byte) {
		synctest.Test(t, func(t *testing.T) {
			converse(t, append(slices.Clone(fuzzStates[int(state)%len(fuzzStates)]), string(in)))
		})
	})
}

// converse says some things to a server, each when it has said what it had to.
func converse(t *testing.T, say []string) {
	g := &guardedBox{t: t}
	s := &Server{Name: "mx.example", Next: g, Gate: ourGate{}, TLS: testTLS(), Auth: oneUser{}, Domain: "us.example",
		Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	l := newPipeListener()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	ours, theirs := net.Pipe()
	l.conns <- theirs
	go func() {
		for _, part := range say {
			io.WriteString(ours, part) //nolint:errcheck // the server may end
			synctest.Wait()
		}
		ours.SetReadDeadline(past) //nolint:errcheck // it does not fail
	}()
	replies, _ := io.ReadAll(ours)
	ours.Close()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if said := bytes.Count(replies, []byte("250 2.0.0 accepted as")); said > g.mails {
		t.Errorf("%d mails, said %d", g.mails, said)
	}
	checkReplies(t, replies)
}

// fuzzStates are what is said before the octets of the fuzzer.
var fuzzStates = [][]string{
	{},
	{hi},
	{hi, begun},
	{hi, begun, "DATA\r\n"},
	{hi, begun, "BDAT 4\r\na: b"},
	{hi, "MAIL FROM:<> BODY=BINARYMIME SMTPUTF8\r\nRCPT TO:<ann@us.example>\r\n", "BDAT 9\r\na: b"},
	{"HELO client.example\r\n"},
}

func checkReplies(t *testing.T, b []byte) {
	t.Helper()
	lines := bufio.NewScanner(bytes.NewReader(b))
	lines.Split(func(b []byte, atEOF bool) (int, []byte, error) {
		i := bytes.Index(b, []byte("\r\n"))
		if i < 0 {
			return 0, nil, nil // the last one may be cut
		}
		return i + 2, b[:i], nil
	})
	for lines.Scan() {
		line := lines.Text()
		if _, _, _, err := parseReplyLine([]byte(line)); err != nil || len(line) > 510 || !isASCII(line) || !isPrintable(line) {
			t.Errorf("replied %q", line)
		}
	}
}
