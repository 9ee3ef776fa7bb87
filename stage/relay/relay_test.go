package relay

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"stagecoach/mail"
	"stagecoach/rfc/dns"
	"stagecoach/rfc/dns/dnstest"
	"stagecoach/rfc/smtp"
)

// A world is a few mail servers on loopback addresses, all on one port, and names for them.
type world struct {
	t     *testing.T
	port  uint16
	names *dnstest.Names
	mu    sync.Mutex
	log   []string // "address: from > to, to" of each mail that was taken
}

func newWorld(t *testing.T, zone string) *world {
	return &world{t: t, names: dnstest.Zone(t, zone)}
}

// listen returns a listener on an address, on the port of the world.
func (w *world) listen(ip string) net.Listener {
	w.t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(ip, strconv.Itoa(int(w.port))))
	if err != nil {
		w.t.Fatal(err)
	}
	w.port = l.Addr().(*net.TCPAddr).AddrPort().Port()
	w.t.Cleanup(func() { l.Close() })
	return l
}

// server is a Server of ours on an address, which takes all that its gate admits, unless it has
// a Next of its own.
func (w *world) server(ip string, s *smtp.Server) {
	w.t.Helper()
	s.Name, s.Grace = "mx-"+ip, 10*time.Millisecond
	if s.Next == nil {
		s.Next = mail.HandlerFunc(func(_ context.Context, m *mail.Mail) error {
			var to []string
			for _, r := range m.Envelope.To {
				to = append(to, r.String())
			}
			w.note(ip + ": " + m.Envelope.From.String() + " > " + strings.Join(to, ", "))
			return nil
		})
	}
	l := w.listen(ip)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { s.Serve(ctx, l); close(done) }()
	w.t.Cleanup(func() { cancel(); <-done })
}

// script serves every connection to an address by a function.
func (w *world) script(ip string, f func(c net.Conn, r *bufio.Reader)) {
	w.t.Helper()
	l := w.listen(ip)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.SetDeadline(time.Now().Add(10 * time.Second))
			go func() { defer c.Close(); f(c, bufio.NewReader(c)) }()
		}
	}()
}

