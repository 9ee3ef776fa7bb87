package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"stagecoach/lab"
	"stagecoach/mail"
	"stagecoach/rfc/dkim"
)

// An oddity writes honest mail of odd shapes, always the same for the same seed.
type oddity struct{ *rand.Rand }

var (
	oddWords = []string{"a", "Grüße", "日本語", ".", "..", "-", "From here", "From ", "=20", "\t", "  ", "\x0b", "\xff\xfe", "word", "=?utf-8?q?a=40b?=", "\x1b[31m"}
	oddEnds  = []string{"", " ", "  \t ", "\t"}
)

func (o oddity) word() string { return oddWords[o.IntN(len(oddWords))] }

// line is a line of a body, of at most 998 octets.
func (o oddity) line() string {
	if o.IntN(20) == 0 {
		return strings.Repeat("x", 998)
	}
	var b strings.Builder
	for range o.IntN(12) {
		b.WriteString(o.word())
	}
	return b.String() + oddEnds[o.IntN(len(oddEnds))]
}

// body is a body: empty, without an end, with blank lines at its end, or large.
func (o oddity) body() string {
	var b strings.Builder
	lines := o.IntN(30)
	if o.IntN(20) == 0 {
		lines = 6000 + o.IntN(1000) // more than stays in memory
	}
	for range lines {
		b.WriteString(o.line() + "\r\n")
	}
	b.WriteString(strings.Repeat("\r\n", o.IntN(4)))
	switch o.IntN(4) {
	case 0:
		b.WriteString("no end")
	case 1:
		b.WriteString(" ")
	}
	return b.String()
}

// head is a header of fields with blanks, folds and octets where they are allowed.
func (o oddity) head(from, to string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "From: %s%s\r\nTO:%s\r\nSubject: %s\r\n", from, oddEnds[o.IntN(4)], to, "Grüße "+oddEnds[o.IntN(4)])
	if o.IntN(2) == 0 {
		b.WriteString("Date:   Sat, 21 Nov 2026   12:00:00 +0000\r\nMIME-Version: 1.0 (odd)\r\nContent-Type: text/plain;\r\n\tcharset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n")
	}
	for i := range o.IntN(5) {
		fmt.Fprintf(&b, "X-Odd-%d:", i)
		for range o.IntN(60) {
			b.WriteString("\r\n" + oddEnds[1+o.IntN(3)] + "folded " + strings.Repeat("y", o.IntN(100)))
		}
		b.WriteString("\r\n")
	}
	b.WriteString("References: <" + strings.Repeat("r", o.IntN(900)) + "@honest.example>\r\n")
	if o.IntN(3) == 0 {
		b.WriteString("cc : carol@honest.example\r\nKeywords\t: \t\r\n")
	}
	return b.String()
}

// S18: honest mail keeps its signature and every octet on its way through us.
func TestHonestMailSurvives(t *testing.T) {
	t.Parallel()
	w := testWorld(t)
	p, err := w.NewProvider("far.example", lab.Policy{Rules: lab.Lenient()})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.addUser("ann", "ann@far.example"); err != nil {
		t.Fatal(err)
	}
	far := p.AddUser("ann").Inbox
	if err := w.AddZone("honest.example", "_dmarc TXT \"v=DMARC1; p=reject\"\n"); err != nil {
		t.Fatal(err)
	}
	key := siegeKey("honest.example")
	record, err := dkim.Record(key.Selector, key.Domain, key.Key.Public())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.SetRecords(record); err != nil {
		t.Fatal(err)
	}
	serveWith(t, w, func(c *config) { c.Verify.GreetDelay, c.Log.Level = 0, "none" })

	const count, senders = 200, 4
	sent := make([]string, count)
	for i := range sent {
		o := oddity{rand.New(rand.NewPCG(17, uint64(i)))}
		k := key
		k.Header, k.Body = dkim.Canon(i&1), dkim.Canon(i>>1&1)
		m := mail.NewMessage([]byte(fmt.Sprintf("X-Case: %d\r\n", i) + o.head("dora@honest.example", "ann@"+w.domain) + "\r\n" + o.body()))
		fields, err := dkim.Sign(m, k)
		if err != nil {
			t.Fatal(err)
		}
		m.Header.Prepend(fields...)
		sent[i] = m.String()
	}
	var all sync.WaitGroup
	for n := range senders {
		a := w.mustAttack(t, stranger(n), w.mx())
		all.Go(func() {
			a.say("EHLO honest.example")
			for i := n; i < count; i += senders {
				if r := a.all("MAIL FROM:<dora@honest.example> BODY="+bodyType(i), "RCPT TO:<ann@"+w.domain+">"); !r.good() {
					t.Errorf("%d: %s", i, r)
				}
				fmt.Fprintf(a.conn, "BDAT %d LAST\r\n%s", len(sent[i]), sent[i])
				if r, err := a.reply(); err != nil || r.code != 250 {
					t.Errorf("%d: %s %v", i, r, err)
				}
			}
		})
	}
	all.Wait()
	got, err := far.Wait(soon(t), count)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, r := range got {
		name := r.Message().Header.Value("X-Case")
		seen[name] = true
		var i int
		fmt.Sscan(name, &i)
		if bodyType(i) != "BINARYMIME" && !strings.HasSuffix(sent[i], "\r\n") {
			sent[i] += "\r\n" // a line of text has one, and signatures count it in
		}
		if got := string(r.Raw); !strings.HasSuffix(got, sent[i]) {
			t.Errorf("%s has changed: it ended with %q, and ends with %q", name, end(sent[i]), end(got))
		}
		if err := want(r, map[string]string{"dkim": "pass", "dmarc": "pass"}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(seen) != count {
		t.Errorf("%d of %d arrived", len(seen), count)
	}
}

// bodyType has every third mail declared as binary.
func bodyType(i int) string {
	if i%3 == 0 {
		return "BINARYMIME"
	}
	return "8BITMIME"
}

func end(s string) string { return s[max(0, len(s)-40):] }
