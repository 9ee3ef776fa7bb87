package dns_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"stagecoach/lab/peer"
	"stagecoach/rfc/dns"
	"stagecoach/rfc/dns/dnstest"
)

var testKey = dns.Key{Name: "k._update.example.", Algorithm: dns.HMACSHA256, Secret: []byte("0123456789abcdef0123456789abcdef")}

// serve runs s on a free port of 127.0.0.1 until the test ends.
func serve(t testing.TB, s *dns.Server) netip.AddrPort {
	t.Helper()
	conns, l, err := dns.Listen(t.Context(), "127.0.0.1:0", 2)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- s.ServePacket(ctx, conns...) }()
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
	return l.Addr().(*net.TCPAddr).AddrPort()
}

func clientOf(transport dns.Transport, at ...netip.AddrPort) *dns.Client {
	c := &dns.Client{Timeout: time.Second, Attempts: 1}
	for _, a := range at {
		c.Servers = append(c.Servers, dns.Nameserver{Transport: transport, Addr: a})
	}
	return c
}

const wireWorld = `
$ORIGIN example.
@ SOA ns. root. 7 1 1 1 60
a A 192.0.2.1
a TXT "some" "text"
`

func TestServerAndClient(t *testing.T) {
	names := dnstest.Zone(t, wireWorld+"big TXT "+strings.Repeat(`"`+strings.Repeat("x", 200)+`" `, 20))
	at := serve(t, &dns.Server{Handler: dns.Serving(names)})
	for _, transport := range []dns.Transport{dns.UDP, dns.TCP} {
		c := clientOf(transport, at)
		if ips, err := dns.Addrs(t.Context(), c, "A.Example"); err != nil || len(ips) != 1 {
			t.Errorf("%s: %v, %v", transport, ips, err)
		}
		if txt, err := dns.TXT(t.Context(), c, "big.example"); err != nil || len(txt[0]) != 4000 {
			t.Errorf("%s: a big answer: %v", transport, err)
		}
		if _, err := dns.TXT(t.Context(), c, "no.example"); !errors.Is(err, dns.ErrNotExist) {
			t.Errorf("%s: %v", transport, err)
		}
	}
}

func TestClientFailsOver(t *testing.T) {
	good := serve(t, &dns.Server{Handler: dns.Serving(dnstest.Zone(t, wireWorld))})
	bad := dnstest.Zone(t, wireWorld)
	bad.Fail("a.example", dnstest.ServFail)
	refusing := serve(t, &dns.Server{Handler: dns.Serving(bad)})
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	dead := silent.LocalAddr().(*net.UDPAddr).AddrPort()
	c := clientOf(dns.UDP, dead, refusing, good)
	c.Timeout = 50 * time.Millisecond
	if _, err := dns.Addrs(t.Context(), c, "a.example"); err != nil {
		t.Error(err)
	}
	c.Servers = c.Servers[:2]
	_, err = dns.TXT(t.Context(), c, "a.example")
	var e *dns.Error
	if !errors.As(err, &e) || e.Rcode != dns.RcodeServerFailure || !e.Temporary() {
		t.Errorf("nobody knows: %v", err)
	}
	c.Servers = c.Servers[:1]
	if _, err = dns.TXT(t.Context(), c, "a.example"); !errors.As(err, &e) || !e.Timeout() || dns.IsNegative(err) {
		t.Errorf("nobody answers: %v", err)
	}
}

// A forged datagram that comes first does not end the wait for the true one.
func TestClientIgnoresForgeries(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	go func() {
		buf := make([]byte, 512)
		n, peer, err := pc.ReadFrom(buf)
		if err != nil {
			return
		}
		q := new(dns.Msg)
		if q.Unpack(buf[:n]) != nil {
			return
		}
		forged := dns.NewResponse(q, dns.RcodeNameError)
		forged.Id++
		other := dns.NewResponse(q, dns.RcodeNameError)
		other.Question[0].Name = "b.example."
		good := dns.NewResponse(q, 0)
		good.Answer = []dns.RR{dns.MustParseRR("a.example. TXT good")}
		for _, m := range []*dns.Msg{forged, other, good} {
			wire, _ := m.Pack()
			pc.WriteTo(wire, peer)
			pc.WriteTo([]byte("junk"), peer)
		}
	}()
	txt, err := dns.TXT(t.Context(), clientOf(dns.UDP, pc.LocalAddr().(*net.UDPAddr).AddrPort()), "a.example")
	if err != nil || txt[0] != "good" {
		t.Errorf("%v, %v", txt, err)
	}
}

