package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"stagecoach/name/authority"
	"stagecoach/name/cert"
	"stagecoach/repo"
	"stagecoach/rfc/dns"
)

const testDNSKey = "personal._update.x.example:SHA256:PAPPkecDvEBnhqTzG5Xsbrbi7W0QY7TpVaEMxndMv2M="

func secretOf(t *testing.T, text string) (s Secret) {
	t.Helper()
	if text != "" {
		if err := s.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestLetsencryptOptions(t *testing.T) {
	seed := "IwpD9FuzLm8nNFLbnPQqgWSa/VsrY/3jhVLZQQKl+OU="
	good := func() letsencryptCmd {
		return letsencryptCmd{DNSKey: secretOf(t, testDNSKey), DNSServer: "10.0.0.1", Port: 53, State: t.TempDir(),
			Issuer: issuerOptions{ZonePort: 53, AccountKeySeed: secretOf(t, seed), AccountKeyType: "p256", AccountBits: 4096}}
	}
	i, err := good().issuer()
	if err != nil || i.Directory != cert.Staging || strings.Join(i.Zones, " ") != "x.example" {
		t.Fatalf("%+v, %v", i, err)
	}
	for want, change := range map[string]func(*letsencryptCmd){
		"no key":          func(c *letsencryptCmd) { c.DNSKey = Secret{} },
		"_update":         func(c *letsencryptCmd) { c.DNSKey = secretOf(t, strings.Replace(testDNSKey, "_update", "_notify", 1)) },
		"all zones":       func(c *letsencryptCmd) { c.DNSKey = secretOf(t, strings.Replace(testDNSKey, ".x.example", "", 1)) },
		"dns-server":      func(c *letsencryptCmd) { c.DNSServer = "ns.x.example" },
		"no port":         func(c *letsencryptCmd) { c.Port = 70000 },
		"https":           func(c *letsencryptCmd) { c.Issuer.Directory = "http://ca.example" },
		"not --prod":      func(c *letsencryptCmd) { c.Issuer.Directory, c.Issuer.Production = "https://ca.example/dir", true },
		"belong together": func(c *letsencryptCmd) { c.Issuer.EABKeyID = "kid" },
		"no RSA":          func(c *letsencryptCmd) { c.Issuer.AccountKeyType, c.Issuer.AccountBits = "rsa", 17 },
		"ca-file":         func(c *letsencryptCmd) { c.Issuer.CAFile = "/none" },
	} {
		c := good()
		change(&c)
		if _, err := c.issuer(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "PAPP") {
			t.Errorf("%s: %v", want, err)
		}
	}
	c := good()
	c.Issuer.AccountKeySeed = Secret{}
	if _, err := c.issuer(); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(filepath.Join(c.State, "account.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key of the account: %v", err)
	}
}

// authorityFor serves the zone x.example from a folder.
func authorityFor(t *testing.T) *net.TCPAddr {
	t.Helper()
	dir := t.TempDir()
	key, err := dns.ParseKey(testDNSKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"x.example": "$TTL 300\n@ SOA ns h 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\n", "x.example._keys": key.Record() + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r, err := repo.Open(dir, repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	a := &authority.Authority{Repo: r}
	if err := a.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	conns, l, err := dns.Listen(t.Context(), "127.0.0.1:0", 1)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &dns.Server{Handler: a, Keys: a.Key}
	var work sync.WaitGroup
	work.Go(func() { s.ServePacket(ctx, conns...) })
	work.Go(func() { s.Serve(ctx, l) })
	work.Go(func() { a.Run(ctx) })
	t.Cleanup(func() { cancel(); work.Wait() })
	return l.Addr().(*net.TCPAddr)
}

// A stage with --dns-key shows a certificate of its own making at once, writes its request, and
// shows what appears beside it within seconds.
func TestCertificateByDNS(t *testing.T) {
	at := authorityFor(t)
	p, err := newProcess(t.Context(), runOptions{Log: logOptions{Level: "none", Format: "text"}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.shutdown()
	o := certOptions{DNSKey: secretOf(t, testDNSKey), DNSServer: at.IP.String(), DNSPort: at.Port, Folder: t.TempDir(), DANE: true}
	if _, err := p.shown(tlsOptions{Certificate: "x"}, o, true, "mx.x.example"); err == nil {
		t.Error("files and DNS at once are taken")
	}
	c, err := p.shown(tlsOptions{}, o, true, "mx.x.example")
	if err != nil || c.Leaf() == nil {
		t.Fatal(err)
	}
	server, _, err := primary(o.DNSServer, o.DNSPort, o.DNSKey)
	if err != nil {
		t.Fatal(err)
	}
	request := awaitRequest(t, server)
	leaf := signFor(t, request)
	m := dns.NewUpdate("x.example")
	m.Insert([]dns.RR{dns.MustParseRR(cert.Owner("mx.x.example") + " 3600 TLSA 3 0 0 " + hex.EncodeToString(leaf))})
	if err := dns.Do(t.Context(), server, m); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); string(c.Leaf().Raw) != string(leaf); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the certificate is not shown")
		}
	}
	if pair, err := c.Config().GetCertificate(&tls.ClientHelloInfo{}); err != nil || string(pair.Certificate[0]) != string(leaf) {
		t.Errorf("%v", err)
	}
	if pins, err := dns.TLSA(t.Context(), server, "_25._tcp.mx.x.example"); err != nil || len(pins) != 1 {
		t.Errorf("pins: %v, %v", pins, err)
	}
}

func awaitRequest(t *testing.T, server dns.Exchanger) *x509.CertificateRequest {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		records, err := dns.TLSA(t.Context(), server, cert.Owner("mx.x.example"))
		if err != nil {
			continue
		}
		der, err := hex.DecodeString(records[0].Certificate)
		if err != nil {
			t.Fatal(err)
		}
		csr, err := x509.ParseCertificateRequest(der)
		if err != nil {
			t.Fatal(err)
		}
		return csr
	}
	t.Fatal("no request appears")
	return nil
}

func signFor(t *testing.T, csr *x509.CertificateRequest) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, IsCA: true}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: csr.DNSNames, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().AddDate(0, 3, 0),
	}, ca, csr.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}
