package smtp

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stagecoach/mail"
)

// everything is an envelope that uses all there is.
func everything() mail.Envelope {
	return mail.Envelope{
		From: mail.MustParseAddress("jörg@us.example"),
		To: []mail.Recipient{
			{Address: mail.MustParseAddress("ann@b.example"), Notify: mail.NotifyNever},
			{Address: mail.MustParseAddress(`"a > b"@b.example`), Notify: mail.NotifySuccess | mail.NotifyDelay, Original: "rfc822;x+y=z@b.example"},
			{Address: mail.MustParseAddress("bücher@b.example"), Original: "utf-8;bücher@b.example"},
		},
		Submitter: "ann+x@us.example", Body: mail.Body8BitMIME, UTF8: true, RequireTLS: true,
		Return: mail.ReturnHeaders, ID: "id+1=2",
	}
}

func addresses(a, b mail.Address) bool { return a == b }

// Between our own stages a mail arrives as it left, but for Received.
func TestInnerIsTransparent(t *testing.T) {
	long := "Subject: x\r\n\r\n" + strings.Repeat("a line of text\r\n", 20000)
	for name, text := range map[string]string{
		"small":           small,
		"header alone":    "Subject: x\r\n",
		"no header":       "\r\n.\r\n",
		"empty":           "",
		"8-bit":           "Subject: ü\r\n\r\nü\r\n",
		"large":           long,
		"no final CRLF":   "Subject: x\r\n\r\nend",
		"dots everywhere": ".\r\n.\r\n\r\n.\r\n..\r\n.\r\n",
	} {
		for _, unix := range []bool{false, true} {
			b := &box{}
			h := innerHop(t, b, unix)
			m := &mail.Mail{Envelope: everything(), Message: mail.NewMessage([]byte(text))}
			if name == "no final CRLF" {
				m.Envelope.Body = mail.BodyBinary
			}
			want := m.Envelope.Clone()
			if err := h.Handle(t.Context(), m); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got := b.all()[0]
			if d := cmp.Diff(want, got.envelope, cmp.Comparer(addresses)); d != "" {
				t.Errorf("%s: envelope: %s", name, d)
			}
			if got.body() != text {
				t.Errorf("%s: got %.100q, want %.100q", name, got.body(), text)
			}
		}
	}
}

// innerHop returns a NextHop to a Server of ours.
func innerHop(t *testing.T, b *box, unix bool) *NextHop {
	network, addr := "tcp", "127.0.0.1:0"
	if unix {
		network, addr = "unix", filepath.Join(t.TempDir(), "s")
	}
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, &Server{Next: b, Inner: true}, l)
	h := &NextHop{Name: "us.example", Host: "inner", Inner: true, ChunkSize: 100_000, Dial: func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, l.Addr().String())
	}}
	t.Cleanup(func() { h.Close() })
	return h
}

// The same mail arrives by DATA, by BDAT, in clear and over TLS.
func TestOuterBytes(t *testing.T) {
	long := "Subject: x\r\n\r\n" + strings.Repeat(".a\r\n..\r\n.\r\nline\r\n", 10000)
	for _, noChunking := range []bool{false, true} {
		for _, security := range []Security{TLSNone, TLSOpportunistic} {
			for _, text := range []string{small, long, ".\r\n", "A: b\r\n\r\n.", ""} {
				b := &box{}
				h := hopTo(t, serve(t, &Server{Next: b, TLS: testTLS()}))
				h.NoChunking, h.Security, h.ChunkSize = noChunking, security, 50_000
				if err := h.Handle(t.Context(), letter(text, "a@b.example", "b@b.example")); err != nil {
					t.Fatal(err)
				}
				got, want := b.all()[0], text
				if !strings.HasSuffix(want, "\r\n") && want != "" {
					want += "\r\n"
				}
				if got.body() != want || (got.peer.TLS != nil) != (security == TLSOpportunistic) || len(got.envelope.To) != 2 {
					t.Errorf("DATA %v, security %d: got %.60q, want %.60q", noChunking, security, got.body(), want)
				}
			}
		}
	}
}

func TestImplicitTLSAndLogin(t *testing.T) {
	b := &box{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, &Server{Next: b, Auth: oneUser{}, RequireAuth: true}, tls.NewListener(l, ServerTLS(testTLS())))
	h := hopTo(t, l.Addr().String())
	h.Security, h.TLS = TLSImplicit, trusting(t)
	h.Login = Password{"ann", "wrong"}
	err = h.Handle(t.Context(), letter(small, "a@b.example"))
	wantRefusal(t, err, "451 4.7.8")
	if strings.Contains(err.Error(), "wrong") {
		t.Errorf("the password stands in %q", err)
	}
	h.Login = Password{"ann", "sesame"}
	if err := h.Handle(t.Context(), letter(small, "a@b.example")); err != nil {
		t.Fatal(err)
	}
	if got := b.all()[0]; got.peer.User != "ann@us.example" || got.peer.TLS == nil {
		t.Errorf("%+v", got.peer)
	}
	h = hopTo(t, l.Addr().String())
	h.Security, h.TLS, h.Login = TLSImplicit, &tls.Config{InsecureSkipVerify: true}, Password{"ann", "sesame"}
	wantRefusal(t, h.Handle(t.Context(), letter(small, "a@b.example")), "451 4.7.8")
}

// A reply to one recipient never touches another.
func TestCarryManyBatches(t *testing.T) {
	b := &box{}
	s := &Server{Next: b, Gate: ourGate{}}
	s.Limits.Recipients = 7
	s.Limits.Errors = -1
	s.Limits.Unknown = -1
	h := hopTo(t, serve(t, s))
	var to []string
	for i := range 40 {
		if i%3 == 0 {
			to = append(to, "ann@us.example")
		} else {
			to = append(to, fmt.Sprintf("nobody%d@us.example", i))
		}
	}
	results := h.Carry(t.Context(), letter(small, to...))
	for i, err := range results {
		if i%3 == 0 && err != nil {
			t.Errorf("%d: %v", i, err)
		} else if i%3 != 0 {
			wantRefusal(t, err, "550 5.1.1")
		}
	}
	if n := len(b.all()); n != 6 {
		t.Errorf("%d mails", n)
	}
	wantRefusal(t, h.Handle(t.Context(), letter(small, to[:3]...)), "550 5.1.1")
	if len(b.all()) != 6 {
		t.Error("Handle sent to some")
	}
}