func TestClientChecksCertificates(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"dns.example"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	if err != nil {
		t.Fatal(err)
	}
	go (&dns.Server{Handler: dns.Serving(dnstest.Zone(t, wireWorld))}).Serve(t.Context(), l)
	spki, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	fp := func(b []byte) string { h := sha256.Sum256(b); return base64.StdEncoding.EncodeToString(h[:]) }
	root := base64.StdEncoding.EncodeToString(der)
	for auth, ok := range map[string]bool{
		"": false, "!dns.example": false, "!!none": true,
		"!!key-fp:" + fp(spki): true, "!!key-fp:SHA256:" + fp(spki): true, "!!key-fp:" + fp(der): false,
		"!!cert-fp:" + fp(der): true, "!!cert-fp:" + fp(spki): false,
		"!dns.example!trust-anchor:" + root: true, "!other.example!trust-anchor:" + root: false, "!!trust-anchor:" + root: true,
	} {
		n, err := dns.ParseNameserver(fmt.Sprintf("tls:%s%s", l.Addr(), auth))
		if err != nil {
			t.Errorf("%s: %v", auth, err)
			continue
		}
		if back, err := dns.ParseNameserver(n.String()); err != nil || back.String() != n.String() {
			t.Errorf("%s reads back as %s, %v", n, back, err)
		}
		_, err = dns.TXT(t.Context(), &dns.Client{Servers: []dns.Nameserver{n}, Attempts: 1}, "a.example")
		if (err == nil) != ok {
			t.Errorf("%q: %v", auth, err)
		}
	}
}

func TestParseNameserver(t *testing.T) {
	for in, want := range map[string]string{
		"udp:192.0.2.1": "udp:192.0.2.1:53", "tcp:192.0.2.1:5353": "tcp:192.0.2.1:5353",
		"udp:2001:db8::1": "udp:[2001:db8::1]:53", "udp:[2001:db8::1]:54": "udp:[2001:db8::1]:54",
		"tls:192.0.2.1": "tls:192.0.2.1:853", "tls:192.0.2.1:8853!Dns.Example.": "tls:192.0.2.1:8853!dns.example",
		"192.0.2.1": "", "udp:": "", "udp:dns.example": "", "udp:192.0.2.1:0": "", "dot:192.0.2.1": "", "udp:192.0.2.1!x": "",
		"tls:192.0.2.1!!key-fp:AAAA": "", "tls:192.0.2.1!!key-fp:MD5:AAAA": "", "tls:192.0.2.1!!trust-anchor:AAAA": "", "tls:192.0.2.1!!xyz": "",
	} {
		n, err := dns.ParseNameserver(in)
		if err == nil && n.String() != want || (err == nil) != (want != "") {
			t.Errorf("%s: %s, %v; want %q", in, n, err, want)
		}
	}
}

// Our client and dig get the same from our server.
func TestDig(t *testing.T) {
	dig := peer.Need(t, "dig")[0]
	at := serve(t, &dns.Server{Handler: dns.Serving(dnstest.Zone(t, wireWorld)), Keys: func(string) (dns.Key, bool) { return testKey, true }})
	run := func(args ...string) string {
		args = append([]string{"@127.0.0.1", "-p", fmt.Sprint(at.Port()), "+tries=1", "+time=2"}, args...)
		out, err := exec.CommandContext(t.Context(), dig, args...).CombinedOutput()
		if err != nil {
			t.Errorf("dig %v: %v", args, err)
		}
		return string(out)
	}
	for _, transport := range []string{"+notcp", "+tcp"} {
		if out := run(transport, "+short", "a.example", "TXT"); strings.TrimSpace(out) != `"some" "text"` {
			t.Errorf("dig %s: %q", transport, out)
		}
		key := "hmac-sha256:k._update.example:" + base64.StdEncoding.EncodeToString(testKey.Secret)
		if out := run(transport, "-y", key, "no.example", "TXT"); !strings.Contains(out, "status: NXDOMAIN") || strings.Contains(out, "verify") {
			t.Errorf("dig -y: %s", out)
		}
		wrong := "hmac-sha256:k._update.example:" + base64.StdEncoding.EncodeToString([]byte("wrong"))
		if out := run(transport, "-y", wrong, "a.example"); !strings.Contains(out, "NOTAUTH") || !strings.Contains(out, "BADSIG") {
			t.Errorf("dig with a wrong key: %s", out)
		}
	}
	if out := run("+cookie", "a.example"); !strings.Contains(out, "(good)") {
		t.Errorf("dig +cookie: %s", out)
	}
	if out := run("+edns=1", "+noednsneg", "a.example"); !strings.Contains(out, "BADVERS") {
		t.Errorf("dig +edns=1: %s", out)
	}
	if out := run("+opcode=STATUS", "a.example"); !strings.Contains(out, "NOTIMP") {
		t.Errorf("dig +opcode=STATUS: %s", out)
	}
}

type panicky struct{}

func (panicky) Serve(_ context.Context, r *dns.Request, send func(*dns.Msg) error) error {
	panic("broken")
}

func TestServerContainsPanics(t *testing.T) {
	at := serve(t, &dns.Server{Handler: panicky{}})
	for _, transport := range []dns.Transport{dns.UDP, dns.TCP} {
		r, err := clientOf(transport, at).Exchange(t.Context(), dns.NewQuery("a.example", dns.TypeA))
		if err != nil || r.Rcode != dns.RcodeServerFailure {
			t.Errorf("%s: %v, %v", transport, r, err)
		}
	}
}
