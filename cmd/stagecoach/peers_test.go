package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"stagecoach/lab/peer"
)

// Ordinary clients submit mail, each in its own way, and it arrives signed.
func TestClientsSubmit(t *testing.T) {
	t.Parallel()
	w := testWorld(t)
	oneProcess(t, w)
	host, _, _ := strings.Cut(w.at(465), ":")
	user := "ann@" + w.domain
	mailText := func(subject string) string {
		return fmt.Sprintf("From: %s\nTo: bob@lookout.example\nSubject: %s\n\nHello\n.dot\n", user, subject)
	}
	file := func(name, text string) string {
		if err := os.WriteFile(w.path(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return w.path(name)
	}
	for name, command := range map[string]func(t *testing.T, subject string) *exec.Cmd{
		"swaks implicit TLS, PLAIN": func(t *testing.T, subject string) *exec.Cmd {
			swaks := peer.Need(t, "swaks")[0]
			return exec.Command(swaks, "--server", w.at(465), "--tls-on-connect", "--auth", "PLAIN", "--auth-user", user,
				"--auth-password", w.password, "--from", user, "--to", "bob@lookout.example", "--header", "Subject: "+subject)
		},
		"swaks STARTTLS, LOGIN, no domain, PIPELINING": func(t *testing.T, subject string) *exec.Cmd {
			swaks := peer.Need(t, "swaks")[0]
			return exec.Command(swaks, "--server", w.at(587), "--tls", "--auth", "LOGIN", "--auth-user", "ann", "--pipeline",
				"--auth-password", w.password, "--from", user, "--to", "bob@lookout.example", "--header", "Subject: "+subject)
		},
		"msmtp": func(t *testing.T, subject string) *exec.Cmd {
			msmtp := peer.Need(t, "msmtp")[0]
			conf := file("msmtprc", fmt.Sprintf("account default\nhost %s\nport 4465\ntls on\ntls_starttls off\ntls_trust_file %s\ntls_host_override %s\nauth plain\nuser %s\npasswordeval cat %s\nfrom %s\n",
				host, w.path("ca.pem"), w.host, user, w.path("password"), user))
			c := exec.Command(msmtp, "-C", conf, "bob@lookout.example")
			c.Stdin = strings.NewReader(mailText(subject))
			return c
		},
		"curl": func(t *testing.T, subject string) *exec.Cmd {
			curl := peer.Need(t, "curl")[0]
			c := exec.Command(curl, "-sS", "--fail", "--ssl-reqd", "--url", "smtps://"+w.host+":4465", "--connect-to", w.host+":4465:"+w.at(465), "--cacert", w.path("ca.pem"),
				"--netrc-file", file("netrc", fmt.Sprintf("machine %s login %s password %s\n", w.host, user, w.password)), "--login-options", "AUTH=PLAIN",
				"--mail-from", user, "--mail-rcpt", "bob@lookout.example", "--upload-file", "-", "--crlf")
			c.Stdin = strings.NewReader(mailText(subject))
			return c
		},
		"Python's smtplib": func(t *testing.T, subject string) *exec.Cmd {
			python := peer.NeedPython(t, "smtplib")
			return exec.Command(python, "-c", `
import smtplib, ssl, sys
host, user, pwfile, ca, subject = sys.argv[1:]
c = ssl.create_default_context(cafile=ca)
c.check_hostname = False
s = smtplib.SMTP(host, 4587, timeout=20)
s.starttls(context=c)
s.login(user, open(pwfile).read().strip())
s.sendmail(user, ["bob@lookout.example"], "From: %s\r\nTo: bob@lookout.example\r\nSubject: %s\r\n\r\nHello\r\n" % (user, subject))
s.quit()
`, host, user, w.path("password"), w.path("ca.pem"), subject)
		},
	} {
		t.Run(name, func(t *testing.T) {
			subject := "from " + name
			out, err := command(t, subject).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
			defer cancel()
			got, err := find(ctx, w.Lookout.User("bob").Inbox, subject)
			if err != nil {
				t.Fatal(err)
			}
			if err := want(got, map[string]string{"spf": "pass", "dkim": "pass", "dmarc": "pass"}); err != nil {
				t.Error(err)
			}
			h := got.Message().Header
			if h.Value("Message-ID") == "" || h.Value("Date") == "" {
				t.Error("Message-ID or Date is missing")
			}
		})
	}
}

// What a client may not do is refused with a clear reply.
func TestClientsAreRefused(t *testing.T) {
	t.Parallel()
	w := testWorld(t)
	oneProcess(t, w)
	swaks := peer.Need(t, "swaks")[0]
	user := "ann@" + w.domain
	login := []string{"--server", w.at(465), "--tls-on-connect", "--auth", "PLAIN", "--auth-user", user, "--auth-password", w.password}
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"another sender":     {append(login, "--from", "bob@"+w.domain, "--to", "bob@lookout.example"), "550 5.7.1"},
		"another From":       {append(login, "--from", user, "--to", "bob@lookout.example", "--h-From", "bob@lookout.example"), "550 5.7.1"},
		"no login":           {[]string{"--server", w.at(465), "--tls-on-connect", "--from", user, "--to", "bob@lookout.example"}, "530 5.7.0"},
		"login in clear":     {[]string{"--server", w.at(587), "--auth", "PLAIN", "--auth-user", user, "--auth-password", w.password, "--from", user, "--to", user}, "did not advertise"},
		"wrong password":     {[]string{"--server", w.at(465), "--tls-on-connect", "--auth", "PLAIN", "--auth-user", user, "--auth-password", "wrong", "--from", user, "--to", user}, "535 5.7.8"},
		"relaying":           {[]string{"--server", w.mx(), "--from", "x@correspondent.example", "--to", "bob@lookout.example"}, "550 5.7.1"},
		"unknown user":       {[]string{"--server", w.mx(), "--from", "x@correspondent.example", "--to", "nobody@" + w.domain}, "550 5.1.1"},
		"spoof of p=reject":  {[]string{"--server", w.mx(), "--from", "carol@correspondent.example", "--to", user}, "550 5.7.1"},
		"spoof of ourselves": {[]string{"--server", w.mx(), "--from", user, "--to", user}, "550 5.7.1"},
		"forged SRS":         {[]string{"--server", w.mx(), "--from", "<>", "--to", "SRS0=aaaaaaaaaaaaaaaa=aa=lookout.example=bob@" + w.domain}, "550 5.1.1"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := exec.Command(swaks, c.args...).CombinedOutput()
			if err == nil || !strings.Contains(strings.ToLower(string(out)), strings.ToLower(c.want)) {
				t.Errorf("want %q: %v\n%s", c.want, err, out)
			}
		})
	}
}
