package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// webServer runs the HTTPS server and returns how to ask it.
func webServer(t *testing.T, more string) (address string, pool *x509.CertPool) {
	t.Helper()
	address = fmt.Sprintf("127.0.0.1:%d", freePort(t, loopback))
	o := autoconfigOptions{Listen: []string{address}, Server: "smtp.x.example", STS: "enforce", Age: Duration(7 * 24 * time.Hour), IMAP: more}
	p, err := newProcess(t.Context(), runOptions{Log: logOptions{Level: "error", Format: "text"}})
	if err != nil {
		t.Fatal(err)
	}
	cert, err := loadCertificate("", "", "autoconfig.x.example", "mta-sts.x.example", "x.example")
	if err != nil {
		t.Fatal(err)
	}
	id := identityOptions{Domain: "x.example", Name: "mx.x.example"}
	submit := submitOptions{TLSListen: []string{":465"}, StartTLSListen: []string{":587"}}
	if err := p.autoconfig(id, o, submit, cert, func() []string { return []string{"x.example", "y.example"} }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.shutdown(); err != nil {
			t.Error(err)
		}
	})
	pool = x509.NewCertPool()
	pool.AddCert(cert.Leaf())
	return address, pool
}

func fetch(t *testing.T, address string, pool *x509.CertPool, method, url string) (int, string, http.Header) {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "x.example"},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, address)
		},
	}}
	q, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(body), r.Header
}

func TestAutoconfig(t *testing.T) {
	address, pool := webServer(t, "")
	for _, c := range []struct {
		method, url string
		code        int
	}{
		{"GET", "https://autoconfig.x.example/mail/config-v1.1.xml?emailaddress=ann%40x.example", 200},
		{"GET", "https://AUTOCONFIG.X.example.:443/mail/config-v1.1.xml", 200},
		{"GET", "https://x.example/.well-known/autoconfig/mail/config-v1.1.xml", 200},
		{"HEAD", "https://autoconfig.y.example/mail/config-v1.1.xml", 200},
		{"GET", "https://autoconfig.z.example/mail/config-v1.1.xml", 404},
		{"GET", "https://mx.x.example/mail/config-v1.1.xml", 404},
		{"GET", "https://x.example/mail/config-v1.1.xml", 404},
		{"GET", "https://x.example/", 404},
		{"GET", "https://x.example/../../etc/passwd", 404},
		{"POST", "https://autoconfig.x.example/mail/config-v1.1.xml", 405},
		{"GET", "https://mta-sts.x.example/.well-known/mta-sts.txt", 200},
		{"GET", "https://autoconfig.x.example/.well-known/mta-sts.txt", 404},
	} {
		if code, _, _ := fetch(t, address, pool, c.method, c.url); code != c.code {
			t.Errorf("%s %s: %d, want %d", c.method, c.url, code, c.code)
		}
	}
	_, text, header := fetch(t, address, pool, "GET", "https://autoconfig.y.example/mail/config-v1.1.xml")
	var got clientConfig
	if err := xml.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err, text)
	}
	p := got.Provider
	if got.Version != "1.1" || p.ID != "y.example" || p.Domain != "y.example" || len(p.Incoming) != 0 || !strings.HasPrefix(header.Get("Content-Type"), "text/xml") {
		t.Errorf("%+v %v", got, header)
	}
	want := []clientServer{
		{"smtp", "smtp.x.example", "465", "SSL", "password-cleartext", "%EMAILADDRESS%"},
		{"smtp", "smtp.x.example", "587", "STARTTLS", "password-cleartext", "%EMAILADDRESS%"},
	}
	if len(p.Outgoing) != 2 || p.Outgoing[0] != want[0] || p.Outgoing[1] != want[1] {
		t.Errorf("%+v", p.Outgoing)
	}
	_, policy, header := fetch(t, address, pool, "GET", "https://mta-sts.y.example/.well-known/mta-sts.txt")
	if policy != "version: STSv1\r\nmode: enforce\r\nmx: mx.x.example\r\nmax_age: 604800\r\n" || !strings.HasPrefix(header.Get("Content-Type"), "text/plain") {
		t.Errorf("%q %v", policy, header)
	}
}

func TestAutoconfigWithIMAP(t *testing.T) {
	address, pool := webServer(t, "imap.x.example:993")
	_, text, _ := fetch(t, address, pool, "GET", "https://autoconfig.x.example/mail/config-v1.1.xml")
	if !strings.Contains(text, `<incomingServer type="imap">`) || !strings.Contains(text, "<hostname>imap.x.example</hostname>") {
		t.Error(text)
	}
}

// Who opens many connections and says nothing keeps nobody else out but himself.
func TestAutoconfigBounds(t *testing.T) {
	address, pool := webServer(t, "")
	for range webPerAddress {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	until(t, "the next one is closed", func() bool {
		c, err := net.Dial("tcp", address)
		if err != nil {
			return false
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(time.Second)) //nolint:errcheck // seen by the read
		_, err = c.Read(make([]byte, 1))
		return err != nil && !strings.Contains(err.Error(), "timeout")
	})
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 77)}}
	c, err := tls.DialWithDialer(&d, "tcp", address, &tls.Config{RootCAs: pool, ServerName: "x.example", MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func TestAutoconfigOptions(t *testing.T) {
	for _, o := range []autoconfigOptions{
		{STS: "always"}, {MX: []string{"no host"}}, {Age: Duration(400 * 24 * time.Hour)}, {IMAP: "imap.x.example"},
	} {
		if o.check() == nil {
			t.Errorf("%+v is taken", o)
		}
	}
	if o := (autoconfigOptions{STS: "none", MX: []string{"*.x.example", "mx.y.example"}, IMAP: "[2001:db8::1]:993"}); o.check() != nil {
		t.Error(o.check())
	}
	if names := (&autoconfigOptions{Listen: []string{":443"}}).webNames("x.example"); len(names) != 2 {
		t.Error(names)
	}
}