// replies makes a script that says one line after the other, each after a line of the
// client, and hangs up.
func replies(lines ...string) func(net.Conn, *bufio.Reader) {
	return func(c net.Conn, r *bufio.Reader) {
		for i, s := range lines {
			if i > 0 {
				r.ReadString('\n')
			}
			io.WriteString(c, s+"\r\n")
			if s[0] == '3' {
				for line, err := "", error(nil); line != ".\r\n" && err == nil; {
					line, err = r.ReadString('\n')
				}
				r = bufio.NewReader(io.MultiReader(strings.NewReader("\n"), r))
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (w *world) note(s string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, s)
}

func (w *world) taken() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := slices.Sorted(slices.Values(w.log))
	w.log = nil
	return out
}

// relay returns a Relay in this world.
func (w *world) relay() *Relay {
	r := &Relay{Name: "us.example", Names: w.names, Port: w.port, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}}
	w.t.Cleanup(func() { r.Close() })
	return r
}

func letter(from string, to ...string) *mail.Mail {
	m := &mail.Mail{Message: mail.NewMessage([]byte("Subject: x\r\n\r\nhello\r\n"))}
	if from != "" {
		m.Envelope.From = mail.MustParseAddress(from)
	}
	for _, s := range to {
		m.Envelope.To = append(m.Envelope.To, mail.Recipient{Address: mail.MustParseAddress(s)})
	}
	return m
}

// want checks results: "" is success, else the beginning of the error.
func want(t *testing.T, results []error, wants ...string) {
	t.Helper()
	if len(results) != len(wants) {
		t.Fatalf("%d results, want %d", len(results), len(wants))
	}
	for i, err := range results {
		got := ""
		if err != nil {
			got = err.Error()
		}
		if wants[i] == "" && err != nil || !strings.HasPrefix(got, wants[i]) {
			t.Errorf("recipient %d: got %q, want %q", i, got, wants[i])
		}
		if err != nil && mail.IsPermanent(err) != strings.HasPrefix(wants[i], "5") {
			t.Errorf("recipient %d: %v", i, err)
		}
	}
}

func wantTaken(t *testing.T, w *world, mails ...string) {
	t.Helper()
	if got := w.taken(); !slices.Equal(got, mails) {
		t.Errorf("taken:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(mails, "\n"))
	}
}

// nobody refuses some recipients.
type nobody struct{}

func (nobody) Admit(_ context.Context, _ *mail.Mail, to mail.Address) error {
	switch to.Local() {
	case "nobody":
		return mail.Reject(550, "5.1.1", "no such user")
	case "later":
		return mail.Defer(450, "4.2.1", "greylisted")
	}
	return nil
}

// What DNS says decides what becomes of a mail; its troubles are never permanent.
func TestNames(t *testing.T) {
	w := newWorld(t, `
mx.test.       A 127.0.1.1
mxed.test.     MX 10 mx.test.
implicit.test. A 127.0.1.1
null.test.     MX 0 .
half.test.     MX 0 .
half.test.     MX 10 mx.test.
alias.test.    CNAME mxed.test.
aliasmx.test.  MX 5 alias2.test.
alias2.test.   CNAME mx.test.
empty.test.    TXT "no address"
lost.test.     MX 10 nowhere.test.
some.test.     MX 10 nowhere.test.
some.test.     MX 20 mx.test.
broken.test.   MX 10 sick.test.
private.test.  MX 10 lan.test.
lan.test.      A 10.0.0.1
lan.test.      A 0.0.0.0
lan.test.      AAAA fe80::1
self.test.     MX 10 us.example.
self.test.     MX 20 mx.test.
behind.test.   MX 5 mx.test.
behind.test.   MX 10 US.example.
behind.test.   MX 20 never.test.
address.test.  MX 10 ours.test.
address.test.  MX 10 mx.test.
ours.test.     A 127.0.9.9
`)
	w.names.Fail("servfail.test", dnstest.ServFail)
	w.names.Fail("sick.test", dnstest.ServFail)
	w.names.Fail("silent.test", dnstest.Timeout)
	w.names.Fail("refused.test", dnstest.Refused)
	w.names.Fail("garbage.test", dnstest.Garbage)
	w.server("127.0.1.1", &smtp.Server{Gate: nobody{}})
	r := w.relay()
	r.OurAddrs = []netip.Addr{netip.MustParseAddr("127.0.9.9")}
	for domain, result := range map[string]string{
		"mxed.test": "", "implicit.test": "", "half.test": "", "alias.test": "", "aliasmx.test": "", "some.test": "", "behind.test": "",
		"null.test":         "556 5.1.10",
		"no.test":           "550 5.1.2",
		"empty.test":        "550 5.4.4",
		"lost.test":         "550 5.4.4",
		"private.test":      "550 5.4.4",
		"self.test":         "554 5.4.6",
		"us.example":        "550 5.1.2",
		"address.test":      "554 5.4.6",
		"broken.test":       "451 4.4.3",
		"servfail.test":     "451 4.4.3",
		"silent.test":       "451 4.4.3",
		"refused.test":      "451 4.4.3",
		"garbage.test":      "451 4.4.3",
		"[127.0.1.1]":       "",
		"[10.0.0.1]":        "550 5.4.4",
		"[IPv6:::1]":        "451 4.4.1",
		"[IPv6:::]":         "550 5.4.4",
		"[IPv6:fd00::1]":    "550 5.4.4",
		"[169.254.0.1]":     "550 5.4.4",
		"[255.255.255.255]": "550 5.4.4",
		"[224.0.0.1]":       "550 5.4.4",
		"[100.64.0.1]":      "550 5.4.4",
	} {
		t.Run(domain, func(t *testing.T) {
			want(t, r.Carry(t.Context(), letter("joe@us.example", "a@"+domain)), result)
			w.taken()
		})
	}
}

// Many recipients: one copy a destination, exact addresses, a result each.
func TestGroups(t *testing.T) {
	w := newWorld(t, `
mx.test.   A 127.0.1.1
two.test.  A 127.0.1.2
foo.test.  MX 10 mx.test.
bar.test.  MX 10 mx.test.
baz.test.  A 127.0.1.1
qux.test.  MX 10 two.test.
`)
	w.server("127.0.1.1", &smtp.Server{Gate: nobody{}})
	w.server("127.0.1.2", &smtp.Server{Gate: nobody{}})
	r := w.relay()
	m := letter("joe@us.example", "a@foo.test", "nobody@bar.test", "b@bar.test", "c@baz.test", "later@qux.test", "d@qux.test", "e@no.test", "A@foo.test")
	want(t, r.Carry(t.Context(), m), "", "550 5.1.1", "", "", "450 4.2.1", "", "550 5.1.2", "")
	wantTaken(t, w,
		"127.0.1.1: joe@us.example > a@foo.test, A@foo.test, b@bar.test",
		"127.0.1.1: joe@us.example > c@baz.test",
		"127.0.1.2: joe@us.example > d@qux.test")
}

// From host to host, with all of the message each time, until one takes it.
func TestNextHost(t *testing.T) {
	const zone = `
d.test. MX 10 one.test.
d.test. MX 20 two.test.
one.test. A 127.0.1.1
two.test. A 127.0.1.2
`
	hello := []string{"220 hi", "250 hi"}
	said := func(s ...string) []string { return append(hello[:2:2], s...) }
	for name, test := range map[string]struct {
		first []string
		want  string
		taken bool
	}{
		"greeting 421": {[]string{"421 4.3.2 busy"}, "", true},
		"greeting 554": {[]string{"554 5.3.2 not here"}, "", true},
		"no SMTP":      {[]string{"hello"}, "", true},
		"EHLO 421":     {[]string{"220 hi", "421 4.3.2 bye"}, "", true},
		"MAIL 451":     {said("451 4.7.1 later", "250 ok"), "", true},
		"MAIL 550":     {said("550 5.7.1 no", "250 ok"), "550 5.7.1", false},
		"MAIL lost":    {said(), "", true},
		"RCPT lost":    {said("250 ok"), "", true},
		"DATA lost":    {said("250 ok", "250 ok"), "", true},
		"RCPT 450":     {said("250 ok", "450 4.2.1 later", "250 ok"), "450 4.2.1", false},
		"RCPT 550":     {said("250 ok", "550 5.1.1 no", "250 ok"), "550 5.1.1", false},
		"354 lost":     {said("250 ok", "250 ok", "354 go"), "451 4.4.2", false},
		"dot 451":      {said("250 ok", "250 ok", "354 go", "451 4.3.0 disk full", "250 ok"), "451 4.3.0", false},
		"dot 550":      {said("250 ok", "250 ok", "354 go", "550 5.7.1 spam", "250 ok"), "550 5.7.1", false},
		"dot 250":      {said("250 ok", "250 ok", "354 go", "250 ok"), "", false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, zone)
			w.script("127.0.1.1", replies(test.first...))
			w.server("127.0.1.2", &smtp.Server{})
			r := w.relay()
			results := r.Carry(t.Context(), letter("joe@us.example", "a@d.test"))
			want(t, results, test.want)
			if errors.Is(results[0], smtp.ErrReplyLost) != (name == "354 lost") {
				t.Error(results[0])
			}
			if got := w.taken(); (len(got) == 1) != test.taken {
				t.Errorf("the second host took %q", got)
			}
		})
	}
}

