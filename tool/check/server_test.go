package check

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"testing"
)

// A mailServer is a server of which each reply can be bent.
type mailServer struct {
	greeting   string // after "220 ", or a whole reply
	name       string // in the reply to EHLO
	cert       *tls.Certificate
	noSTARTTLS bool
	authEarly  bool // AUTH before TLS
	auth       bool // AUTH within TLS
	implicit   bool // TLS from the first byte
	postmaster string
	relay      string
	maxVersion uint16
}

// start listens on loopback and returns where.
func (m *mailServer) start(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go m.serve(conn)
		}
	}()
	return l.Addr().String()
}

func (m *mailServer) config() *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: m.maxVersion}
	if m.cert != nil {
		c.Certificates = []tls.Certificate{*m.cert}
	}
	return c
}

func (m *mailServer) serve(conn net.Conn) {
	defer conn.Close()
	secure := m.implicit
	if secure {
		conn = tls.Server(conn, m.config())
	}
	r := bufio.NewReader(conn)
	fmt.Fprintf(conn, "%s\r\n", m.greeting)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		verb, _, _ := strings.Cut(strings.ToUpper(strings.TrimSpace(line)), " ")
		switch {
		case verb == "EHLO":
			m.hello(conn, secure)
		case verb == "STARTTLS" && m.cert == nil:
			fmt.Fprint(conn, "454 4.7.0 not now\r\n")
		case verb == "STARTTLS":
			fmt.Fprint(conn, "220 go\r\n")
			conn = tls.Server(conn, m.config())
			r, secure = bufio.NewReader(conn), true
		case verb == "RCPT" && strings.Contains(line, "postmaster@"):
			fmt.Fprintf(conn, "%s\r\n", m.postmaster)
		case verb == "RCPT":
			fmt.Fprintf(conn, "%s\r\n", m.relay)
		case verb == "QUIT":
			fmt.Fprint(conn, "221 bye\r\n")
			return
		default:
			fmt.Fprint(conn, "250 2.0.0 fine\r\n")
		}
	}
}

func (m *mailServer) hello(conn net.Conn, secure bool) {
	fmt.Fprintf(conn, "250-%s at your service\r\n", m.name)
	if !secure && !m.noSTARTTLS {
		fmt.Fprint(conn, "250-STARTTLS\r\n")
	}
	if secure && m.auth || m.authEarly {
		fmt.Fprint(conn, "250-AUTH PLAIN SCRAM-SHA-256\r\n")
	}
	fmt.Fprint(conn, "250 SIZE 50000000\r\n")
}
