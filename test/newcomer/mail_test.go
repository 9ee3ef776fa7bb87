package newcomer

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/xml"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/smtp"
	"regexp"
	"strings"
	"syscall"
	"time"

	"stagecoach/lab"
	"stagecoach/rfc/dns"
)

// settings are what Thunderbird finds out about a server.
type settings struct {
	Host     string `xml:"hostname"`
	Port     string `xml:"port"`
	Security string `xml:"socketType"`
	User     string `xml:"username"`
}

// dial connects to a name of this world.
func (w *scene) dial(ctx context.Context, network, at string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(at)
	if err != nil {
		return nil, err
	}
	ips, err := dns.Addrs(ctx, w.Names(), host)
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	return d.DialContext(ctx, network, net.JoinHostPort(ips[0].String(), port))
}

// autoconfig asks as Thunderbird does, over HTTPS with a certificate that is trusted.
func (w *scene) autoconfig(ctx context.Context, user string) settings {
	w.t.Helper()
	client := &http.Client{Transport: &http.Transport{DialContext: w.dial, TLSClientConfig: &tls.Config{RootCAs: w.roots}, DisableKeepAlives: true}}
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://autoconfig."+domain+"/mail/config-v1.1.xml?emailaddress="+user, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := client.Do(q)
	if err != nil {
		w.t.Fatal(err)
	}
	defer r.Body.Close()
	var doc struct {
		Out []settings `xml:"emailProvider>outgoingServer"`
	}
	if err := xml.NewDecoder(r.Body).Decode(&doc); err != nil || r.StatusCode != http.StatusOK || len(doc.Out) == 0 {
		w.t.Fatalf("autoconfig: %s, %v", r.Status, err)
	}
	s := doc.Out[0] // the one that is tried first
	s.User = strings.ReplaceAll(s.User, "%EMAILADDRESS%", user)
	if s.Port != "465" || s.Security != "SSL" || s.User != user {
		w.t.Fatalf("autoconfig says %+v", s)
	}
	return s
}

// submit hands a mail in by those settings.
func (w *scene) submit(ctx context.Context, s settings, password, to, subject string) error {
	raw, err := w.dial(ctx, "tcp", net.JoinHostPort(s.Host, s.Port))
	if err != nil {
		return err
	}
	conn := tls.Client(raw, &tls.Config{ServerName: s.Host, RootCAs: w.roots})
	c, err := smtp.NewClient(conn, s.Host)
	if err != nil {
		return errors.Join(err, raw.Close())
	}
	defer c.Close()
	if err := c.Auth(smtp.PlainAuth("", s.User, password, s.Host)); err != nil {
		return err
	}
	if err := errors.Join(c.Mail(s.User), c.Rcpt(to)); err != nil {
		return err
	}
	data, err := c.Data()
	if err != nil {
		return err
	}
	fmt.Fprintf(data, "From: %s\r\nTo: %s\r\nSubject: %s\r\nDate: %s\r\nMessage-ID: <%s@%s>\r\n\r\nHello.\r\n",
		s.User, to, subject, time.Now().Format(time.RFC1123Z), rand.Text(), domain)
	return errors.Join(data.Close(), c.Quit())
}

// mailOut has a user write to somebody at each of the large receivers.
func (w *scene) mailOut(ctx context.Context, name, password string) {
	w.t.Helper()
	s := w.autoconfig(ctx, name+"@"+domain)
	for _, to := range []*lab.User{w.BigMail.AddUser("dora"), w.Lookout.User("bob"), w.Correspondent.User("carol")} {
		subject := "out " + rand.Text()[:8]
		if err := w.submit(ctx, s, password, to.Address.String(), subject); err != nil {
			w.t.Errorf("submitting to %s: %v", to.Address, err)
			continue
		}
		w.accepted(ctx, to, subject)
	}
}

// accepted waits for a mail, and sees that its receiver has nothing against it.
func (w *scene) accepted(ctx context.Context, to *lab.User, subject string) *lab.Received {
	w.t.Helper()
	got, err := to.Find(ctx, func(r *lab.Received) bool { return strings.Contains(r.Message().Header.Value("Subject"), subject) })
	if err != nil {
		w.t.Fatalf("%s has no mail %q: %v", to.Address, subject, err)
	}
	for _, method := range []string{"iprev", "spf", "dkim", "dmarc"} {
		if r := got.Result(method); r != "pass" {
			w.t.Errorf("%s found %s=%s", to.Address, method, r)
		}
	}
	if got.Peer.TLS == nil || got.Spam {
		w.t.Errorf("%s: over %s, spam %v", to.Address, got.Peer.Protocol(false), got.Spam)
	}
	return got
}

// confirmed has somebody agree, by an answer, to get a user's mail.
func (w *scene) confirmed(ctx context.Context, name, target string) {
	w.t.Helper()
	asked := w.accepted(ctx, w.BigMail.User(target), "Do you want the mail to "+name+"@"+domain)
	answer := lab.Outgoing{
		From: target + "@" + lab.BigMailDomain, To: []string{asked.Message().Header.Value("Reply-To")}, Subject: "Re: Do you want the mail", Text: "Yes.\n",
	}
	w.until(ctx, func() error { return w.BigMail.Send(ctx, answer) })
}

// mailIn has somebody write to a user of ours, who reads it at BigMail.
func (w *scene) mailIn(ctx context.Context, name, target string) {
	w.t.Helper()
	subject := "in " + rand.Text()[:8]
	mail := lab.Outgoing{From: "carol@" + lab.CorrespondentDomain, To: []string{name + "@" + domain}, Subject: subject, Text: "Hello.\n"}
	w.until(ctx, func() error { return w.Correspondent.Send(ctx, mail) })
	got := w.accepted(ctx, w.BigMail.User(target), subject)
	if from := got.Envelope.From; from.Domain() != domain || !strings.HasPrefix(from.Local(), "SRS0=") {
		w.t.Errorf("the mail of Carol's comes from %s", from)
	}
}

var password = regexp.MustCompile(`(?i)password[^:\n]*: *(\S+)`)

// secondUser is added while the service runs.
func (w *scene) secondUser(ctx context.Context) {
	w.t.Helper()
	w.BigMail.AddUser("ben.baker")
	out := w.stagecoach(ctx, "user", "add", "ben", "-t", "ben.baker@"+lab.BigMailDomain, "--config", "stagecoach.toml")
	m := password.FindStringSubmatch(out)
	if m == nil || !strings.Contains(out, "smtp."+domain) || !strings.Contains(out, "Thunderbird") {
		w.t.Fatalf("user add says:\n%s", out)
	}
	w.daemon.Process.Signal(syscall.SIGHUP) //nolint:errcheck // as systemctl reload does; it looks each minute anyway
	w.confirmed(ctx, "ben", "ben.baker")
	w.mailOut(ctx, "ben", m[1])
	w.mailIn(ctx, "ben", "ben.baker")
}

// until tries until there is no error.
func (w *scene) until(ctx context.Context, try func() error) {
	w.t.Helper()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			w.t.Fatalf("gave up: %v", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
