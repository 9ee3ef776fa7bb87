package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/smtp"
	"os"
	"path/filepath"
	"strings"
	"time"

	"stagecoach/account"
	"stagecoach/lab"
	"stagecoach/stage/sign"
)

// A world is a lab with a domain of ours in it: its records, its one user, its keys. The
// service runs in it, in one process or in many; the rounds of mail are the same.
type world struct {
	*lab.Lab
	domain   string
	host     string     // of the service
	address  netip.Addr // of the service
	folder   string     // users, keys, certificate, queue
	password string     // of ann@domain
	keys     []sign.Key
	own      *ownNames // nil: the lab's hosting server has our zone
}

const (
	demoDomain = "stagecoach.example"
	demoHost   = "mx." + demoDomain
)

// newWorld lays out a lab and writes what the service needs into the folder. own has the service
// be the name server of its zone, and get its certificate by ACME; otherwise the lab's hosting
// server has the zone, and the lab's authority made the certificate.
func newWorld(ctx context.Context, folder string, own bool) (*world, error) {
	l, err := lab.Start(ctx, lab.Config{})
	if err != nil {
		return nil, err
	}
	w := &world{Lab: l, domain: demoDomain, host: demoHost, folder: folder, password: strings.ToLower(rand.Text()[:16])}
	publish := w.publish
	if own {
		publish = func() error { return w.ownZone(ctx) }
	}
	if err := w.furnish(publish); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return w, nil
}

func (w *world) furnish(publish func() error) (err error) {
	w.BigMail.AddUser("ann.archer") // where Ann reads her mail
	w.Lookout.AddUser("bob")
	w.Correspondent.AddUser("carol")
	if w.keys, err = signingKeys(signOptions{Selector: "demo"}, w.folder); err != nil {
		return err
	}
	if err := publish(); err != nil {
		return err
	}
	chain, key, err := w.CA.IssuePEM(w.host, w.domain)
	if err != nil {
		return err
	}
	err = errors.Join(os.WriteFile(w.path("chain.pem"), chain, 0o644), os.WriteFile(w.path("key.pem"), key, 0o600),
		os.WriteFile(w.path("ca.pem"), w.roots(), 0o644), os.WriteFile(w.path("password"), []byte(w.password+"\n"), 0o600))
	if err != nil {
		return err
	}
	return w.addUser("ann", "ann.archer@"+lab.BigMailDomain)
}

func (w *world) path(name string) string { return filepath.Join(w.folder, name) }

// publish puts our domain into the lab's DNS, as an operator would at a registrar.
func (w *world) publish() error {
	text := fmt.Sprintf("@ MX 10 %[1]s.\n@ TXT \"v=spf1 mx -all\"\n_dmarc TXT \"v=DMARC1; p=reject\"\n", w.host)
	if err := w.AddZone(w.domain, text); err != nil {
		return err
	}
	var err error
	if w.address, err = w.NewHost(w.host); err != nil {
		return err
	}
	for _, k := range w.keys {
		record, err := recordOf(k, w.domain)
		if err != nil {
			return err
		}
		if err := w.SetRecords(record); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) addUser(name string, targets ...string) error {
	hash, err := account.HashPassword(w.password)
	if err != nil {
		return err
	}
	text, err := json.Marshal(map[string]any{"targets": targets, "password": hash})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(w.path("users"), 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(w.path("users"), name), text, 0o600)
}

// config is the configuration of the service in this world.
func (w *world) config() (*config, error) {
	return parseConfig([]byte(fmt.Sprintf(`
domain = %[1]q
name = %[2]q
state = %[3]q
[users]
remote = %[4]q
poll = "2s"
%[5]s
[submit]
listen_tls = [%[7]q]
listen_starttls = [%[8]q]
[verify]
listen = [%[9]q]
greet_delay = "50ms"
[sign]
selector = "demo"
%[13]s
[resolver]
hints = [%[10]q]
port = %[6]d
trust = "/dev/null"
private = true
no_ipv6 = true
open = ["127.in-addr.arpa", "test"]
control = ""
[relay]
port = %[11]d
source = [%[12]q]
allow_loopback = true
[queue]
retry_first = "10s"
[log]
level = "warn"
`, w.domain, w.host, w.folder, w.path("users"), w.namesConfig(), w.DNSPort(),
		w.at(465), w.at(587), w.mx(), w.Roots()[0], w.SMTPPort(), w.address, w.signConfig())))
}

// namesConfig is the part of the configuration that says where zone and certificate come from.
func (w *world) namesConfig() string {
	if w.own != nil {
		return w.own.config
	}
	return fmt.Sprintf("[tls]\ncertificate = %q\nkey = %q", w.path("chain.pem"), w.path("key.pem"))
}

// signConfig has the signer publish its keys, where the zone is ours.
func (w *world) signConfig() string {
	if w.own == nil {
		return ""
	}
	return fmt.Sprintf("dns_key = %q", "@"+w.path("signer.key"))
}

// roots are the certificates that mail programs in this world trust.
func (w *world) roots() []byte {
	if w.own != nil {
		return w.own.acme.Root
	}
	return w.CA.PEM()
}

// at returns an address of the service for a well-known port, without root: 4465 for 465.
func (w *world) at(port int) string { return fmt.Sprintf("%s:%d", w.address, 4000+port) }

func (w *world) mx() string { return netip.AddrPortFrom(w.address, w.SMTPPort()).String() }

// dial connects to the submission server, as one who trusts this world's roots.
func (w *world) dial(ctx context.Context) (*tls.Conn, error) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(w.roots())
	d := tls.Dialer{Config: &tls.Config{ServerName: w.host, RootCAs: roots}}
	c, err := d.DialContext(ctx, "tcp", w.at(465))
	if err != nil {
		return nil, err
	}
	return c.(*tls.Conn), nil
}

