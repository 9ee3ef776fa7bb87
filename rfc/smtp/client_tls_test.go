package smtp

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"
)

// trusting returns a client's TLS config that trusts the certificate of the tests.
func trusting(t *testing.T) *tls.Config {
	t.Helper()
	c, err := x509.ParseCertificate(testTLS().Certificates[0].Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(c)
	return &tls.Config{RootCAs: roots}
}

// plainAll takes one mail in clear.
func plainAll(f *far) {
	f.greet()
	f.want("MAIL")
	f.send("250 ok\r\n")
	f.want("RCPT")
	f.send("250 ok\r\n")
	f.want("DATA")
	f.send("354 go\r\n")
	f.data()
	f.send("250 ok\r\n")
	f.ended()
}

// secure upgrades and goes on.
func (f *far) secure() {
	c := tls.Server(f.conn, testTLS())
	f.conn, f.r = c, bufio.NewReader(c)
}

func TestRequiredTLS(t *testing.T) {
	b := &box{}
	addr := serve(t, &Server{Next: b, TLS: testTLS()})
	good := trusting(t)
	refusing := trusting(t)
	refusing.VerifyConnection = func(tls.ConnectionState) error { return errors.New("not by our policy") }
	pinned := &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(s tls.ConnectionState) error {
		if s.PeerCertificates[0].Subject.CommonName != "mx.example" {
			return errors.New("another one")
		}
		return nil
	}}
	for name, test := range map[string]struct {
		config *tls.Config
		host   string
		want   string
	}{
		"good":         {good, "mx.example", ""},
		"final dot":    {good, "mx.example.", ""},
		"another name": {good, "other.example", "451 4.7.5"},
		"not trusted":  {nil, "mx.example", "451 4.7.5"},
		"policy":       {refusing, "mx.example", "451 4.7.5"},
		"pinned":       {pinned, "other.example", ""},
	} {
		h := hopTo(t, addr)
		h.Security, h.TLS, h.Host, h.ClearFallback = TLSRequired, test.config, test.host, true
		m := letter(small, "a@b.example")
		m.Envelope.RequireTLS = true
		err := h.Handle(t.Context(), m)
		if test.want == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		wantRefusal(t, err, test.want)
		if !hopError(t, err).Elsewhere {
			t.Errorf("%s: another host is not to be tried", name)
		}
	}
	if n := len(b.all()); n != 3 {
		t.Errorf("%d mails", n)
	}
}

// S5: who hides STARTTLS gets no mail when TLS is required.
func TestStripped(t *testing.T) {
	_, h := scripted(t, func(f *far) { f.greet("PIPELINING"); f.ended() })
	h.Security = TLSRequired
	wantRefusal(t, h.Handle(t.Context(), letter(small, "a@b.example")), "451 4.7.4")
}

// REQUIRETLS (RFC 8689) wants a server that is known, and that keeps the promise.
func TestRequireTLSMail(t *testing.T) {
	m := letter(small, "a@b.example")
	m.Envelope.RequireTLS = true
	b := &box{}
	h := hopTo(t, serve(t, &Server{Next: b, TLS: testTLS()}))
	wantRefusal(t, h.Handle(t.Context(), m), "550 5.7.30") // opportunistic: who knows who that is
	_, h = scripted(t, func(f *far) {
		f.greet("STARTTLS")
		f.want("STARTTLS")
		f.send("220 go\r\n")
		f.secure()
		f.hello()
		f.ended()
	})
	h.Security, h.TLS = TLSRequired, trusting(t)
	wantRefusal(t, h.Handle(t.Context(), m), "550 5.7.30")
}

// S4: replies that came in clear are never believed, nor does the client go on in clear.
func TestResponseInjection(t *testing.T) {
	_, h := scripted(t, func(f *far) {
		f.greet("STARTTLS", "AUTH PLAIN")
		f.want("STARTTLS")
		f.send("220 ok\r\n250-X\r\n250 AUTH PLAIN\r\n")
		f.ended()
	})
	h.ClearFallback = true
	err := h.Handle(t.Context(), letter(small, "a@b.example"))
	wantRefusal(t, err, "451 4.4.2")
	if !strings.Contains(err.Error(), "in clear") {
		t.Error(err)
	}
}

// What was offered in clear counts for nothing in TLS.
func TestOffersAreForgotten(t *testing.T) {
	_, h := scripted(t, func(f *far) {
		f.greet("STARTTLS", "CHUNKING", "PIPELINING", "8BITMIME", "SIZE 10")
		f.want("STARTTLS")
		f.send("220 ok\r\n")
		f.secure()
		f.hello("SIZE")
		f.want("MAIL FROM:<joe@us.example> SIZE=")
		f.send("250 ok\r\n")
		f.want("RCPT")
		f.send("250 ok\r\n")
		f.want("DATA")
		f.send("354 go\r\n")
		if got := f.data(); got != small {
			f.t.Errorf("got %q", got)
		}
		f.send("250 ok\r\n")
	})
	if err := h.Handle(t.Context(), letter(small, "a@b.example")); err != nil {
		t.Fatal(err)
	}
}

func TestFallBackToClear(t *testing.T) {
	broken := func(f *far) {
		f.greet("STARTTLS")
		f.want("STARTTLS")
		f.send("220 go\r\n")
		f.line()
		f.send("this is no TLS\r\n")
	}
	refused := func(f *far) {
		f.greet("STARTTLS")
		f.want("STARTTLS")
		f.send("454 4.7.0 not now\r\n")
		f.want("MAIL")
		f.send("250 ok\r\n")
		f.want("RCPT")
		f.send("550 5.1.1 no\r\n")
		f.want("RSET")
		f.send("250 ok\r\n")
	}
	_, h := scripted(t, broken, plainAll)
	wantRefusal(t, h.Handle(t.Context(), letter(small, "a@b.example")), "451 4.7.5")
	_, h = scripted(t, broken, plainAll)
	h.ClearFallback = true
	if err := h.Handle(t.Context(), letter(small, "a@b.example")); err != nil {
		t.Error(err)
	}
	_, h = scripted(t, refused)
	h.ClearFallback = true
	wantRefusal(t, h.Handle(t.Context(), letter(small, "a@b.example")), "550 5.1.1")
	_, h = scripted(t, func(f *far) {
		f.greet("STARTTLS")
		f.want("STARTTLS")
		f.send("454 4.7.0 not now\r\n")
		f.ended()
	})
	wantRefusal(t, h.Handle(t.Context(), letter(small, "a@b.example")), "451 4.7.4")
}

func TestSlowHandshake(t *testing.T) {
	_, h := scripted(t, func(f *far) {
		f.greet("STARTTLS")
		f.want("STARTTLS")
		f.send("220 go\r\n")
		f.ended0()
	})
	h.Timeouts.TLS = 50 * time.Millisecond
	wantRefusal(t, h.Handle(t.Context(), letter(small, "a@b.example")), "451 4.7.5")
}

// ended0 waits for the end, whatever comes.
func (f *far) ended0() { f.r.WriteTo(discard{}) }

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
