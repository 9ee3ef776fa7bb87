package smtp

import (
	"crypto/tls"
	"encoding/base64"
	"net"
	"strings"
	"testing"
	"time"
)

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// secure returns a talk in TLS after EHLO.
func secure(t testing.TB, s *Server) *talk {
	t.Helper()
	s.TLS = testTLS()
	c := dial(t, serve(t, s))
	c.want("220 ")
	c.say("EHLO client.example", "250-")
	c = c.startTLS()
	c.say("EHLO client.example", "250-")
	return c
}

func TestAuth(t *testing.T) {
	b := &box{}
	c := secure(t, &Server{Next: b, Auth: oneUser{}, RequireAuth: true, Limits: Limits{LoginDelay: -1, Logins: -1}})
	c.say("MAIL FROM:<ann@us.example>", "530 5.7.0")
	c.say("AUTH NTLM", "504 5.5.4")
	c.say("AUTH PLAIN !", "501 5.5.2")
	c.say("AUTH PLAIN "+b64("\x00ann\x00wrong"), "535 5.7.8")
	c.say("AUTH PLAIN "+b64("\x00ann\x00outage"), "454 4.7.0")
	c.say("AUTH PLAIN", "334 ")
	c.say("*", "501 5.7.0")
	c.say("AUTH PLAIN", "334 ")
	c.say(b64(strings.Repeat("x", 9000)), "535 5.7.8")
	c.say("AUTH PLAIN =", "535 5.7.8")
	c.say("auth plain "+b64("\x00ann\x00sesame"), "235 2.7.0")
	c.say("AUTH PLAIN", "503")
	c.say("MAIL FROM:<ann@us.example>", "250")
	c.say("RCPT TO:<joe@far.example>", "250")
	c.say("DATA", "354")
	c.send("A: b\r\n\r\n.\r\n")
	c.want("250")
	got := b.all()
	if len(got) != 1 || got[0].peer.User != "ann@us.example" || got[0].peer.TLS == nil {
		t.Fatalf("got %+v", got)
	}
	if !strings.Contains(got[0].text, "with ESMTPSA (TLS1.3 TLS_") {
		t.Error(got[0].text)
	}
}

func TestAuthLastWord(t *testing.T) {
	c := secure(t, &Server{Next: &box{}, Auth: oneUser{}})
	c.say("AUTH TWO", "334 "+b64("step1"))
	c.say(b64("answer"), "334 "+b64("step2"))
	c.say("", "235 2.7.0")
}

func TestAuthLineTooLong(t *testing.T) {
	c := secure(t, &Server{Next: &box{}, Auth: oneUser{}})
	c.say("AUTH PLAIN", "334 ")
	c.send(strings.Repeat("A", 12290) + "\r\n")
	c.want("500 5.5.6")
	c.closed()
}

// A guesser waits longer with each failure, and is sent away after the third.
func TestAuthGuessing(t *testing.T) {
	c := secure(t, &Server{Next: &box{}, Auth: oneUser{}, Limits: Limits{LoginDelay: 10 * time.Millisecond}})
	start := time.Now()
	for range 2 {
		c.say("AUTH PLAIN "+b64("\x00ann\x00wrong"), "535 5.7.8")
	}
	c.say("AUTH PLAIN "+b64("\x00ann\x00wrong"), "535 5.7.8")
	c.want("421 4.7.0")
	c.closed()
	if d := time.Since(start); d < 70*time.Millisecond {
		t.Errorf("three guesses in %v", d)
	}
}

func TestNoAuthInClear(t *testing.T) {
	c := dial(t, serve(t, &Server{Next: &box{}, TLS: testTLS(), Auth: oneUser{}}))
	c.want("220 ")
	c.send("EHLO client.example\r\n")
	if got := c.read(); strings.Contains(got, "AUTH") || !strings.Contains(got, "STARTTLS") || strings.Contains(got, "REQUIRETLS") {
		t.Error(got)
	}
	c.say("AUTH PLAIN "+b64("\x00ann\x00sesame"), "538 5.7.11")
	c = c.startTLS()
	c.say("MAIL FROM:<>", "503 5.5.1 EHLO first")
	c.send("EHLO client.example\r\n")
	if got := c.read(); !strings.Contains(got, "|250-AUTH PLAIN TWO|") || strings.Contains(got, "STARTTLS") || !strings.Contains(got, "|250-REQUIRETLS|") {
		t.Error(got)
	}
	c.say("STARTTLS", "503")
	c.say("MAIL FROM:<> REQUIRETLS", "250")
}

// What was said before TLS is forgotten, and what comes in clear after STARTTLS ends it.
func TestStartTLSForgets(t *testing.T) {
	s := &Server{Next: &box{}, TLS: testTLS()}
	addr := serve(t, s)
	c := dial(t, addr).begin().startTLS()
	c.say("RCPT TO:<ann@us.example>", "503")
	c.say("DATA", "503")

	c = dial(t, addr)
	c.want("220 ")
	c.say("EHLO client.example", "250-")
	c.say("STARTTLS", "220")
	c.send("EHLO evil.example\r\nNOOP\r\n")
	rest := make([]byte, 1000)
	for {
		n, err := c.conn.Read(rest)
		if strings.Contains(string(rest[:n]), "250") {
			t.Fatalf("an answer in clear: %q", rest[:n])
		}
		if err != nil {
			return
		}
	}
}

func TestImplicitTLS(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &box{}
	serveOn(t, &Server{Next: b}, tls.NewListener(inner, ServerTLS(testTLS())))
	for _, protocols := range [][]string{nil, {"smtp"}} {
		conn, err := tls.Dial("tcp", inner.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: protocols})
		if err != nil {
			t.Fatal(err)
		}
		c := talkOn(t, conn).begin()
		c.say("DATA", "354")
		c.send(".\r\n")
		c.want("250")
		c.say("QUIT", "221")
		c.closed()
	}
	for _, protocols := range [][]string{{"h2"}, {"http/1.1", "h2"}} {
		if _, err := tls.Dial("tcp", inner.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: protocols}); err == nil {
			t.Errorf("a client of %q was let in", protocols)
		}
	}
	if _, err := tls.Dial("tcp", inner.Addr().String(), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 was let in")
	}
	if got := b.all(); len(got) != 2 || !strings.Contains(got[0].text, "with ESMTPS (") {
		t.Errorf("got %+v", got)
	}
}
