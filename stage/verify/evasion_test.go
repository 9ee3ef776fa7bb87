package verify

import (
	"strings"
	"testing"

	"stagecoach/mail"
	"stagecoach/rfc/authres"
)

// The evasions of "Composition Kills" (Chen, Paxson, Jiang; USENIX Security 2020), in words of
// our own: an attacker with a domain in good order wants his mail to show legit.example and to
// read dmarc=pass. Each must be refused, or not pass for the domain that is shown.
//
// An envelope that is no address is refused by the server at MAIL; here that counts as well.
var evasions = []struct {
	name       string
	helo, from string
	text       string
	sign       []string
	mutate     func(*mail.Message)
	dkim       string // which result it has to be, so that no case rests on the hash alone
}{
	{name: "A1 subdomain that does not exist in MAIL FROM", helo: "mx.attack.example", from: "x@no.legit.example",
		text: "From: lea@legit.example\n"},
	{name: "A2 empty MAIL FROM, HELO of the victim", helo: "legit.example", from: "",
		text: "From: lea@legit.example\n"},
	{name: "A2b HELO passes, MAIL FROM of the victim", helo: "mx.attack.example", from: "lea@legit.example",
		text: "From: lea@legit.example\n"},
	{name: "A3 NUL ends the selector early", helo: "mx.attack.example", from: "x@attack.example",
		text: "From: lea@legit.example\n", sign: []string{"attack.example"},
		mutate: retag("d=attack.example;", "d=legit.example;", "s=s1;", "s=s1._domainkey.attack.example.\x00.x;"), dkim: "dkim=neutral"},
	{name: "A3b NUL ends the domain early", helo: "mx.attack.example", from: "x@attack.example",
		text: "From: lea@legit.example\n", sign: []string{"attack.example"},
		mutate: retag("d=attack.example;", "d=attack.example\x00.legit.example;"), dkim: "dkim=neutral"},
	{name: "A4 quotes in d=", helo: "mx.attack.example", from: "x@attack.example",
		text: "From: lea@legit.example\n", sign: []string{"attack.example"},
		mutate: retag("d=attack.example;", "d=legit.example'a.attack.example;"), dkim: "dkim=neutral"},
	{name: "A4b comment in d=", helo: "mx.attack.example", from: "x@attack.example",
		text: "From: lea@legit.example\n", sign: []string{"attack.example"},
		mutate: retag("d=attack.example;", "d=legit.example(.attack.example;"), dkim: "dkim=neutral"},
	{name: "A5 result injected through d=", helo: "mx.attack.example", from: "x@attack.example",
		text: "From: lea@legit.example\n", sign: []string{"attack.example"},
		mutate: retag("d=attack.example;", "d=attack.example\"\\; dmarc=pass header.from=legit.example;"), dkim: "dkim=neutral"},
	{name: "A6 comment in MAIL FROM", helo: "mx.attack.example", from: "x@legit.example(.attack.example",
		text: "From: lea@legit.example\n"},
	{name: "A6b result injected through MAIL FROM", helo: "mx.attack.example", from: `"; dmarc=pass header.from=legit.example; x=y"@attack.example`,
		text: "From: lea@legit.example\n"},
	{name: "A7 quoted local part with the victim", helo: "mx.attack.example", from: `"lea@legit.example,"@attack.example`,
		text: "From: lea@legit.example\n"},
	{name: "A8 single quotes", helo: "mx.attack.example", from: `lea@legit.example'@attack.example`,
		text: "From: lea@legit.example\n"},
	{name: "A9 source route in MAIL FROM", helo: "mx.attack.example", from: "@legit.example,@x.example:x@attack.example",
		text: "From: lea@legit.example\n"},
	{name: "A9b injection through HELO", helo: "x; dmarc=pass header.from=legit.example", from: "x@attack.example",
		text: "From: lea@legit.example\n"},
	{name: "A10 two From fields", helo: "mx.attack.example", from: "x@attack.example",
		text: "From: x@attack.example\nFrom: lea@legit.example\n"},
	{name: "A10b the other way round", helo: "mx.attack.example", from: "x@attack.example",
		text: "From: lea@legit.example\nFrom: x@attack.example\n"},
	{name: "A11 blank before From", helo: "mx.attack.example", from: "x@attack.example",
		text: " From: lea@legit.example\nFrom: x@attack.example\n"},
	{name: "A12 blank behind From", helo: "mx.attack.example", from: "x@attack.example",
		text: "From : lea@legit.example\nFrom: x@attack.example\n"},
	{name: "A12b blank behind From, alone", helo: "mx.attack.example", from: "x@attack.example",
		text: "From : lea@legit.example\nSender: x@attack.example\n"},
	{name: "A13 folded before the colon", helo: "mx.attack.example", from: "x@attack.example",
		text: "From\n : lea@legit.example\nFrom: x@attack.example\n"},
	{name: "A14 control character in the name", helo: "mx.attack.example", from: "x@attack.example",
		text: "From\x0b: lea@legit.example\nFrom: x@attack.example\n"},
	{name: "A15 Sender and Resent-From", helo: "mx.attack.example", from: "x@attack.example",
		text: "Sender: x@attack.example\nResent-From: x@attack.example\nFrom: lea@legit.example\n"},
	{name: "A15b no From", helo: "mx.attack.example", from: "x@attack.example",
		text: "Sender: lea@legit.example\n"},
	{name: "A16 two addresses", helo: "mx.attack.example", from: "x@attack.example",
		text: "From: lea@legit.example, x@attack.example\n"},
	{name: "A16b encoded address first", helo: "mx.attack.example", from: "x@attack.example",
		text: "From: =?utf-8?b?bGVhQGxlZ2l0LmV4YW1wbGU=?=, x@attack.example\n"},
	{name: "A16c encoded address hides the other", helo: "mx.attack.example", from: "x@attack.example",
		text: "From: =?utf-8?b?PGxlYUBsZWdpdC5leGFtcGxlPg==?= <x@attack.example>\n"},
	{name: "A17 two angle addresses and a comment", helo: "mx.attack.example", from: "x@attack.example",
		text: "From: <lea@legit.example>(x)<x@attack.example>\n"},
	{name: "A17b source route", helo: "mx.attack.example", from: "x@attack.example",
		text: "From: <@legit.example,@x.example:x@attack.example>\n"},
	{name: "A17c quoted pair", helo: "mx.attack.example", from: "x@attack.example",
		text: "From: lea@legit.example\\,<x@attack.example>\n"},
	{name: "A17d NUL in the address", helo: "mx.attack.example", from: "x@attack.example",
		text: "From: lea@legit.example\x00@attack.example\n"},
	{name: "A17e address in a comment", helo: "mx.attack.example", from: "x@attack.example",
		text: "From: lea@legit.example(<x@attack.example>)\n"},
	{name: "A17f group", helo: "mx.attack.example", from: "x@attack.example",
		text: "From: lea@legit.example: x@attack.example;\n"},
	{name: "A18 second From added to a signed mail", helo: "mx.attack.example", from: "x@attack.example",
		text: "From: lea@legit.example\nSubject: x\n", sign: []string{"legit.example"},
		mutate: func(m *mail.Message) { m.Header.Prepend(mail.NewField("From", "x@attack.example")) }},
	{name: "A18b signed mail of the victim with the body replaced (l=)", helo: "mx.attack.example", from: "x@attack.example",
		text: "From: lea@legit.example\nSubject: x\n", sign: []string{"legit.example"},
		mutate: retag("v=1;", "v=1; l=0;"), dkim: "dkim=policy"},
	{name: "A18c From not signed", helo: "mx.attack.example", from: "x@attack.example",
		text: "From: lea@legit.example\nSubject: x\n", sign: []string{"legit.example"},
		mutate: retag("h=From:From:", "h=X-From:"), dkim: "dkim=permerror"},
	{name: "A18d forged result on top", helo: "mx.attack.example", from: "x@attack.example",
		text: "Authentication-Results: mx.our.example; dmarc=pass header.from=legit.example\nFrom: lea@legit.example\n"},
}

