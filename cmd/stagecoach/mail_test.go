package main

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stagecoach/mail"
	"stagecoach/rfc/smtp"
)

// The examples of the mail tools, in their help and in docs/tools.md, are commands that the
// program understands.
func TestMailExamples(t *testing.T) {
	var c cli
	p, err := parser(&c)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("../../docs/tools.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(doc)
	for _, leaf := range p.Model.Leaves(true) {
		if strings.HasPrefix(leaf.Path(), "stagecoach mail ") {
			text += "\n" + leaf.Detail
		}
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "$ "), " #")
		for command := range strings.SplitSeq(line, " | ") {
			if !strings.HasPrefix(command, "stagecoach mail ") {
				continue
			}
			n++
			args := words(command)[1:]
			for i, a := range args {
				if strings.HasPrefix(a, "@") {
					args[i] = "@" + secret
				}
			}
			var c cli
			p, err := parser(&c)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.Parse(args); err != nil {
				t.Errorf("%s: %v", command, err)
			}
		}
	}
	if n < 30 {
		t.Errorf("%d examples", n)
	}
}

// words splits a command as a shell does, without what it redirects.
func words(command string) []string {
	var out []string
	var quote rune
	word, open := "", false
	for _, r := range command + " " {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word += string(r)
		case r == '"' || r == '\'':
			quote, open = r, true
		case r == ' ':
			if open || word != "" && !strings.ContainsAny(word, "<>&") {
				out = append(out, word)
			}
			word, open = "", false
		default:
			word += string(r)
		}
	}
	return out
}

func TestReceivedSPF(t *testing.T) {
	ip, helo, from := receivedSPF(`pass (mx: domain of a@b.org; x=y) client-ip=192.0.2.1; envelope-from="a@b.org"; helo=c.org;`)
	if ip != netip.MustParseAddr("192.0.2.1") || helo != "c.org" || from != "a@b.org" {
		t.Errorf("%v %q %q", ip, helo, from)
	}
	if ip, _, _ := receivedSPF("client-ip=nothing"); ip.IsValid() {
		t.Error(ip)
	}
}

func TestPrintable(t *testing.T) {
	if got := printable("a\x1b[31mb\r\n\u202eé\x00\u0085"); got != `a\u001b[31mb\u000d\u000a\u202eé\u0000\u0085` {
		t.Errorf("%q", got)
	}
}

func TestExitStatus(t *testing.T) {
	for want, err := range map[int]error{
		1: errors.New("trouble"), exitNo: judged(mail.Reject(550, "5.1.1", "no")), exitLater: judged(mail.Defer(451, "4.4.1", "not now")),
	} {
		if got := exitStatus(err); got != want {
			t.Errorf("%v: status %d, want %d", err, got, want)
		}
	}
	if judged(nil) != nil {
		t.Error("nothing is an error")
	}
}

func TestFates(t *testing.T) {
	m := &mail.Mail{}
	for range 3 {
		m.Envelope.To = append(m.Envelope.To, mail.Recipient{Address: mail.MustParseAddress("a@b.org")})
	}
	fine := []error{nil, smtp.Unreported{Host: "x"}, nil}
	if err := fates(m, fine); err != nil {
		t.Error(err)
	}
	if err := fates(m, []error{nil, mail.Defer(451, "4.0.0", "x"), mail.Reject(550, "5.0.0", "x")}); exitStatus(err) != exitNo {
		t.Error(err)
	}
	if err := fates(m, []error{nil, errors.New("x"), nil}); exitStatus(err) != exitLater {
		t.Error(err)
	}
}

func FuzzReceivedSPF(f *testing.F) {
	f.Add("pass (x) client-ip=192.0.2.1; helo=a; envelope-from=b@c")
	f.Fuzz(func(t *testing.T, s string) {
		if ip, _, _ := receivedSPF(s); ip.Is4In6() {
			t.Fatalf("%q: %v", s, ip)
		}
	})
}
