package main

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"stagecoach/lab"
	"stagecoach/mail"
	"stagecoach/rfc/authres"
	"stagecoach/rfc/dkim"
)

// A spoof is a mail by which somebody at attack.example wants to be taken, at the far end of
// our forwarding, for somebody else. OURS stands for our domain.
type spoof struct {
	name, helo, from string // from is the argument of MAIL
	head             string // with LF
	sign             string // whose key signs: that of attack.example is the attacker's, that of others signed an honest mail
	change           func(*mail.Message)
}

var spoofs = []spoof{
	// In our own name.
	{name: "our user", from: "<ann@OURS>", head: "From: ann@OURS\n"},
	{name: "our user in From", from: "<x@attack.example>", head: "From: Ann <ann@OURS>\n"},
	{name: "our user in From, signed by another", from: "<x@attack.example>", head: "From: Ann <ann@OURS>\n", sign: "attack.example"},
	{name: "our user in MAIL FROM", from: "<ann@OURS>", head: "From: x@attack.example\n", sign: "attack.example"},
	{name: "a bounce of ours", from: "<>", head: "From: postmaster@OURS\n"},
	{name: "a bounce of our host", from: "<>", helo: "mx.OURS", head: "From: postmaster@mx.OURS\n"},
	{name: "a bounce of our host, signed by another", from: "<>", head: "From: postmaster@mx.OURS\n", sign: "attack.example"},
	{name: "a name below ours", from: "<x@attack.example>", head: "From: ceo@sales.OURS\n"},
	{name: "a bounce of a name below ours", from: "<>", head: "From: ceo@sales.OURS\n"},
	{name: "our other domain", from: "<x@attack.example>", head: "From: eve@second.example\n"},
	{name: "our other domain in MAIL FROM", from: "<eve@second.example>", head: "From: x@attack.example\n"},
	{name: "our other domain, no sender", from: "<>", head: "From: eve@second.example\n"},
	{name: "a return address of ours", from: "<SRS0=aaaaaaaaaaaaaaaa=aa=legit.example=lea@OURS>", head: "From: lea@legit.example\n"},
	{name: "Resent-From of ours", from: "<x@attack.example>", head: "Resent-From: ann@OURS\nFrom: lea@soft.example\n"},
	{name: "our name in upper case", from: "<x@attack.example>", head: "From: ANN@STAGECOACH.EXAMPLE\n"},

	// Of a domain that names our servers in its SPF record.
	{name: "includes us", from: "<lea@include.example>", head: "From: lea@include.example\n"},
	{name: "includes us, in From", from: "<x@attack.example>", head: "From: lea@include.example\n"},
	{name: "includes us, no sender", from: "<>", helo: "include.example", head: "From: lea@include.example\n"},
	{name: "includes us and rejects", from: "<lea@includes.example>", head: "From: lea@includes.example\n"},
	{name: "includes us, in a Sender", from: "<x@attack.example>", head: "Sender: x@attack.example\nFrom: lea@include.example\n", sign: "attack.example"},

	// Of a domain that rejects forgeries, and of one that does not.
	{name: "envelope", from: "<lea@legit.example>", head: "From: lea@legit.example\n"},
	{name: "From", from: "<x@attack.example>", head: "From: lea@legit.example\n", sign: "attack.example"},
	{name: "HELO", helo: "legit.example", from: "<>", head: "From: lea@legit.example\n"},
	{name: "soft", from: "<x@attack.example>", head: "From: lea@soft.example\n", sign: "attack.example"},
	{name: "soft, envelope too", from: "<lea@soft.example>", head: "From: lea@soft.example\n"},
	{name: "below soft", from: "<x@attack.example>", head: "From: lea@no.soft.example\n"},

	// Two readers, two authors.
	{name: "two From", from: "<x@attack.example>", head: "From: x@attack.example\nFrom: lea@soft.example\n", sign: "attack.example"},
	{name: "two From, turned", from: "<x@attack.example>", head: "From: lea@soft.example\nFrom: x@attack.example\n", sign: "attack.example"},
	{name: "two addresses", from: "<x@attack.example>", head: "From: lea@soft.example, x@attack.example\n"},
	{name: "two in brackets", from: "<x@attack.example>", head: "From: <lea@soft.example>(x)<x@attack.example>\n"},
	{name: "group", from: "<x@attack.example>", head: "From: lea@soft.example: x@attack.example;\n"},
	{name: "blank before the colon", from: "<x@attack.example>", head: "From : lea@soft.example\nFrom: x@attack.example\n"},
	{name: "blank before From", from: "<x@attack.example>", head: "Subject: x\n From: lea@soft.example\nFrom: x@attack.example\n"},
	{name: "first line is blank and From", from: "<x@attack.example>", head: " From: lea@soft.example\nFrom: x@attack.example\n"},
	{name: "folded before the colon", from: "<x@attack.example>", head: "From\n : lea@soft.example\nFrom: x@attack.example\n"},
	{name: "folded address", from: "<x@attack.example>", head: "From:\n\tlea@soft.example\n\t<x@attack.example>\n"},
	{name: "route in From", from: "<x@attack.example>", head: "From: <@soft.example,@x.example:x@attack.example>\n"},
	{name: "encoded address", from: "<x@attack.example>", head: "From: =?utf-8?b?PGxlYUBzb2Z0LmV4YW1wbGU+?= <x@attack.example>\n"},
	{name: "encoded and bare", from: "<x@attack.example>", head: "From: =?utf-8?q?lea=40soft.example?=\n"},
	{name: "NUL in From", from: "<x@attack.example>", head: "From: lea@soft.example\x00<x@attack.example>\n"},
	{name: "control in the name", from: "<x@attack.example>", head: "From\x0b: lea@soft.example\nFrom: x@attack.example\n"},
	{name: "display name", from: "<x@attack.example>", head: "From: \"lea@soft.example\" <x@attack.example>\n", sign: "attack.example"},
	{name: "no From", from: "<x@attack.example>", head: "Sender: lea@soft.example\n", sign: "attack.example"},
	{name: "address in a comment", from: "<x@attack.example>", head: "From: lea@soft.example(<x@attack.example>)\n"},

	// Results that were not had, and honest signatures on other mails.
	{name: "our results", from: "<x@attack.example>", head: "Authentication-Results: mx.OURS; dmarc=pass header.from=soft.example\nFrom: lea@soft.example\n"},
	{name: "their results", from: "<x@attack.example>", head: "Authentication-Results: mx.far.example; dmarc=pass header.from=soft.example\nFrom: lea@soft.example\n"},
	{name: "a chain that nobody sealed", from: "<x@attack.example>", head: "ARC-Seal: i=1; a=rsa-sha256; cv=none; d=OURS; s=demo; b=AAAA\n" +
		"ARC-Message-Signature: i=1; a=rsa-sha256; d=OURS; s=demo; h=from; bh=AAAA; b=AAAA\nARC-Authentication-Results: i=1; mx.OURS; dmarc=pass header.from=soft.example\nFrom: lea@soft.example\n"},
	{name: "second From on a signed mail", from: "<x@attack.example>", head: "From: lea@soft.example\n", sign: "soft.example",
		change: func(m *mail.Message) { m.Header.Prepend(mail.NewField("From", "x@attack.example")) }},
	{name: "second Subject on a signed mail", from: "<x@attack.example>", head: "From: lea@soft.example\nSubject: honest\n", sign: "soft.example",
		change: func(m *mail.Message) { m.Header.Prepend(mail.NewField("Subject", "pay here")) }},
	{name: "another body under a signature", from: "<x@attack.example>", head: "From: lea@soft.example\n", sign: "soft.example",
		change: retag("\r\n\r\nHello", "\r\n\r\nPay here")},
	{name: "another d=", from: "<x@attack.example>", head: "From: lea@soft.example\n", sign: "attack.example", change: retag("d=attack.example;", "d=soft.example;")},
	{name: "NUL in d=", from: "<x@attack.example>", head: "From: lea@soft.example\n", sign: "attack.example",
		change: retag("d=attack.example;", "d=soft.example\x00.attack.example;")},
	{name: "d= above the attacker", from: "<x@attack.example>", head: "From: lea@soft.example\n", sign: "attack.example", change: retag("d=attack.example;", "d=example;")},
}

