package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"stagecoach/mail"
	"stagecoach/rfc/dkim"
	"stagecoach/rfc/dns"
	"stagecoach/rfc/smtp"
	"stagecoach/stage/stagetest"
)

// narrow gives a repository a key for each of our services, with a grant that lets it write what
// it has to, and nothing else.
func (r *zoneRepo) narrow() {
	r.t.Helper()
	keys, grants := zoneKeys, ""
	for name, may := range map[string]string{
		"signer": "TXT *._domainkey",
		"mx":     "TLSA _letsencrypt._tcp.mx,_25._tcp.mx",
		"smtp":   "TLSA _letsencrypt._tcp.smtp",
		"issuer": "TLSA,TXT _letsencrypt._tcp.*,_acme-challenge.*",
	} {
		keys += name + "._update.x25519.example. DNSKEY 0 3 163 " + zoneSecret + "\n"
		grants += name + "._update.x25519.example. " + may + "\n"
	}
	r.push(map[string]string{"x25519.example._keys": keys, "x25519.example._grants": grants})
}

// keyFile writes a DNS key for --dns-key.
func keyFile(t *testing.T, name string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "dns.key")
	if err := os.WriteFile(file, []byte(name+".x25519.example:SHA256:"+zoneSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return "@" + file
}

// A sinkServer takes mail as the stage behind does.
func sinkServer(t *testing.T) (address string, sink *stagetest.Sink) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	sink = new(stagetest.Sink)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		(&smtp.Server{Name: "sink.example", Inner: true, Next: sink}).Serve(ctx, l) //nolint:errcheck // the test ends it
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return l.Addr().String(), sink
}

func handTo(t *testing.T, address, text string) error {
	t.Helper()
	next, err := nextHop("test.example", address)
	if err != nil {
		t.Fatal(err)
	}
	defer next.(*smtp.NextHop).Close()
	m := &mail.Mail{Message: mail.NewMessage([]byte(text))}
	m.Envelope.From = mail.MustParseAddress("ann@x25519.example")
	m.Envelope.To = []mail.Recipient{{Address: mail.MustParseAddress("bob@example.net")}}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return next.Handle(ctx, m)
}

const annsLetter = "From: ann@x25519.example\r\nTo: bob@example.net\r\nSubject: s\r\n\r\nHello World!\r\n"

// Scenario 3 of the articles: the signer starts, its keys stand in the zone, and a commit says so.
// Until then mail waits with its sender; what is signed verifies by what the primary serves.
func TestSignerPublishes(t *testing.T) {
	t.Parallel()
	r := newZoneRepo(t)
	r.narrow()
	r.push(map[string]string{"x25519.example": strings.Replace(zoneText(2, ""), "ns1\tA\t192.0.2.93", "ns1\tA\t127.0.0.1", 1)})
	dir, state := t.TempDir(), t.TempDir()
	for _, kind := range []string{"rsa", "ed25519"} {
		if err := ensureKey(filepath.Join(dir, kind+".pem"), kind); err != nil {
			t.Fatal(err)
		}
	}
	next, sink := sinkServer(t)
	at := "127.0.0.1:" + itoa(int(freePort(t, loopback)))
	dnsPort := itoa(int(freePort(t, loopback)))
	args := []string{"signer", "--log-level", "warn", "--domain", "x25519.example", "--listen", at, "--destination", next, "--state", state,
		"--dkim-key", "rsa1=" + filepath.Join(dir, "rsa.pem"), "--dkim-key", "ed1=" + filepath.Join(dir, "ed25519.pem"),
		"--dns-key", keyFile(t, "signer._update"), "--dns-server", "127.0.0.1", "--dns-port", dnsPort, "--dns-everywhere"}
	s := runProgram(t, args...)
	waitFor(t, at, s.log)
	if err := handTo(t, at, annsLetter); err == nil || mail.IsPermanent(err) || len(sink.Mails()) != 0 {
		t.Fatalf("without the name server: %v, %d mails went on", err, len(sink.Mails()))
	}
	p, port, _ := startPrimary(t, r.bare, "--listen", "127.0.0.1:"+dnsPort)
	for end := time.Now().Add(40 * time.Second); len(sink.Mails()) == 0; time.Sleep(500 * time.Millisecond) {
		s.cmd.Process.Signal(syscall.SIGHUP) //nolint:errcheck // on a slow machine it would be a minute to the next try
		if err := handTo(t, at, annsLetter); err != nil && (mail.IsPermanent(err) || time.Now().After(end)) {
			t.Fatalf("with the name server: %v\n%s", err, s.log)
		}
	}
	ask := &dns.Client{Servers: []dns.Nameserver{nameserverAt(t, "127.0.0.1:"+port)}}
	seen := sink.Mails()[0]
	m := mail.NewMessage([]byte(strings.Join(seen.Fields, "") + "\r\n" + seen.Body))
	passed := 0
	for _, res := range dkim.Verify(t.Context(), m, ask, dkim.Options{}) {
		if res.Status == dkim.Pass {
			passed++
		}
	}
	if passed == 0 {
		t.Errorf("no signature is good:\n%s", m)
	}
	for _, selector := range []string{"rsa1", "ed1"} {
		dig(t, port, "v=DKIM1; h=sha256;", selector+"._domainkey.x25519.example", "TXT", "+tcp", "+short")
	}
	if log := r.must(r.bare, "log", "--format=%s, %an", "main"); strings.Count(log, "127.0.0.1 changed x25519.example, signer._update.x25519.example") != 2 {
		t.Errorf("git log:\n%s", log)
	}
	// A restart signs at once, also while the name server is away, and changes nothing.
	s.stop()
	p.stop()
	s = runProgram(t, args...)
	waitFor(t, at, s.log)
	if err := handTo(t, at, annsLetter); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	s.stop()
	if n := r.must(r.bare, "rev-list", "--count", "main"); n != "5" {
		t.Errorf("%s commits", n)
	}
}

func nameserverAt(t *testing.T, address string) dns.Nameserver {
	t.Helper()
	n, err := dns.ParseNameserver("tcp:" + address)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A key without the grant gets nowhere: the log says what is missing, and mail waits.
func TestSignerWithoutGrant(t *testing.T) {
	t.Parallel()
	r := newZoneRepo(t)
	r.narrow()
	key := filepath.Join(t.TempDir(), "key.pem")
	if err := ensureKey(key, "ed25519"); err != nil {
		t.Fatal(err)
	}
	next, sink := sinkServer(t)
	p, port, _ := startPrimary(t, r.bare)
	at := "127.0.0.1:" + itoa(int(freePort(t, loopback)))
	s := runProgram(t, "signer", "--domain", "x25519.example", "--listen", at, "--destination", next, "--dkim-key", "ed1="+key,
		"--dns-key", keyFile(t, "mx._update"), "--dns-server", "127.0.0.1", "--dns-port", port)
	waitFor(t, at, s.log)
	if err := handTo(t, at, annsLetter); err == nil || mail.IsPermanent(err) || len(sink.Mails()) != 0 {
		t.Errorf("%v, %d mails went on", err, len(sink.Mails()))
	}
	for _, want := range []string{"REFUSED", "mx._update.x25519.example TXT ed1._domainkey.x25519.example."} {
		if !strings.Contains(s.log.String(), want) {
			t.Errorf("the log has no %q:\n%s", want, s.log)
		}
	}
	if strings.Contains(s.log.String(), zoneSecret) {
		t.Error("the secret is in the log")
	}
	s.stop()
	p.stop()
}
