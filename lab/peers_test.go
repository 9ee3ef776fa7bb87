package lab

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"stagecoach/lab/peer"
)

// dig, which knows nothing of us, reads what the name servers say, and walks as we do.
func TestDig(t *testing.T) {
	dig := peer.Need(t, "dig")[0]
	l := start(t)
	port := strconv.Itoa(int(l.DNSPort()))
	ask := func(place int, args ...string) string {
		t.Helper()
		out, err := exec.Command(dig, append([]string{"@" + l.net.at(place).String(), "-p", port, "+time=2", "+tries=2"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("dig %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	addr := l.BigMail.Addr.String()
	for _, c := range []struct {
		place int
		args  []string
		want  []string
	}{
		{resolverPlace, []string{"bigmail.example", "MX"}, []string{"status: NOERROR", "flags: qr rd ra", "10 mx.bigmail.example."}},
		{resolverPlace, []string{"+tcp", "mx.bigmail.example", "A"}, []string{"status: NOERROR", "(TCP)", "A\t" + addr}},
		{resolverPlace, []string{"-x", addr}, []string{"PTR\tmx.bigmail.example."}},
		{resolverPlace, []string{"nobody.bigmail.example", "A"}, []string{"status: NXDOMAIN", "SOA"}},
		{resolverPlace, []string{"mx.bigmail.example", "AAAA"}, []string{"status: NOERROR", "ANSWER: 0", "SOA"}},
		{rootPlace, []string{"+norec", "bigmail.example", "MX"}, []string{"ANSWER: 0", "example.\t\t300\tIN\tNS\ta.tld.example.", "a.tld.example."}},
		{tldPlace, []string{"+norec", "bigmail.example", "MX"}, []string{"ANSWER: 0", "NS\tns.hosting.example."}},
		{hostingPlace, []string{"+norec", "_dmarc.correspondent.example", "TXT"}, []string{"flags: qr aa", "v=DMARC1; p=reject"}},
		{hostingPlace, []string{"nothing.test", "A"}, []string{"status: REFUSED"}},
	} {
		out := ask(c.place, c.args...)
		for _, w := range c.want {
			if !strings.Contains(out, w) {
				t.Errorf("dig %v at place %d has no %q:\n%s", c.args, c.place, w, out)
			}
		}
	}
	// +trace starts at the root that the resolver names, by port 53: so it is done by hand,
	// from referral to referral.
	if out := ask(resolverPlace, "+short", "bigmail.example", "TXT"); out != "\"v=spf1 ip4:"+addr+" -all\"\n" {
		t.Errorf("%q", out)
	}
}

// swaks brings mail to the big receivers, from an address of its own.
func TestSwaks(t *testing.T) {
	swaks := peer.Need(t, "swaks")[0]
	if out, _ := exec.Command(swaks, "--support").CombinedOutput(); !strings.Contains(string(out), "=== TLS supported") {
		peer.Missing(t, "swaks has no TLS: it wants libio-socket-ssl-perl")
	}
	l := start(t)
	ann := l.BigMail.AddUser("ann")
	l.Lookout.AddUser("ann")
	if err := l.AddZone("visitor.example", "@ MX 10 mx"); err != nil {
		t.Fatal(err)
	}
	from, err := l.NewHost("mx.visitor.example")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.SetRecords(`visitor.example. TXT "v=spf1 mx -all"`); err != nil {
		t.Fatal(err)
	}
	send := func(p *Provider, to string, args ...string) (string, bool) {
		t.Helper()
		out, err := exec.Command(swaks, append([]string{"--server", p.Addr.String(), "--port", strconv.Itoa(int(l.SMTPPort())), "--local-interface", from.String(),
			"--ehlo", "mx.visitor.example", "--from", "eve@visitor.example", "--to", to + "@" + p.Domain}, args...)...).CombinedOutput()
		return string(out), err == nil
	}
	if out, ok := send(l.BigMail, "ann", "--tls"); !ok {
		t.Fatal(out)
	}
	mails, err := ann.Wait(within(t, 5*time.Second), 1)
	if err != nil || mails[0].Result("spf") != "pass" || mails[0].Result("dkim") != "none" || mails[0].Result("iprev") != "pass" {
		t.Fatal(err, mails)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, l.CA.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, ok := send(l.BigMail, "ann", "--tls", "--tls-verify", "--tls-ca-path", ca); !ok {
		t.Errorf("with the certificate checked: %s", out)
	}
	for _, c := range []struct {
		p    *Provider
		to   string
		want string
		args []string
	}{
		{l.BigMail, "nobody", "550 5.1.1", []string{"--tls"}},
		{l.BigMail, "ann", "550 5.7.29", nil},
		{l.BigMail, "ann", "550 5.7.26", []string{"--tls", "--from", "bob@correspondent.example"}},
		{l.Lookout, "ann", "550 5.7.515", []string{"--tls"}},
		{l.Lookout, "ann", "550 5.7.509", []string{"--tls", "--h-From", "bob@correspondent.example"}},
	} {
		if out, ok := send(c.p, c.to, c.args...); ok || !strings.Contains(out, c.want) {
			t.Errorf("%s to %s has no %q:\n%s", c.args, c.p.Domain, c.want, out)
		}
	}
}
