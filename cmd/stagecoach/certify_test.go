package main

import (
	"crypto/tls"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stagecoach/name/cert"
	"stagecoach/rfc/dns"
)

// What ocertify does: asks, waits, writes three files; leaves a good file alone; takes what is there
// without a key of the zone.
func TestCertify(t *testing.T) {
	at := authorityFor(t)
	dir := t.TempDir()
	key := filepath.Join(dir, "dns.key")
	if err := os.WriteFile(key, []byte(testDNSKey), 0o600); err != nil {
		t.Fatal(err)
	}
	args := func(more ...string) []string {
		return append([]string{"certify", at.IP.String(), "mx.x.example", "--port", itoa(at.Port), "--key", filepath.Join(dir, "key.pem"),
			"--csr", filepath.Join(dir, "csr.pem"), "--certificate", filepath.Join(dir, "cert.pem")}, more...)
	}
	if out, err := program(t, args()...); err == nil || !strings.Contains(out, "no certificate for this key") {
		t.Errorf("without a key and a certificate: %v, %s", err, out)
	}
	if out, err := program(t, args("--dns-key", "@"+key, "--wait", "100ms")...); err == nil || !strings.Contains(out, "the request stands at _letsencrypt._tcp.mx.x.example") {
		t.Errorf("nobody answers: %v, %s", err, out)
	}
	server, _, err := primary(at.IP.String(), at.Port, secretOf(t, testDNSKey))
	if err != nil {
		t.Fatal(err)
	}
	m := dns.NewUpdate("x.example")
	m.Insert([]dns.RR{dns.MustParseRR(cert.Owner("mx.x.example") + " 3600 TLSA 3 0 0 " + hex.EncodeToString(signFor(t, awaitRequest(t, server))))})
	if err := dns.Do(t.Context(), server, m); err != nil {
		t.Fatal(err)
	}
	out := mustProgram(t, args()...)
	if !strings.Contains(out, "found cached certificate in DNS") || !strings.Contains(out, "success! your certificate is stored in ") {
		t.Errorf("from the zone:\n%s", out)
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	if err != nil || pair.Leaf.DNSNames[0] != "mx.x.example" || time.Until(pair.Leaf.NotAfter) < 24*time.Hour {
		t.Errorf("the files: %v", err)
	}
	if out := mustProgram(t, args()...); out != "valid certificate with matching key already present\n" {
		t.Errorf("again: %s", out)
	}
	if out := mustProgram(t, args("--force")...); !strings.Contains(out, "success!") {
		t.Errorf("forced: %s", out)
	}
	for file, mode := range map[string]os.FileMode{"key.pem": 0o600, "csr.pem": 0o644, "cert.pem": 0o644} {
		if info, err := os.Stat(filepath.Join(dir, file)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", file, info, err)
		}
	}
	if out, err := program(t, args("--seed", "IwpD9FuzLm8nNFLbnPQqgWSa/VsrY/3jhVLZQQKl+OU=", "--type", "p256")...); err == nil || !strings.Contains(out, "another key than the one") {
		t.Errorf("a seed beside another key: %v, %s", err, out)
	}
}