// submit sends a mail as Ann, with the SMTP client of the standard library: a login under
// TLS, as mail programs do.
func (w *world) submit(to, text string) error {
	conn, err := w.dial(context.Background())
	if err != nil {
		return err
	}
	c, err := smtp.NewClient(conn, w.host)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Auth(smtp.PlainAuth("", "ann@"+w.domain, w.password, w.host)); err != nil {
		return err
	}
	if err := errors.Join(c.Mail("ann@"+w.domain), c.Rcpt(to)); err != nil {
		return err
	}
	data, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := data.Write([]byte(text)); err != nil {
		return err
	}
	return errors.Join(data.Close(), c.Quit())
}

// out sends a mail of Ann's to Bob, and returns it as his provider received it.
func (w *world) out(ctx context.Context) (*lab.Received, error) {
	subject := "out " + rand.Text()[:8]
	text := fmt.Sprintf("From: Ann <ann@%s>\r\nTo: Bob <bob@%s>\r\nSubject: %s\r\nDate: %s\r\nMessage-ID: <%s@%s>\r\nBcc: nobody@%[2]s\r\n\r\nHello Bob,\r\n.this is from Ann.\r\n",
		w.domain, lab.LookoutDomain, subject, time.Now().Format(time.RFC1123Z), rand.Text(), w.domain)
	if err := w.submit("bob@"+lab.LookoutDomain, text); err != nil {
		return nil, fmt.Errorf("submitting: %w", err)
	}
	got, err := find(ctx, w.Lookout.User("bob").Inbox, subject)
	if err != nil {
		return nil, err
	}
	return got, want(got, map[string]string{"spf": "pass", "dkim": "pass", "dmarc": "pass", "iprev": "pass"})
}

// in has Carol write to Ann, and returns the mail as Ann's real provider received it.
func (w *world) in(ctx context.Context) (*lab.Received, error) {
	subject := "in " + rand.Text()[:8]
	carol := "carol@" + lab.CorrespondentDomain
	err := w.Correspondent.Send(ctx, lab.Outgoing{
		From: carol, To: []string{"ann@" + w.domain}, Subject: subject, Text: "Hello Ann,\nthis is from Carol.\n",
		Header: "Authentication-Results: " + w.host + "; dmarc=pass header.from=forged.example\r\n",
	})
	if err != nil {
		return nil, fmt.Errorf("sending to the service: %w", err)
	}
	got, err := find(ctx, w.BigMail.User("ann.archer").Inbox, subject)
	if err != nil {
		return nil, err
	}
	return got, w.checkForwarded(got)
}

// checkForwarded says what is wrong with a mail of Carol's as Ann's provider received it.
func (w *world) checkForwarded(got *lab.Received) error {
	if from := got.Envelope.From; from.Domain() != w.domain || !strings.HasPrefix(from.Local(), "SRS0=") {
		return fmt.Errorf("the envelope sender is %s, and no SRS address of ours", from)
	}
	if got.Message().Header.Count("X-Spamtacus") != 1 || strings.Contains(string(got.Raw), "forged.example") {
		return errors.New("the label of the filter is missing, or a forged field came through")
	}
	return want(got, map[string]string{"spf": "pass", "dkim": "pass", "dmarc": "pass", "iprev": "pass"})
}

func find(ctx context.Context, in *lab.Inbox, subject string) (*lab.Received, error) {
	got, err := in.Find(ctx, func(r *lab.Received) bool { return r.Message().Header.Value("Subject") == subject })
	if err != nil {
		return nil, fmt.Errorf("the mail did not arrive: %w", err)
	}
	return got, nil
}

func want(got *lab.Received, results map[string]string) error {
	for method, result := range results {
		if r := got.Result(method); r != result {
			return fmt.Errorf("the receiver found %s=%s, not %s", method, r, result)
		}
	}
	return nil
}
