package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"stagecoach/lab/peer"
	"stagecoach/lab/postfix"
	"stagecoach/mail"
	"stagecoach/rfc/smtp"
)

// freePort returns a port on an address that nobody listens on.
func freePort(t *testing.T, ip string) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", ip+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort().Port()
}

// await waits until somebody listens.
func await(t *testing.T, addr string) {
	t.Helper()
	for range 200 {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Fatalf("nobody listens on %s", addr)
}

// sink starts Postfix's smtp-sink, and returns a Relay that sends everything there and the
// folder in which it leaves what it took.
func sink(t *testing.T, options ...string) (*Relay, string) {
	t.Helper()
	program := peer.Need(t, "smtp-sink")[0]
	dir := t.TempDir()
	port := freePort(t, "127.0.0.1")
	addr := "127.0.0.1:" + strconv.Itoa(int(port))
	args := append(options, "-d", dir+"/m.", addr, "20")
	if os.Geteuid() == 0 {
		args = append([]string{"-u", "nobody"}, args...)
		if err := os.Chmod(dir, 0o777); err != nil { //nolint:gosec // smtp-sink becomes nobody
			t.Fatal(err)
		}
		for d := filepath.Dir(dir); len(d) > len(os.TempDir()); d = filepath.Dir(d) {
			os.Chmod(d, 0o755) //nolint:gosec // likewise
		}
	}
	cmd := exec.Command(program, args...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	await(t, addr)
	r := &Relay{Name: "us.example", Routes: []Route{{Domain: "*", Host: "127.0.0.1", Port: port}}}
	t.Cleanup(func() { r.Close() })
	return r, dir
}

// sunk returns what a sink took, with LF line ends.
func sunk(t *testing.T, dir string) (mails []string) {
	t.Helper()
	files, err := filepath.Glob(dir + "/m.*")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		mails = append(mails, string(b))
	}
	return mails
}

func TestSink(t *testing.T) {
	const eight = "Subject: x\r\n\r\n.\r\n..\r\nü\r\n"
	for name, test := range map[string]struct {
		options []string
		text    string
		want    string
	}{
		"ESMTP":            {nil, eight, ""},
		"no pipelining":    {[]string{"-p"}, eight, ""},
		"HELO":             {[]string{"-e"}, small, ""},
		"no 8BITMIME":      {[]string{"-8"}, eight, "554 5.6.3"},
		"bare LF":          {nil, "A: b\r\n\r\na\nb\r\n", "554 5.6.0"},
		"RCPT refused":     {[]string{"-f", "rcpt"}, small, "5"},
		"RCPT later":       {[]string{"-r", "rcpt"}, small, "4"},
		"lost at DATA":     {[]string{"-q", "data"}, small, "451 4.4.2"},
		"lost at the dot":  {[]string{"-q", "."}, small, "451 4.4.2"},
		"refused at dot":   {[]string{"-f", "."}, small, "5"},
		"greeting refused": {[]string{"-f", "connect"}, small, "5"},
	} {
		t.Run(name, func(t *testing.T) {
			r, dir := sink(t, test.options...)
			for range 3 {
				m := letter("joe@us.example", "a@b.test")
				m.Message = mail.NewMessage([]byte(test.text))
				results := r.Carry(t.Context(), m)
				want(t, results, test.want)
				if errors.Is(results[0], smtp.ErrReplyLost) != (name == "lost at the dot") {
					t.Error(results[0])
				}
			}
			if test.want != "" {
				return
			}
			got := sunk(t, dir)
			if len(got) != 3 {
				t.Fatalf("%d mails", len(got))
			}
			for _, s := range got {
				if !strings.Contains(s, strings.ReplaceAll(test.text, "\r\n", "\n")) {
					t.Errorf("the sink took %q", s)
				}
			}
		})
	}
}

const small = "Subject: x\r\n\r\n.\r\n..\r\nend\r\n"

// postfixSettings make an MX of far.test.
const postfixSettings = `myhostname = mx.test
mynetworks =
smtputf8_enable = yes
smtpd_relay_restrictions = reject_unauth_destination
virtual_mailbox_domains = far.test
virtual_mailbox_maps = inline:{ {ann@far.test=ann/} {bob@far.test=bob/} {jörg@far.test=joerg/} }
virtual_mailbox_base = %[1]s/mail
virtual_uid_maps = static:%[2]d
virtual_gid_maps = static:%[2]d
virtual_minimum_uid = 1
message_size_limit = 3000000
smtpd_tls_security_level = may
smtpd_tls_chain_files = %[1]s/tls.pem
`

// startPostfix starts an instance of its own of Postfix that has mailboxes in far.test, and
// returns a Relay for which it is the MX, and the folder of the mailboxes.
func startPostfix(t *testing.T) (*Relay, string) {
	t.Helper()
	peer.NeedRoot(t)
	peer.Need(t, "postfix", "postconf")
	dir, err := os.MkdirTemp("/tmp", "relay-postfix-") // others than root must get there
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	cert, roots := certificate(t, "mx.test")
	if err := os.WriteFile(filepath.Join(dir, "tls.pem"), []byte(pemOf(t, cert)), 0o600); err != nil {
		t.Fatal(err)
	}
	uid, err := postfix.UID()
	if err != nil {
		t.Fatal(err)
	}
	i, err := postfix.Start(t.Context(), dir, "127.0.0.1", fmt.Sprintf(postfixSettings, dir, uid))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := i.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	port := netip.MustParseAddrPort(i.Listen).Port()
	w := newWorld(t, "far.test. MX 10 mx.test.\nmx.test. A 127.0.0.1\n")
	w.names.Secure = true // so that REQUIRETLS may be asked for
	w.port = port
	r := w.relay()
	r.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	r.TLS = trust(roots)
	return r, dir + "/mail"
}

func TestPostfixNextHop(t *testing.T) {
	r, boxes := startPostfix(t)
	carry := func(text string, change func(*mail.Envelope), to ...string) []error {
		t.Helper()
		m := letter("joe@us.example", to...)
		m.Message = mail.NewMessage([]byte(text))
		if change != nil {
			change(&m.Envelope)
		}
		return r.Carry(t.Context(), m)
	}
	odd := "Subject: odd\r\n\r\n.\r\n..\r\n.x\r\nü\r\n" + strings.Repeat("y", 998) + "\r\n\r\n"
	want(t, carry(odd, nil, "ann@far.test", "nobody@far.test", "bob@far.test"), "", "550 5.1.1", "")
	arrived(t, boxes+"/ann", odd)
	arrived(t, boxes+"/bob", odd)
	large := "Subject: large\r\n\r\n" + strings.Repeat(".0123456789\r\n", 200_000)
	want(t, carry(large, nil, "ann@far.test"), "")
	arrived(t, boxes+"/ann", large)
	want(t, carry(large+large, nil, "ann@far.test"), "552 5.3.4")
	want(t, carry(small, func(e *mail.Envelope) { e.UTF8 = true }, "jörg@far.test"), "")
	arrived(t, boxes+"/joerg", small)
	want(t, carry("A: b\r\n\r\na\x00b\r\n", nil, "ann@far.test"), "554 5.6.0")
	want(t, carry(small, nil, "ann@elsewhere.test"), "550 5.1.2")
	want(t, carry(small, func(e *mail.Envelope) { e.RequireTLS = true }, "ann@far.test"), "550 5.7.30") // Postfix 3.7 does not know it
	m := letter("joe@us.example", "bob@far.test")
	r.Policy = policy{"far.test": func(Host) (*Protection, error) { return &Protection{Security: smtp.TLSRequired}, nil }}
	m.Message = mail.NewMessage([]byte("Subject: verified\r\n\r\nover TLS\r\n"))
	want(t, r.Carry(t.Context(), m), "")
	arrived(t, boxes+"/bob", "Subject: verified\r\n\r\nover TLS\r\n")
}

// arrived waits until a mail with this text lies in a Maildir, and takes it out.
func arrived(t *testing.T, maildir, text string) {
	t.Helper()
	text = strings.ReplaceAll(text, "\r\n", "\n")
	_, body, _ := strings.Cut(text, "\n\n")
	for range 400 {
		files, _ := filepath.Glob(maildir + "/new/*")
		for _, f := range files {
			b, err := os.ReadFile(f)
			if _, got, _ := strings.Cut(string(b), "\n\n"); err == nil && got == body {
				os.Remove(f)
				return
			}
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Errorf("%s has no mail with %.60q", maildir, text)
}
