package cert

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"stagecoach/rfc/dns"
	"stagecoach/rfc/dns/dnstest"
)

// The authority is found by the names that are given, at the first of its addresses that answers,
// and its certificate is checked against its name.
func TestClient(t *testing.T) {
	key := newKey(t)
	own, err := selfMade(key, []string{"ca.example"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "here") }),
		ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute}
	go s.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{*own.pair}})) //nolint:errcheck // closed below
	t.Cleanup(func() { s.Close() })
	port := l.Addr().String()[strings.LastIndexByte(l.Addr().String(), ':'):]
	x := dnstest.Zone(t, "ca.example. A 127.0.0.1\nca.example. AAAA ::1\nother.example. A 127.0.0.1\ndead.example. AAAA ::1\n")
	x.Fail("down.example", dnstest.ServFail)
	roots := x509.NewCertPool()
	roots.AddCert(own.leaf)
	c := Client(x, roots)
	resp, err := c.Get("https://ca.example" + port)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || string(text) != "here" {
		t.Errorf("%q, %v", text, err)
	}
	for host, want := range map[string]string{
		"none.example": "does not exist", "down.example": "SERVFAIL", "other.example": "certificate is valid for ca.example", "dead.example": "refused",
	} {
		if resp, err := c.Get("https://" + host + port); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v", host, resp, err)
		}
	}
	if resp, err := Client(x, nil).Get("https://ca.example" + port); err == nil {
		resp.Body.Close()
		t.Error("a certificate of nobody is trusted")
	}
	plain := httptest.NewServer(s.Handler)
	t.Cleanup(plain.Close)
	if resp, err := c.Get(strings.Replace(plain.URL, "127.0.0.1", "localhost", 1)); err != nil {
		t.Error(err)
	} else {
		resp.Body.Close()
	}
}

// One certificate, once: taken where it is there, asked for where it is not.
func TestObtain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 90*day)
	w.start()
	defer w.stop()
	k := &Keeper{Names: []string{"smtp.x.example"}, Key: w.key, Zone: "x.example", Primary: w.zone}
	if err := k.Load(); err != nil {
		t.Fatal(err)
	}
	if pair, err := k.Take(t.Context()); pair != nil || err != nil || w.zone.updates != 0 {
		t.Errorf("before: %v, %v, %d updates", pair, err, w.zone.updates)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	pair, err := k.Obtain(ctx, 50*time.Millisecond)
	if err != nil || k.Fits(pair, time.Now()) != "" || len(pair.Certificate) != 2 {
		t.Fatalf("%v, %v", pair, err)
	}
	again := &Keeper{Names: k.Names, Key: w.key, Zone: ".", Primary: w.zone}
	if err := again.Load(); err != nil {
		t.Fatal(err)
	}
	w.zone.allow(func(*dns.Msg) bool { return false })
	if taken, err := again.Take(t.Context()); err != nil || string(taken.Certificate[0]) != string(pair.Certificate[0]) {
		t.Errorf("taken: %v, %v", taken, err)
	}
	refused := &Keeper{Names: []string{"mx.x.example"}, Key: w.key, Zone: "x.example", Primary: w.zone}
	if err := refused.Load(); err != nil {
		t.Fatal(err)
	}
	if _, err := refused.Obtain(ctx, time.Millisecond); err == nil || !strings.Contains(err.Error(), "REFUSED") {
		t.Errorf("refused: %v", err)
	}
	w.zone.allow(nil)
	w.stop()
	short, done := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer done()
	if _, err := refused.Obtain(short, 10*time.Millisecond); err == nil || !strings.Contains(err.Error(), "_letsencrypt._tcp.mx.x.example") {
		t.Errorf("nobody answers: %v", err)
	}
}