// retag changes the text of a signed mail.
func retag(old, new string) func(*mail.Message) {
	return func(m *mail.Message) {
		*m = *mail.NewMessage([]byte(strings.Replace(m.String(), old, new, 1)))
	}
}

// siegeKey is the key of a domain's selector "siege".
func siegeKey(domain string) dkim.Signer {
	seed := make([]byte, ed25519.SeedSize)
	copy(seed, domain)
	return dkim.Signer{Domain: domain, Selector: "siege", Key: ed25519.NewKeyFromSeed(seed)}
}

// spoofWorld adds an attacker, those whom he plays, and a receiver that refuses nothing, so
// that what it finds can be seen.
func spoofWorld(t *testing.T, w *world) (attacker netip.Addr, far *lab.Inbox) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(w.AddZone("attack.example", "_dmarc TXT \"v=DMARC1; p=none\"\n"))
	attacker, err := w.NewHost("mx.attack.example")
	must(err)
	must(w.SetRecords(fmt.Sprintf("attack.example. TXT \"v=spf1 ip4:%[1]s -all\"\nmx.attack.example. TXT \"v=spf1 ip4:%[1]s -all\"", attacker)))
	must(w.AddZone("legit.example", "@ TXT \"v=spf1 ip4:192.0.2.1 -all\"\n_dmarc TXT \"v=DMARC1; p=reject\"\n"))
	must(w.AddZone("soft.example", "@ TXT \"v=spf1 ip4:192.0.2.1 -all\"\n_dmarc TXT \"v=DMARC1; p=none\"\n"))
	must(w.AddZone("include.example", "@ TXT \"v=spf1 include:"+w.domain+" -all\"\n_dmarc TXT \"v=DMARC1; p=none\"\n"))
	must(w.AddZone("includes.example", "@ TXT \"v=spf1 include:"+w.domain+" -all\"\n_dmarc TXT \"v=DMARC1; p=reject\"\n"))
	must(w.AddZone("second.example", "@ TXT \"v=spf1 include:"+w.domain+" -all\"\n"))
	// The worst that we may find: our own policy asks for nothing, and our host has a record.
	must(w.SetRecords("_dmarc." + w.domain + ". TXT \"v=DMARC1; p=none\"\n" + w.host + ". TXT \"v=spf1 a -all\""))
	for _, domain := range []string{"attack.example", "soft.example"} {
		k := siegeKey(domain)
		record, err := dkim.Record(k.Selector, k.Domain, k.Key.Public())
		must(err)
		must(w.SetRecords(record))
	}
	p, err := w.NewProvider("far.example", lab.Policy{Rules: lab.Lenient(), DMARC: "none"})
	must(err)
	must(w.addUser("ann", "ann@far.example"))
	must(os.MkdirAll(w.path("users/second.example"), 0o700))
	must(os.WriteFile(w.path("users/second.example/eve"), []byte(`{"targets":["ann@far.example"]}`), 0o600))
	return attacker, p.AddUser("ann").Inbox
}