// A connection that breaks in the middle of a large body: the next host gets all of it.
func TestFullBodyForTheNext(t *testing.T) {
	w := newWorld(t, "d.test. MX 10 one.test.\nd.test. MX 20 two.test.\none.test. A 127.0.1.1\ntwo.test. A 127.0.1.2\n")
	body := strings.Repeat("line after line\r\n", 200_000)
	w.script("127.0.1.1", func(c net.Conn, r *bufio.Reader) {
		for _, s := range []string{"220 hi", "250 hi", "250 ok", "250 ok", "354 go"} {
			io.WriteString(c, s+"\r\n")
			r.ReadString('\n')
		}
		io.CopyN(io.Discard, r, 1<<20)
	})
	got := make(chan string, 1)
	s := &smtp.Server{}
	w.server("127.0.1.2", s)
	s.Next = mail.HandlerFunc(func(_ context.Context, m *mail.Mail) error { got <- m.Message.String(); return nil })
	m := letter("joe@us.example", "a@d.test")
	m.Message = mail.NewMessage([]byte("A: b\r\n\r\n" + body))
	want(t, w.relay().Carry(t.Context(), m), "")
	if s := <-got; !strings.HasSuffix(s, "A: b\r\n\r\n"+body) {
		t.Errorf("%d octets arrived", len(s))
	}
}

