package smtp

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"stagecoach/mail"
)

// onWire returns what DATA sends of a text that may go by it.
func onWire(t *testing.T, c *content, r io.Reader, buf int) string {
	t.Helper()
	var b bytes.Buffer
	w := bufio.NewWriterSize(&b, 16)
	if err := writeDots(w, r, make([]byte, buf), c.cut); err != nil {
		t.Fatal(err)
	}
	w.Flush()
	return b.String()
}

// unstuff is RFC 5321 section 4.5.2, read by a strict server: the message, and what follows it.
func unstuff(t *testing.T, s string) (text, rest string) {
	for {
		line, after, ok := strings.Cut(s, "\r\n")
		if !ok {
			t.Fatalf("%q does not end", s)
		}
		if line == "." {
			return text, after
		}
		text += strings.TrimPrefix(line, ".") + "\r\n"
		s = after
	}
}

// S2: of all texts of up to 8 octets out of CR, LF, dot, "a" and NUL, those that are not
// plain lines are refused, and of the others a server that takes any line end for one sees
// one mail, which is ours.
func TestNothingIsSmuggled(t *testing.T) {
	const alphabet = "\r\n.a\x00"
	longest := 8
	if testing.Short() {
		longest = 6
	}
	sent := 0
	var all func(prefix []byte)
	all = func(prefix []byte) {
		text := string(prefix)
		c := newContent(mail.NewMessage(prefix))
		if c.scan(); !c.binary {
			sent++
			got := onWire(t, c, c.source(), 3)
			want := text
			if c.cut {
				want += "\r\n"
			}
			back, rest := unstuff(t, got)
			if back != want || rest != "" {
				t.Fatalf("%q went as %q and came as %q + %q", text, got, back, rest)
			}
			bare := strings.ReplaceAll(got, "\r\n", "")
			if strings.ContainsAny(bare, "\r\n\x00") || strings.Count("\r\n"+got, "\r\n.\r\n") != 1 {
				t.Fatalf("%q went as %q", text, got)
			}
		}
		if len(prefix) < longest {
			for i := range len(alphabet) {
				all(append(prefix[:len(prefix):len(prefix)], alphabet[i]))
			}
		}
	}
	all(nil)
	if sent < 100 {
		t.Errorf("only %d texts were sent", sent)
	}
}

// A text is the same wherever it is cut into pieces.
func TestPieces(t *testing.T) {
	for _, text := range []string{"", ".", "..\r\n.\r\n", "a\r\n.", "\r\n.\r\n", small, strings.Repeat(".a\r\n", 100)} {
		c := newContent(mail.NewMessage([]byte(text)))
		if err := c.scan(); err != nil || c.binary {
			t.Fatal(err, c.binary)
		}
		want := onWire(t, c, c.source(), 1<<10)
		for buf := 1; buf < 9; buf++ {
			if got := onWire(t, c, c.source(), buf); got != want {
				t.Errorf("%q in pieces of %d: %q", text, buf, got)
			}
		}
		if got := onWire(t, c, iotest.DataErrReader(c.source()), 4); got != want {
			t.Errorf("%q with EOF at once: %q", text, got)
		}
	}
}

func TestScan(t *testing.T) {
	x := strings.Repeat("x", maxTextLine)
	for _, test := range []struct {
		text               string
		eight, binary, cut bool
	}{
		{"", false, false, false},
		{"a\r\n", false, false, false},
		{"a", false, false, true},
		{"a\r", false, true, true},
		{"a\n", false, true, false},
		{"\n", false, true, false},
		{"\r\r\n", false, true, false},
		{"a\rb\r\n", false, true, false},
		{"\x00\r\n", false, true, false},
		{"\xff\r\n", true, false, false},
		{x + "\r\n", false, false, false},
		{x + "x\r\n", false, true, false},
		{x, false, false, true},
		{x + "x", false, true, true},
		{x + "\r", false, true, true},
	} {
		for n := 1; n < 4; n++ {
			var s textScan
			for p := []byte(test.text); len(p) > 0; p = p[min(n, len(p)):] {
				s.add(p[:min(n, len(p))])
			}
			if s.eight != test.eight || (s.binary || s.cr) != test.binary || (s.line > 0 || s.cr) != test.cut {
				t.Errorf("%.20q in pieces of %d: %+v", test.text, n, s)
			}
		}
	}
}