// retag replaces text in the signature of a message.
func retag(pairs ...string) func(*mail.Message) {
	return func(m *mail.Message) {
		var changed mail.Field
		for f := range m.Header.Fields("DKIM-Signature") {
			raw := f.Raw()
			for i := 0; i < len(pairs); i += 2 {
				if !strings.Contains(raw, pairs[i]) {
					panic(raw + " has no " + pairs[i])
				}
				raw = strings.Replace(raw, pairs[i], pairs[i+1], 1)
			}
			changed = fieldOf(raw)
		}
		m.Header.Strike(func(f mail.Field) bool { return f.Is("DKIM-Signature") })
		m.Header.Prepend(changed)
	}
}

func TestEvasions(t *testing.T) {
	for _, e := range evasions {
		for _, labelOnly := range []bool{false, true} {
			if _, err := mail.ParseAddress(e.from); e.from != "" && err != nil {
				continue // refused by the server
			}
			v, s := newVerifier(t, newWorld(t))
			v.LabelOnly = labelOnly
			m := incoming{attackIP, e.helo, e.from, e.text, e.sign}.mail(t)
			if e.mutate != nil {
				e.mutate(m.Message)
			}
			if err := v.Handle(t.Context(), m); err != nil {
				if !mail.IsPermanent(err) {
					t.Errorf("%s: %v", e.name, err)
				}
				continue
			}
			checkNoPass(t, e.name, s.got)
			if got := values(topResults(t, s.got)); !strings.Contains(got, e.dkim) {
				t.Errorf("%s: %s, want %s", e.name, got, e.dkim)
			}
		}
	}
}

// checkNoPass demands that nothing in the header which is read as ours says pass for the
// victim.
func checkNoPass(t *testing.T, name string, m *mail.Mail) {
	t.Helper()
	n := 0
	for f := range m.Message.Header.Fields(authres.FieldName) {
		r, err := authres.Parse(f.Value())
		if err != nil || r.ID != ourName {
			t.Errorf("%s: a field that is not ours: %q, %v", name, f.Raw(), err)
		}
		for _, res := range r.Results {
			victim := strings.Contains(res.Prop("header", "from")+res.Prop("header", "d"), "legit.example")
			if res.Method == "dmarc" {
				n++
			}
			if (res.Method == "dmarc" || res.Method == "dkim") && res.Value == "pass" && victim {
				t.Errorf("%s: passed on with %q", name, f.Raw())
			}
		}
	}
	if n != 1 {
		t.Errorf("%s: %d results of DMARC", name, n)
	}
}

// fieldOf makes a field of its raw bytes, whatever is in them.
func fieldOf(raw string) mail.Field {
	h := mail.ParseHeader(raw)
	for f := range h.All() {
		return f
	}
	return mail.Field{}
}
