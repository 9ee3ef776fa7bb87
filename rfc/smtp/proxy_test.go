package smtp

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
)

const proxyV2 = proxySignature + "\x21\x11\x00\x0c\xc0\x00\x02\x07\xc6\x33\x64\x01\x12\x34\x00\x19"

func TestReadProxyHeader(t *testing.T) {
	for in, want := range map[string]string{
		"PROXY TCP4 192.0.2.7 198.51.100.1 4660 25\r\n":          "192.0.2.7:4660",
		"PROXY TCP6 2001:db8::7 2001:db8::1 4660 25\r\n":         "[2001:db8::7]:4660",
		"PROXY UNKNOWN\r\n":                                      "",
		"PROXY UNKNOWN ffff:f...f:ffff 1 2\r\n":                  "",
		proxyV2:                                                  "192.0.2.7:4660",
		proxySignature + "\x20\x00\x00\x00":                      "",
		proxySignature + "\x21\x00\x00\x03abc":                   "",
		"PROXY TCP4 192.0.2.7 198.51.100.1 4660 70000\r\n":       "error",
		"PROXY TCP4 2001:db8::7 2001:db8::1 4660 25\r\n":         "error",
		"PROXY TCP4 192.0.2.7 198.51.100.1 4660\r\n":             "error",
		"PROXY TCP4 192.0.2.7 198.51.100.1 4660 25\nEHLO x\r\n":  "error",
		"PROXY TCP5 192.0.2.7 198.51.100.1 4660 25\r\n":          "error",
		"PROXY UNKNOWN " + strings.Repeat("x", 100) + "\r\n":     "error",
		"EHLO client.example\r\n":                                "error",
		proxySignature + "\x11\x11\x00\x0c" + long(12):           "error",
		proxySignature + "\x22\x11\x00\x0c" + long(12):           "error",
		proxySignature + "\x21\x11\x00\x0b" + long(11):           "error",
		proxySignature + "\x21\x11\xff\xff" + long(65535):        "error",
		proxySignature + "\x21\x21\x00\x24" + long(35):           "error",
		proxySignature[:11]:                                      "error",
		proxySignature + "\x21\x21\x00\x24" + long(32) + "ABCD~": "[7878:7878:7878:7878:7878:7878:7878:7878]:16706",
	} {
		r := strings.NewReader(in)
		h, err := readProxyHeader(r)
		got := ""
		switch {
		case err != nil:
			got = "error"
		case h.known:
			got = h.from.String()
		}
		if got != want {
			t.Errorf("%.60q: got %q, want %q", in, got, want)
		}
	}
}

func TestProxy(t *testing.T) {
	b := &box{}
	addr := serve(t, &Server{Next: b, Proxy: true})
	for _, header := range []string{"PROXY TCP4 192.0.2.7 198.51.100.1 4660 25\r\n", proxyV2} {
		c := dial(t, addr)
		c.send(header)
		c.begin()
		c.say("DATA", "354")
		c.send(".\r\n")
		c.want("250")
	}
	for _, m := range b.all() {
		if m.peer.Addr != netip.MustParseAddr("192.0.2.7") || m.peer.Port != 4660 || m.peer.Local.Port() != 25 || !strings.Contains(m.text, "([192.0.2.7])") {
			t.Errorf("%+v", m.peer)
		}
	}
	c := dial(t, addr)
	c.send(hi)
	c.closed()
}

// Behind a proxy TLS begins after the header.
func TestProxyWithTLS(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &box{}
	serveOn(t, &Server{Next: b, Proxy: true}, tls.NewListener(l, ServerTLS(testTLS())))
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, proxyV2) //nolint:errcheck // what follows fails then
	c := talkOn(t, tls.Client(conn, &tls.Config{InsecureSkipVerify: true})).begin()
	c.say("DATA", "354")
	c.send(".\r\n")
	c.want("250")
	if m := b.all()[0]; m.peer.Addr.String() != "192.0.2.7" || m.peer.TLS == nil {
		t.Errorf("%+v", m.peer)
	}
}

// A header from whoever is not named is not believed, nor is anything after it.
func TestProxyFromStranger(t *testing.T) {
	c := dial(t, serve(t, &Server{Next: &box{}, Proxy: true, ProxyFrom: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}))
	c.send("PROXY TCP4 192.0.2.7 198.51.100.1 4660 25\r\n")
	c.closed()
}

func FuzzProxy(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.7 198.51.100.1 4660 25\r\nEHLO"))
	f.Add([]byte("PROXY UNKNOWN\r\nEHLO"))
	f.Add([]byte(proxyV2 + "EHLO"))
	f.Add([]byte(proxySignature + "\x20\x00\x00\x00EHLO"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		h, err := readProxyHeader(r)
		if err != nil {
			return
		}
		used := in[:len(in)-r.Len()]
		if v1 := bytes.HasPrefix(used, []byte("PROXY ")); v1 && (!bytes.HasSuffix(used, []byte("\r\n")) || len(used) > maxProxyLine || bytes.Count(used, []byte("\r\n")) != 1) {
			t.Errorf("used %q", used)
		}
		if h.known && (!h.from.Addr().IsValid() || h.from.Addr().Is4In6() || h.from.Addr().Zone() != "") {
			t.Errorf("from %v", h.from)
		}
	})
}