// What a mail needs and the server does not offer is refused before anything is sent, and
// what goes is declared as what it is.
func TestOffers(t *testing.T) {
	for name, test := range map[string]struct {
		offers []string
		body   mail.BodyType
		from   string
		to     string
		utf8   bool
		text   string
		want   string // of the MAIL command behind the path, or of the refusal
	}{
		"ASCII":                   {text: small},
		"ASCII, all offered":      {offers: []string{"8BITMIME", "SMTPUTF8", "CHUNKING", "BINARYMIME"}, text: small},
		"declared 7BIT":           {offers: []string{"8BITMIME"}, body: "7BIT", text: small, want: " BODY=7BIT"},
		"declared 8BITMIME":       {offers: []string{"8BITMIME"}, body: "8BITMIME", text: small, want: " BODY=8BITMIME"},
		"ASCII declared 8BITMIME": {body: "8BITMIME", text: small},
		"8-bit":                   {text: "\r\n\xff\r\n", want: "554 5.6.3"},
		"8-bit header":            {text: "A: \xff\r\n\r\n", want: "554 5.6.3"},
		"8-bit, offered":          {offers: []string{"8BITMIME"}, text: "\r\n\xff\r\n", want: " BODY=8BITMIME"},
		"8-bit declared 7BIT":     {offers: []string{"8BITMIME"}, body: "7BIT", text: "\r\n\xff\r\n", want: " BODY=8BITMIME"},
		"binary":                  {offers: []string{"8BITMIME", "CHUNKING"}, body: "BINARYMIME", text: "\r\na\nb\r\n", want: "554 5.6.3"},
		"binary without chunks":   {offers: []string{"BINARYMIME"}, body: "BINARYMIME", text: "\r\na\x00\r\n", want: "554 5.6.3"},
		"binary, offered":         {offers: []string{"CHUNKING", "BINARYMIME"}, body: "BINARYMIME", text: "\r\na\nb\r\n", want: " BODY=BINARYMIME"},
		"binary is clean":         {body: "BINARYMIME", text: small},
		"bare LF":                 {offers: []string{"8BITMIME"}, text: "\r\na\nb\r\n", want: "554 5.6.0"},
		"bare CR":                 {offers: []string{"CHUNKING"}, text: "\r\na\rb\r\n", want: "554 5.6.0"},
		"NUL":                     {text: "\r\n\x00\r\n", want: "554 5.6.0"},
		"long line":               {text: "\r\n" + strings.Repeat("x", 999) + "\r\n", want: "554 5.6.0"},
		"long line, offered":      {offers: []string{"CHUNKING", "BINARYMIME"}, text: "\r\n" + strings.Repeat("x", 999), want: " BODY=BINARYMIME"},
		"too large":               {offers: []string{"SIZE 20"}, text: small, want: "552 5.3.4"},
		"size":                    {offers: []string{"SIZE 1000"}, text: small, want: " SIZE=32"},
		"no limit":                {offers: []string{"SIZE 0"}, text: small, want: " SIZE=32"},
		"UTF-8 sender":            {from: "jörg@us.example", text: small, want: "550 5.6.7"},
		"UTF-8 recipient":         {to: "jörg@b.example", text: small, want: "550 5.6.7"},
		"UTF-8 header":            {offers: []string{"8BITMIME"}, utf8: true, text: "A: ü\r\n\r\n", want: "550 5.6.7"},
		"UTF-8 for nothing":       {utf8: true, text: small},
		"UTF-8, offered":          {offers: []string{"SMTPUTF8"}, to: "jörg@b.example", text: small, want: " SMTPUTF8"},
		"no extension is ours":    {offers: []string{"X", "DSN-X"}, text: small},
	} {
		_, h := scripted(t, func(f *far) {
			f.greet(test.offers...)
			line := f.line()
			if line == "" || line == "QUIT" {
				return
			}
			_, got, _ := strings.Cut(line, ">")
			if got != test.want {
				f.t.Errorf("%s: got %q, want %q", name, line, test.want)
			}
			f.send("421 enough\r\n")
		})
		m := letter(test.text, "a@b.example")
		if test.from != "" {
			m.Envelope.From = mail.MustParseAddress(test.from)
		}
		if test.to != "" {
			m.Envelope.To[0].Address = mail.MustParseAddress(test.to)
		}
		m.Envelope.Body, m.Envelope.UTF8 = test.body, test.utf8
		err := h.Handle(t.Context(), m)
		h.Close()
		if strings.HasPrefix(test.want, "5") {
			wantRefusal(t, err, test.want)
			if e := hopError(t, err); e.Step != "offer" || !e.Elsewhere || e.RemoteMTA() != "" {
				t.Errorf("%s: %+v", name, e)
			}
		} else {
			wantRefusal(t, err, "451 4.0.0")
		}
	}
}

