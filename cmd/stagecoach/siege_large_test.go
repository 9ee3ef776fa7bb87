package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"stagecoach/mail"
	"stagecoach/rfc/dkim"
)

// hostileMIME is a message of about size octets for which every parser of MIME pays: parts in
// parts in parts, a hundred thousand of them side by side, parameters in a thousand pieces,
// words that are encoded again and again.
func hostileMIME(size int) string {
	var b strings.Builder
	b.Grow(size + 1<<20)
	b.WriteString("From: dora@plain.example\r\nTo: ann\r\nMIME-Version: 1.0\r\nSubject:")
	for range 500 {
		b.WriteString("\r\n =?utf-8?b?" + strings.Repeat("4pyI", 15) + "?=")
	}
	b.WriteString("\r\nContent-Type: multipart/mixed;")
	for i := range 400 {
		fmt.Fprintf(&b, "\r\n\tboundary*%d*=%s;", i, strings.Repeat("%41", 20))
	}
	b.WriteString("\r\n\tboundary=\"n0\"\r\n")
	for range 500 {
		b.WriteString("X-Comment: " + strings.Repeat("(", 100) + "\r\n")
	}
	b.WriteString("\r\n")
	for i := range 3000 {
		fmt.Fprintf(&b, "--n%d\r\nContent-Type: multipart/mixed; boundary=n%d\r\n\r\n", i, i+1)
	}
	for i := range 100_000 {
		fmt.Fprintf(&b, "--n3000\r\nContent-Type: text/plain; name=%d\r\nContent-Transfer-Encoding: base64\r\n\r\n", i)
	}
	long := "--" + strings.Repeat("n", 900) + "\r\n"
	for b.Len() < size {
		b.WriteString(long)
	}
	return b.String()
}

// honestLarge is a mail with an attachment, signed by its author.
func honestLarge(t *testing.T, w *world, size int) string {
	t.Helper()
	key := siegeKey("plain.example")
	record, err := dkim.Record(key.Selector, key.Domain, key.Key.Public())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.SetRecords(record); err != nil {
		t.Fatal(err)
	}
	line := strings.Repeat("AbCd", 19) + "\r\n"
	m := mail.NewMessage([]byte("From: dora@plain.example\r\nTo: ann\r\nSubject: photographs\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: application/zip\r\nContent-Transfer-Encoding: base64\r\n\r\n" + strings.Repeat(line, size/len(line))))
	fields, err := dkim.Sign(m, key)
	if err != nil {
		t.Fatal(err)
	}
	m.Header.Prepend(fields...)
	return m.String()
}

// S15: large and hostile mail goes through all of the way in, unchanged, in a time and in
// memory that do not depend on what is in it.
func TestLargeMail(t *testing.T) {
	w := testWorld(t)
	sink, err := w.NewSink("sink.example")
	if err != nil {
		t.Fatal(err)
	}
	w.cheapLogin(t, "ann@"+sink.Domain)
	if err := w.AddZone("plain.example", "@ MX 10 mx.lookout.example.\n"); err != nil {
		t.Fatal(err)
	}
	pid, _ := serveProcess(t, w, func(c *config) { c.Verify.GreetDelay, c.Log.Level = 0, "warn" })
	for i, c := range []struct {
		name, text, want string
	}{
		{"25 MB of MIME", hostileMIME(25 << 20), "dkim=none"},
		{"20 MB of an attachment", honestLarge(t, w, 20<<20), "dkim=pass"},
	} {
		before := peakMemory(t, pid)
		a := w.mustAttack(t, stranger(i), w.mx())
		start := time.Now()
		if r := a.all("EHLO honest.example", "MAIL FROM:<dora@plain.example> SIZE="+itoa(len(c.text)), "RCPT TO:<ann@"+w.domain+">"); !r.good() {
			t.Fatal(r)
		}
		fmt.Fprintf(a.conn, "BDAT %d LAST\r\n%s", len(c.text), c.text)
		if r, err := a.reply(); err != nil || r.code != 250 {
			t.Fatalf("%s: %s, %v", c.name, r, err)
		}
		taken := time.Since(start)
		got, err := sink.Wait(soon(t), i+1)
		if err != nil {
			t.Fatal(err)
		}
		raw := string(got[i].Raw)
		rise := peakMemory(t, pid) - before
		t.Logf("%s: taken after %v, delivered after %v; the peak of memory rose by %d MB", c.name, taken, time.Since(start), rise>>20)
		if !strings.HasSuffix(raw, c.text) || !strings.Contains(raw[:4000], c.want) || !strings.Contains(raw[:4000], "X-Spamtacus: ") {
			t.Errorf("%s has changed, or was not verified:\n%.1500s", c.name, raw)
		}
		if took := time.Since(start); took > 15*time.Second {
			t.Errorf("%s took %v", c.name, took)
		}
		if rise > 48<<20 {
			t.Errorf("%s: memory rose by %d MB", c.name, rise>>20)
		}
	}
}

// peakMemory is the most that a process has had resident, in octets.
func peakMemory(t *testing.T, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile("/proc/" + itoa(pid) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	n, err := strconv.ParseInt(strings.Fields(rest + " 0")[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n << 10
}