// When all hosts fail, the error is one that may pass if any is, and says most.
func TestAllHostsFail(t *testing.T) {
	for name, test := range map[string]struct{ first, second, want string }{
		"permanent and temporary": {"554 5.3.2 no", "421 4.3.2 busy", "421 4.3.2"},
		"temporary and permanent": {"421 4.3.2 busy", "554 5.3.2 no", "421 4.3.2"},
		"both for good":           {"554 5.3.2 no", "554 5.7.1 nor we", "554 5.3.2"},
		"one is dead":             {"", "554 5.3.2 no", "451 4.4.1"},
		"said and dead":           {"421 4.3.2 busy", "", "421 4.3.2"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "d.test. MX 10 one.test.\nd.test. MX 20 two.test.\none.test. A 127.0.1.1\ntwo.test. A 127.0.1.2\n")
			for i, s := range []string{test.first, test.second} {
				ip := fmt.Sprintf("127.0.1.%d", i+1)
				if s == "" {
					w.listen(ip).Close()
				} else {
					w.script(ip, replies(s))
				}
			}
			want(t, w.relay().Carry(t.Context(), letter("joe@us.example", "a@d.test")), test.want)
		})
	}
}

// All addresses of a host are tried, IPv6 and IPv4 in turn, and IPv6 can be switched off.
func TestAddresses(t *testing.T) {
	got := interleave([]netip.Addr{netip.MustParseAddr("::1"), netip.MustParseAddr("::2"), netip.MustParseAddr("::3"), netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")})
	if s := fmt.Sprint(got); s != "[::1 127.0.0.1 ::2 127.0.0.2 ::3]" {
		t.Error(s)
	}
	w := newWorld(t, "d.test. MX 10 mx.test.\nmx.test. A 127.0.1.1\nmx.test. A 127.0.1.2\nmx.test. AAAA ::1\n")
	w.server("127.0.1.2", &smtp.Server{})
	want(t, w.relay().Carry(t.Context(), letter("joe@us.example", "a@d.test")), "")
	wantTaken(t, w, "127.0.1.2: joe@us.example > a@d.test")
	asked := w.names.Count("mx.test", dns.TypeAAAA)
	r := w.relay()
	r.NoIPv6 = true
	want(t, r.Carry(t.Context(), letter("joe@us.example", "a@d.test")), "")
	if n := w.names.Count("mx.test", dns.TypeAAAA); n != asked || asked == 0 {
		t.Errorf("asked for AAAA %d, then %d times", asked, n)
	}
}

// Equal preferences share the load; others do not.
func TestPreferences(t *testing.T) {
	w := newWorld(t, "d.test. MX 20 c.test.\nd.test. MX 10 a.test.\nd.test. MX 10 b.test.\nd.test. MX 30 us.example.\nd.test. MX 40 d.test.\n")
	r := w.relay()
	first := map[string]int{}
	for range 200 {
		hosts, err := r.mx(t.Context(), "d.test")
		if err != nil || len(hosts) != 3 || hosts[2].Name != "c.test" {
			t.Fatalf("%v, %v", hosts, err)
		}
		first[hosts[0].Name]++
	}
	if first["a.test"] < 50 || first["b.test"] < 50 {
		t.Errorf("%v", first)
	}
}