// Only the one recipient who needs SMTPUTF8 suffers when it is not offered.
func TestOneUTF8Recipient(t *testing.T) {
	_, h := scripted(t, func(f *far) { f.greet(); f.takeOne() })
	results := h.Carry(t.Context(), letter(small, "jörg@b.example", "a@b.example"))
	wantRefusal(t, results[0], "550 5.6.7")
	if results[1] != nil {
		t.Error(results[1])
	}
}

// Between our own stages there is no DATA.
func TestInnerWantsChunks(t *testing.T) {
	_, h := scripted(t, func(f *far) { f.greet("8BITMIME", "PIPELINING"); f.ended() })
	h.Inner = true
	wantRefusal(t, h.Handle(t.Context(), letter(small, "a@b.example")), "451 4.3.5")
}

// AUTH= names the submitter to those alone whom we trust (RFC 4954 section 5).
func TestSubmitterIsForFriends(t *testing.T) {
	for _, inner := range []bool{false, true} {
		want := "MAIL FROM:<joe@us.example> AUTH=<>"
		if inner {
			want = "MAIL FROM:<joe@us.example> AUTH=ann+2Bx@us.example"
		}
		_, h := scripted(t, func(f *far) {
			f.greet("AUTH PLAIN", "CHUNKING")
			if got := f.line(); got != want {
				f.t.Errorf("got %q, want %q", got, want)
			}
			f.send("421 enough\r\n")
		})
		h.Inner = inner
		m := letter(small, "a@b.example")
		m.Envelope.Submitter = "ann+x@us.example"
		wantRefusal(t, h.Handle(t.Context(), m), "451 4.0.0")
	}
}

// RFC 3461 section 5.2.2: where DSN is not offered its parameters are not sent, and a report
// of success is due from us.
func TestUnreported(t *testing.T) {
	for _, offer := range []string{"X", "DSN"} {
		_, h := scripted(t, func(f *far) {
			f.greet(offer)
			want := []string{"MAIL FROM:<joe@us.example>", "RCPT TO:<a@b.example>", "RCPT TO:<b@b.example>"}
			if offer == "DSN" {
				want = []string{want[0] + " RET=HDRS ENVID=x", want[1] + " NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;c@d.example", want[2] + " NOTIFY=NEVER"}
			}
			for _, w := range want {
				if got := f.line(); got != w {
					f.t.Errorf("got %q, want %q", got, w)
				}
				f.send("250 ok\r\n")
			}
			f.want("DATA")
			f.send("354 go\r\n")
			f.data()
			f.send("250 ok\r\n")
			f.ended()
		})
		m := letter(small, "a@b.example", "b@b.example")
		m.Envelope.ID, m.Envelope.Return = "x", mail.ReturnHeaders
		m.Envelope.To[0].Notify, m.Envelope.To[0].Original = mail.NotifySuccess|mail.NotifyFailure, "rfc822;c@d.example"
		m.Envelope.To[1].Notify = mail.NotifyNever
		results := h.Carry(t.Context(), m)
		u, ok := results[0].(Unreported)
		if ok != (offer == "X") || ok && !u.Relayed() || !ok && results[0] != nil || results[1] != nil {
			t.Errorf("%s: %v", offer, results)
		}
	}
}
