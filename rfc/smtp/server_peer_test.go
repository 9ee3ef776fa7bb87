package smtp

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stagecoach/lab/peer"
)

const peerMail = "From: ann@us.example\r\nTo: joe@far.example\r\nSubject: from a peer\r\n\r\n.dot\r\n..\r\nend\r\n"

// submit serves a submission server and returns the box behind it.
func submit(t *testing.T) (b *box, host, port string) {
	b = &box{}
	addr := serve(t, &Server{Next: b, TLS: testTLS(), Auth: oneUser{}, RequireAuth: true})
	host, port, _ = net.SplitHostPort(addr)
	return b, host, port
}

// checkPeerMail demands that the mail came whole and only once.
func checkPeerMail(t *testing.T, b *box) {
	t.Helper()
	got := b.all()
	if len(got) != 1 {
		t.Fatalf("%d mails", len(got))
	}
	m := got[0]
	if m.peer.User != "ann@us.example" || m.envelope.From.String() != "ann@us.example" || m.envelope.To[0].String() != "joe@far.example" {
		t.Errorf("got %+v from %+v", m.envelope, m.peer)
	}
	if !strings.Contains(m.text, "Subject: from a peer\r\n") || !strings.HasSuffix(m.text, "\r\n\r\n.dot\r\n..\r\nend\r\n") {
		t.Errorf("got %q", m.text)
	}
}

func run(t *testing.T, stdin, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

func TestPeerSwaks(t *testing.T) {
	swaks := peer.Need(t, "swaks")[0]
	for _, extra := range [][]string{nil, {"--pipeline"}} {
		b, host, port := submit(t)
		run(t, "", swaks, append([]string{
			"--server", host, "--port", port, "-tls", "--auth", "PLAIN", "--auth-user", "ann", "--auth-password", "sesame",
			"--from", "ann@us.example", "--to", "joe@far.example", "--data", strings.TrimSuffix(strings.ReplaceAll(peerMail, "\r\n", "\n"), "\n"), // it adds the last line end
		}, extra...)...)
		checkPeerMail(t, b)
	}
}

func TestPeerCurl(t *testing.T) {
	curl := peer.Need(t, "curl")[0]
	b, host, port := submit(t)
	file := filepath.Join(t.TempDir(), "mail")
	if err := os.WriteFile(file, []byte(peerMail), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "", curl, "-sS", "--ssl-reqd", "-k", "--url", "smtp://"+net.JoinHostPort(host, port), "--user", "ann:sesame",
		"--mail-from", "ann@us.example", "--mail-rcpt", "joe@far.example", "--upload-file", file)
	checkPeerMail(t, b)
}

func TestPeerMsmtp(t *testing.T) {
	msmtp := peer.Need(t, "msmtp")[0]
	b, host, port := submit(t)
	run(t, strings.ReplaceAll(peerMail, "\r\n", "\n"), msmtp, "--file=/dev/null", "--host="+host, "--port="+port, "--tls=on", "--tls-certcheck=off",
		"--auth=plain", "--user=ann", "--passwordeval=echo sesame", "--from=ann@us.example", "joe@far.example")
	checkPeerMail(t, b)
}

func TestPeerPython(t *testing.T) {
	python := peer.NeedPython(t, "smtplib", "ssl")
	b, host, port := submit(t)
	run(t, "", python, "-c", `
import smtplib, ssl, sys
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
with smtplib.SMTP(sys.argv[1], int(sys.argv[2])) as s:
    s.starttls(context=context)
    s.login("ann", "sesame")
    s.sendmail("ann@us.example", ["joe@far.example"], sys.argv[3])
`, host, port, peerMail)
	checkPeerMail(t, b)
}
