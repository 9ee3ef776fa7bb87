package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"stagecoach/lab"
	"stagecoach/lab/peer"
	"stagecoach/lab/postfix"
)

// postfixSettings make a mail server of corp.example, which sends to us as anybody does, and
// whose users may send through us to everybody else, with Ann's login.
const postfixSettings = `myhostname = mx.corp.example
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
smtputf8_enable = yes
smtp_bind_address = %[1]s
smtp_host_lookup = native
transport_maps = inline:{ {%[2]s = smtp:[%[3]s]:%[4]d} }
relayhost = [%[3]s]:4587
smtp_tls_security_level = verify
smtp_tls_verify_cert_match = %[5]s
smtp_tls_CAfile = %[6]s
smtp_sasl_auth_enable = yes
smtp_sasl_password_maps = inline:{ {[%[3]s]:4587 = ann@%[2]s:%[7]s} }
smtp_sasl_security_options = noanonymous
header_size_limit = 1024000
`

// Postfix is the server before us: it delivers to our MX, and it submits as one of our users
// does. What it hands in arrives byte for byte.
func TestPostfixBeforeUs(t *testing.T) {
	t.Parallel()
	peer.NeedRoot(t)
	peer.Need(t, "postfix", "postconf")
	w := testWorld(t)
	if err := w.AddZone("corp.example", "_dmarc TXT \"v=DMARC1; p=reject\"\n"); err != nil {
		t.Fatal(err)
	}
	corp, err := w.NewHost("mx.corp.example")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.SetRecords(fmt.Sprintf("corp.example. TXT \"v=spf1 ip4:%s -all\"", corp)); err != nil {
		t.Fatal(err)
	}
	// Postfix does not sign, so DMARC passes by SPF alone and no further than here: the
	// receiver behind us must be one that refuses nothing.
	far, err := w.NewProvider("far.example", lab.Policy{Rules: lab.Lenient()})
	if err != nil {
		t.Fatal(err)
	}
	w.cheapLogin(t, "ann@far.example")
	serveWith(t, w, func(c *config) { c.Verify.GreetDelay, c.Log.Level = 0, "none" })
	dir, err := os.MkdirTemp("/tmp", "siege-postfix-") // others than root must get there
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	i, err := postfix.Start(t.Context(), dir, "127.0.0.1", fmt.Sprintf(postfixSettings, corp, w.domain, w.address, w.SMTPPort(), w.host, w.path("ca.pem"), w.password))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(i.Log())
		}
		if err := i.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	odd := "Date: Sat, 21 Nov 2026 12:00:00 +0000\r\nMessage-ID: <odd@corp.example>\r\nX-Long: " + strings.Repeat("x", 900) + "\r\n\t folded \t\r\n\r\n" +
		"\r\n.\r\n..\r\n.dot\r\nFrom here\r\nGrüße \xff\x01 \t\r\n" + strings.Repeat("y", 998) + "\r\n\r\n\r\n"
	large := odd + strings.Repeat(strings.Repeat("z", 76)+"\r\n", 20_000)
	for n, c := range []struct {
		name, from, to, text string
		inbox                *lab.Inbox
		results              map[string]string
	}{
		{"to our MX", "dora@corp.example", "ann@" + w.domain, odd, far.AddUser("ann").Inbox, map[string]string{"spf": "pass", "iprev": "pass"}},
		{"to our MX, large", "dora@corp.example", "ann@" + w.domain, large, far.AddUser("ann").Inbox, map[string]string{"spf": "pass", "iprev": "pass"}},
		{"by Ann's login", "ann@" + w.domain, "bob@lookout.example", odd, w.Lookout.User("bob").Inbox, map[string]string{"spf": "pass", "dkim": "pass", "dmarc": "pass"}},
		{"by Ann's login, large", "ann@" + w.domain, "bob@lookout.example", large, w.Lookout.User("bob").Inbox, map[string]string{"spf": "pass", "dkim": "pass", "dmarc": "pass"}},
	} {
		text := fmt.Sprintf("From: %s\r\nTo: %s\r\nSubject: %s\r\n%s", c.from, c.to, c.name, c.text)
		a, _, err := attack(t.Context(), stranger(n), i.Listen, nil)
		if err != nil {
			t.Fatal(err)
		}
		stuffed := strings.ReplaceAll("\r\n"+text, "\r\n.", "\r\n..")[2:]
		if r := a.all("EHLO client.corp.example", "MAIL FROM:<"+c.from+"> BODY=8BITMIME", "RCPT TO:<"+c.to+">", "DATA", stuffed+"."); r.code != 250 {
			t.Fatalf("%s: Postfix says %s", c.name, r)
		}
		a.close()
		got, err := find(soon(t), c.inbox, c.name)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if err := want(got, c.results); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if !strings.HasSuffix(string(got.Raw), text) {
			t.Errorf("%s has changed:\n%.3000q", c.name, got.Raw)
		}
		if c.inbox == w.Lookout.User("bob").Inbox {
			continue
		}
		if h := string(got.Raw[:3000]); !strings.Contains(h, "dmarc=pass (p=reject dis=none) header.from=corp.example") || !strings.Contains(h, "spf=pass smtp.helo=mx.corp.example") && !strings.Contains(h, "spf=none smtp.helo=mx.corp.example") {
			t.Errorf("%s: our results:\n%s", c.name, h)
		}
	}
}