// text makes the message.
func (s spoof) text(t *testing.T, w *world) string {
	t.Helper()
	ours := strings.NewReplacer("OURS", w.domain, "\n", "\r\n")
	m := mail.NewMessage([]byte(ours.Replace(s.head + "Date: Sat, 21 Nov 2026 12:00:00 +0000\nTo: ann@OURS\n\nHello\n")))
	if s.sign != "" {
		fields, err := dkim.Sign(m, siegeKey(s.sign))
		if err != nil && !errors.Is(err, dkim.ErrNoFrom) { // such a mail goes unsigned
			t.Fatalf("%s: %v", s.name, err)
		}
		m.Header.Prepend(fields...)
	}
	if s.change != nil {
		s.change(m)
	}
	// Who looks at the field before the first one must not find it folded into another.
	return strings.Replace(m.String(), "Date: ", "X-Case: "+s.name+"\r\nDate: ", 1)
}

// S17, S18: what we forward never makes a forgery genuine: it is refused, or the receiver
// does not find that it comes from whom it shows.
func TestSpoofsThroughUs(t *testing.T) {
	t.Parallel()
	w := testWorld(t)
	from, far := spoofWorld(t, w)
	serveWith(t, w, func(c *config) { c.Verify.GreetDelay, c.Log.Level = 0, "none" })
	ours := strings.NewReplacer("OURS", w.domain)
	forwarded := 0
	for _, s := range spoofs {
		a := w.mustAttack(t, from, w.mx())
		helo := s.helo
		if helo == "" {
			helo = "mx.attack.example"
		}
		text := s.text(t, w)
		r := a.all("EHLO "+ours.Replace(helo), "MAIL FROM:"+ours.Replace(s.from)+" BODY=8BITMIME", "RCPT TO:<ann@"+w.domain+">",
			fmt.Sprintf("BDAT %d LAST\r\n%s", len(text), strings.TrimSuffix(text, "\r\n")))
		a.close()
		if r.good() {
			forwarded++
		} else if r.code < 500 {
			t.Errorf("%s: %s", s.name, r)
		}
	}
	got, err := far.Wait(soon(t), forwarded)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	if n := len(far.Mails()); n != forwarded {
		t.Errorf("%d of %d mails arrived", n, forwarded)
	}
	for _, r := range got {
		checkSpoof(t, w, r)
	}
	t.Logf("%d spoofs: %d refused, %d forwarded without a pass", len(spoofs), len(spoofs)-forwarded, forwarded)
}

// checkSpoof demands that nobody who reads the results, the receiver's or ours, is told that
// the mail comes from anybody but the attacker.
func checkSpoof(t *testing.T, w *world, r *lab.Received) {
	t.Helper()
	m := r.Message()
	name := m.Header.Value("X-Case")
	all := r.Results.Results
	for f := range m.Header.Fields(authres.FieldName) {
		if results, err := authres.Parse(f.Value()); err == nil && results.ID == w.host {
			all = append(all, results.Results...)
		}
	}
	for _, res := range all {
		who := res.Prop("header", "from") + res.Prop("header", "d")
		if (res.Method == "dmarc" || res.Method == "dkim") && res.Value == "pass" && who != "attack.example" {
			t.Errorf("%s: arrives with %s=pass for %s, sender <%s>\n%s", name, res.Method, who, r.Envelope.From, m.String())
		}
	}
}
