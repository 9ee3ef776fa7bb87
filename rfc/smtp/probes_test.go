package smtp

import (
	"strings"
	"testing"
	"time"
)

// The probes that tell mail servers apart: what a client may try, and what it must hear.
// Each begins with a connection that was not greeted yet.

const (
	hi    = "EHLO client.example\r\n"
	begun = "MAIL FROM:<joe@far.example>\r\nRCPT TO:<ann@us.example>\r\n"
)

// A probe says some things, each after the replies to what it said before.
type probe struct {
	name   string
	say    []string // the first after the greeting, each in one packet
	want   []string // beginnings of the replies, in order
	closed bool     // and then the connection ends
}

var probes = []probe{
	{"bare LF in body", []string{hi, begun, "DATA\r\n", "a: b\r\n\r\nx\ny\r\n.\r\n"}, []string{"250-", "250", "250", "354", "554 5.6.0"}, true},
	{"bare CR in body", []string{hi, begun, "DATA\r\n", "a: b\r\n\r\nx\ry\r\n.\r\n"}, []string{"250-", "250", "250", "354", "554 5.6.0"}, true},
	{"NUL in body", []string{hi, begun, "DATA\r\n", "a: b\r\n\r\nx\x00y\r\n.\r\n"}, []string{"250-", "250", "250", "354", "554 5.6.0"}, true},
	{"bare LF in chunk", []string{hi, begun, "BDAT 5 LAST\r\nab\ncd"}, []string{"250-", "250", "250", "554 5.6.0"}, true},
	{"bare CR at the end of a chunk", []string{hi, begun, "BDAT 3 LAST\r\nab\r"}, []string{"250-", "250", "250", "554 5.6.0"}, true},
	{"NUL in chunk", []string{hi, begun, "BDAT 2 LAST\r\na\x00"}, []string{"250-", "250", "250", "554 5.6.0"}, true},
	{"bare LF ends a command", []string{"EHLO client.example\n"}, []string{"500 5.5.2"}, true},
	{"bare LF later", []string{hi, "NOOP\nNOOP\r\n"}, []string{"250-", "500 5.5.2"}, true},
	{"bare CR in command", []string{hi, "NOOP\rNOOP\r\n"}, []string{"250-", "500 5.5.2"}, true},
	{"NUL in command", []string{hi, "NOOP \x00\r\n"}, []string{"250-", "500 5.5.2"}, true},
	{"ESC in command", []string{hi, "NOOP \x1b[2J\r\n"}, []string{"250-", "500 5.5.2"}, true},
	{"commands behind EHLO", []string{hi + "NOOP\r\n"}, []string{"554 5.5.1"}, true},
	{"pipelining without ESMTP", []string{"HELO client.example\r\n", begun}, []string{"250", "554 5.5.1"}, true},
	{"pipelining before EHLO", []string{"NOOP\r\nNOOP\r\n"}, []string{"554 5.5.1"}, true},
	{"message behind DATA", []string{hi, begun + "DATA\r\na: b\r\n\r\n.\r\n"}, []string{"250-", "250", "250", "554 5.5.1"}, true},
	{"text behind STARTTLS", []string{hi, "STARTTLS\r\nNOOP\r\n"}, []string{"250-"}, true},
	{"AUTH in clear", []string{hi, "AUTH PLAIN AGFubgBzZXNhbWU=\r\n"}, []string{"250-", "538 5.7.11"}, false},
	{"AUTH in clear, no mechanism", []string{hi, "AUTH FOO\r\n"}, []string{"250-", "538 5.7.11"}, false},
	{"long command", []string{hi, "NOOP " + strings.Repeat("x", 8188)}, []string{"250-", "500 5.5.6"}, true},
	{"longest command", []string{hi, "NOOP " + strings.Repeat("x", 8187) + "\r\n"}, []string{"250-", "250"}, false},
	{"10 MB without a newline", []string{hi, strings.Repeat("x", 20000)}, []string{"250-", "500 5.5.6"}, true},
	{"source route", []string{hi, "MAIL FROM:<>\r\nRCPT TO:<@us.example:joe@far.example>\r\n"}, []string{"250-", "250", "550 5.1.3"}, false},
	{"source route to us", []string{hi, "MAIL FROM:<>\r\nRCPT TO:<@relay.example:ann@us.example>\r\n"}, []string{"250-", "250", "550 5.1.3"}, false},
	{"source route in MAIL", []string{hi, "MAIL FROM:<@a.example:joe@far.example>\r\n"}, []string{"250-", "550"}, false},
	{"percent", []string{hi, "MAIL FROM:<>\r\nRCPT TO:<joe%far.example@us.example>\r\n"}, []string{"250-", "250", "550 5.1.1"}, false},
	{"bang", []string{hi, "MAIL FROM:<>\r\nRCPT TO:<far.example!joe@us.example>\r\n"}, []string{"250-", "250", "550 5.1.1"}, false},
	{"quoted @", []string{hi, "MAIL FROM:<>\r\nRCPT TO:<\"b@far.example\"@us.example>\r\n"}, []string{"250-", "250", "550 5.1.1"}, false},
	{"two @", []string{hi, "MAIL FROM:<>\r\nRCPT TO:<ann@us.example@far.example>\r\n"}, []string{"250-", "250", "553 5.1.3"}, false},
	{"comma", []string{hi, "MAIL FROM:<>\r\nRCPT TO:<ann@us.example,joe@far.example>\r\n"}, []string{"250-", "250", "553 5.1.3"}, false},
	{"empty recipient", []string{hi, "MAIL FROM:<>\r\nRCPT TO:<>\r\n"}, []string{"250-", "250", "553 5.1.3"}, false},
	{"postmaster", []string{hi, "MAIL FROM:<>\r\nRCPT TO:<PostMaster>\r\n"}, []string{"250-", "250", "250"}, false},
	{"no domain", []string{hi, "MAIL FROM:<>\r\nRCPT TO:<ann>\r\n"}, []string{"250-", "250", "553 5.1.3"}, false},
	{"deceitful A-label", []string{hi, "MAIL FROM:<>\r\nRCPT TO:<ann@xn--0.example>\r\n"}, []string{"250-", "250", "553 5.1.3"}, false},
	{"relay", []string{hi, "MAIL FROM:<>\r\nRCPT TO:<joe@far.example>\r\n"}, []string{"250-", "250", "550 5.7.1"}, false},
	{"UTF-8 without SMTPUTF8", []string{hi, "MAIL FROM:<ö@far.example>\r\n"}, []string{"250-", "553 5.6.7"}, false},
	{"unknown parameter", []string{hi, "MAIL FROM:<> FOO=1\r\n"}, []string{"250-", "555 5.5.4"}, false},
	{"unknown parameter of RCPT", []string{hi, "MAIL FROM:<>\r\nRCPT TO:<ann@us.example> FOO\r\n"}, []string{"250-", "250", "555 5.5.4"}, false},
	{"parameter after HELO", []string{"HELO client.example\r\n", "MAIL FROM:<> SIZE=1\r\n"}, []string{"250", "555 5.5.4"}, false},
	{"REQUIRETLS in clear", []string{hi, "MAIL FROM:<> REQUIRETLS\r\n"}, []string{"250-", "555"}, false},
	{"VRFY of a user", []string{hi, "VRFY ann@us.example\r\n"}, []string{"250-", "252 2.0.0 cannot"}, false},
	{"VRFY of nobody", []string{hi, "VRFY nobody@us.example\r\n"}, []string{"250-", "252 2.0.0 cannot"}, false},
	{"EXPN", []string{hi, "EXPN ann\r\n"}, []string{"250-", "502"}, false},
	{"101 Received", []string{hi, begun, "DATA\r\n", strings.Repeat("Received: x\r\n", 51) + "\r\n.\r\n"}, []string{"250-", "250", "250", "354", "554 5.4.6"}, false},
	{"50 Received", []string{hi, begun, "DATA\r\n", strings.Repeat("Received: x\r\n", 50) + "\r\n.\r\n"}, []string{"250-", "250", "250", "354", "250"}, false},
	{"20,000 header fields", []string{hi, begun, "DATA\r\n", strings.Repeat("X: y\r\n", 20000) + "\r\n.\r\n"}, []string{"250-", "250", "250", "354", "552 5.3.4"}, true},
	{"1 MB header", []string{hi, begun, "DATA\r\n", "X: y\r\n" + strings.Repeat(" "+strings.Repeat("z", 900)+"\r\n", 1160) + "\r\n.\r\n"}, []string{"250-", "250", "250", "354", "552 5.3.4"}, true},
	{"line of 999", []string{hi, begun, "DATA\r\n", "X: y\r\n\r\n" + strings.Repeat("z", 999) + "\r\n.\r\n"}, []string{"250-", "250", "250", "354", "500 5.6.0"}, true},
	{"line of 998 and a dot", []string{hi, begun, "DATA\r\n", "X: y\r\n\r\n.." + strings.Repeat("z", 997) + "\r\n.\r\n"}, []string{"250-", "250", "250", "354", "250"}, false},
	{"5 MB line", []string{hi, begun, "DATA\r\n", "X: y\r\n\r\n" + strings.Repeat("z", 5<<20) + "\r\n.\r\n"}, []string{"250-", "250", "250", "354", "500 5.6.0"}, true},
	{"BDAT of 2^64-1", []string{hi, begun, "BDAT 18446744073709551615\r\n"}, []string{"250-", "250", "250", "501 5.5.4"}, true},
	{"BDAT of 2^63-2", []string{hi, begun, "BDAT 9223372036854775806 LAST\r\n"}, []string{"250-", "250", "250", "552 5.3.4"}, true},
	{"BDAT without a size", []string{hi, begun, "BDAT LAST\r\n"}, []string{"250-", "250", "250", "501 5.5.4"}, true},
	{"BDAT after LAST", []string{hi, begun, "BDAT 6 LAST\r\na: b\r\nBDAT 6\r\nQUIT\r\nNOOP\r\n"}, []string{"250-", "250", "250", "250", "503", "250 2.0.0 ok"}, false},
	{"BDAT without MAIL", []string{hi, "BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n"}, []string{"250-", "503", "250 2.0.0 ok"}, false},
	{"BDAT without recipients", []string{hi, "MAIL FROM:<>\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n"}, []string{"250-", "250", "554", "250 2.0.0 ok"}, false},
	{"DATA within BDAT", []string{hi, begun, "BDAT 4\r\na: b", "DATA\r\n", "RCPT TO:<bob@us.example>\r\n", "RSET\r\n"}, []string{"250-", "250", "250", "250", "503", "503", "250"}, false},
	{"DATA of BINARYMIME", []string{hi, "MAIL FROM:<> BODY=BINARYMIME\r\nRCPT TO:<ann@us.example>\r\n", "DATA\r\n"}, []string{"250-", "250", "250", "503"}, false},
	{"DATA without recipients", []string{hi, "MAIL FROM:<>\r\n", "DATA\r\n"}, []string{"250-", "250", "554"}, false},
	{"declared too large", []string{hi, "MAIL FROM:<> SIZE=99999999999999999999\r\n"}, []string{"250-", "552 5.3.4"}, false},
	{"MAIL before EHLO", []string{"MAIL FROM:<>\r\n"}, []string{"503"}, false},
	{"nested MAIL", []string{hi, begun + "MAIL FROM:<>\r\n"}, []string{"250-", "250", "250", "503"}, false},
	{"EHLO resets", []string{hi, begun, hi, "DATA\r\n"}, []string{"250-", "250", "250", "250-", "503"}, false},
	{"EHLO without a name", []string{"EHLO\r\n"}, []string{"501"}, false},
	{"HTTP", []string{"GET / HTTP/1.1\r\nHost: mx.example\r\n\r\n"}, []string{"500 5.5.2"}, true},
	{"HTTP/2", []string{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"}, []string{"500 5.5.2"}, true},
	{"FTP", []string{"USER anonymous\r\n"}, []string{"500 5.5.2"}, true},
	{"header line", []string{hi, "Subject: hello\r\n"}, []string{"250-", "500 5.5.2"}, true},
	{"TLS on the plain port", []string{"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"}, []string{"500 5.5.2"}, true},
	{"unknown command", []string{hi, "XCLIENT NAME=x\r\n"}, []string{"250-", "500 5.5.1"}, false},
	{"blank after the colon", []string{hi, "MAIL FROM: <joe@far.example> \r\n"}, []string{"250-", "250"}, false},
	{"the rest of RFC 5321", []string{hi, "HELP\r\n", "NOOP x y\r\n", "RSET\r\n", "RSET x\r\n", "QUIT\r\n"}, []string{"250-", "214", "250", "250", "501", "221"}, true},
}

func TestProbes(t *testing.T) {
	for _, p := range probes {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			addr := serve(t, &Server{Domain: "us.example", Next: &box{}, Gate: ourGate{}, TLS: testTLS(), Auth: oneUser{}})
			c := dial(t, addr)
			c.want("220 mx.example")
			want := p.want
			for i, text := range p.say {
				go func() { c.conn.Write([]byte(text)) }() //nolint:errcheck // the server may close in its midst
				n := strings.Count(text, "\r\n")
				if i == len(p.say)-1 || n > len(want) {
					n = len(want)
				}
				c.want(want[:n]...)
				want = want[n:]
			}
			if p.closed {
				c.closed()
				return
			}
			c.say("NOOP", "250 2.0.0 ok")
		})
	}
}

func TestTalkBeforeGreeting(t *testing.T) {
	s := &Server{Next: &box{}, GreetDelay: 50 * time.Millisecond}
	addr := serve(t, s)
	early := dial(t, addr)
	early.send(hi)
	early.want("554 5.5.1")
	early.closed()

	polite := dial(t, addr)
	polite.want("220 ")
	polite.say("EHLO client.example", "250-")
}

// A line that never ends is cut while it comes, however it is cut into packets.
func TestLongLineInPieces(t *testing.T) {
	c := dial(t, serve(t, &Server{Next: &box{}}))
	c.want("220 ")
	sent := 0
	for ; sent < 10<<20; sent += 512 {
		c.conn.SetWriteDeadline(time.Now().Add(time.Second))
		if _, err := c.conn.Write(make512('x')); err != nil {
			break
		}
	}
	c.want("500 5.5.6")
}

func make512(b byte) []byte { return []byte(strings.Repeat(string(b), 512)) }
