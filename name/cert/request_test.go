package cert

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"stagecoach/lab/peer"
	"stagecoach/rfc/dns"
)

// The key of --key-seed and the request of the reference: the seed as text, RSA 4096, SHA-256,
// the common name and no extension; always the same octets.
func TestReferenceRequest(t *testing.T) {
	t.Parallel()
	key, err := SeedKey("pUxPne3bfhuihCPH3VhJtjm2/NIM5ooQndXUc5Ey")
	if err != nil {
		t.Fatal(err)
	}
	if n := hex.EncodeToString(key.N.Bytes()); !strings.HasPrefix(n, "ddc2f249e59fc668a5a844971fe63ad8f79d9e") || key.N.BitLen() != 4096 {
		t.Errorf("another key: %s", n[:40])
	}
	der, err := Request(key, true, "smtp.x25519.net")
	if err != nil {
		t.Fatal(err)
	}
	again, err := Request(key, true, "SMTP.x25519.net.")
	if err != nil || !bytes.Equal(der, again) {
		t.Errorf("it differs each time: %v", err)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	if csr.Subject.String() != "CN=smtp.x25519.net" || len(csr.Extensions) != 0 || csr.SignatureAlgorithm != x509.SHA256WithRSA {
		t.Errorf("%s, %v, %v", csr.Subject, csr.Extensions, csr.SignatureAlgorithm)
	}
	// An independent reader agrees.
	out := openssl(t, der)
	if !strings.Contains(out, "self-signature verify OK") || strings.Contains(out, "Alternative") {
		t.Errorf("openssl:\n%s", out)
	}
	if r, err := parseRequest(der); err != nil || !slices.Equal(r.names, []string{"smtp.x25519.net"}) || r.host != "smtp.x25519.net" {
		t.Errorf("%+v, %v", r, err)
	}
	if rr := record(Owner("smtp.x25519.net"), kindRequest, der).String(); !strings.Contains(rr, "_letsencrypt._tcp.smtp.x25519.net.\t3600\tIN\tTLSA\t3 255 0 3082") {
		t.Errorf("%s", rr[:80])
	}
}

func openssl(t *testing.T, der []byte) string {
	t.Helper()
	cmd := exec.Command(peer.Need(t, "openssl")[0], "req", "-inform", "DER", "-noout", "-text", "-verify")
	cmd.Stdin = bytes.NewReader(der)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

func TestRequestOfSeveralNames(t *testing.T) {
	der, err := Request(newKey(t), true, "mx.x.example", "x.example", "*.x.example")
	if err != nil {
		t.Fatal(err)
	}
	r, err := parseRequest(der)
	if err != nil || strings.Join(r.names, " ") != "*.x.example mx.x.example x.example" || r.host != "mx.x.example" {
		t.Errorf("%+v, %v", r, err)
	}
	if out := openssl(t, der); !strings.Contains(out, "DNS:mx.x.example, DNS:x.example, DNS:*.x.example") {
		t.Errorf("%s", out)
	}
	for _, name := range []string{"", "x", "*", "a.*.x.example", "a_b.x.example", "ü.example", "a..b", strings.Repeat("a.", 200) + "x"} {
		if _, err := Request(newKey(t), false, name); err == nil {
			t.Errorf("%q is taken", name)
		}
	}
}

func TestAccountKeys(t *testing.T) {
	k, err := AccountKey("rsa", "M0XGwihC6RtGCzYptLcHuO+SV38TqBUbCMiCf898", 2048)
	if err != nil || !strings.HasPrefix(hex.EncodeToString(k.(*rsa.PrivateKey).N.Bytes()), "a689df80195b749ab5608041642c0552eab816") {
		t.Errorf("rsa: %v", err)
	}
	for kind, curve := range map[string]elliptic.Curve{"p256": elliptic.P256(), "p384": elliptic.P384(), "p521": elliptic.P521()} {
		want := make([]byte, (curve.Params().BitSize+7)/8)
		want[len(want)-1] = 7
		k, err := AccountKey(kind, b64(want), 0)
		if err != nil || k.(*ecdsa.PrivateKey).Curve != curve {
			t.Errorf("%s: %v", kind, err)
		}
	}
	seed := sha256.Sum256(nil)
	if _, err := AccountKey("ed25519", b64(seed[:]), 0); err != nil {
		t.Error(err)
	}
	for _, c := range [][2]string{{"rsa", ""}, {"p256", "!"}, {"p256", b64([]byte("secret"))}, {"dsa", b64(seed[:])}, {"ed25519", b64([]byte("secret"))}} {
		_, err := AccountKey(c[0], c[1], 2048)
		if err == nil || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), b64([]byte("secret"))) {
			t.Errorf("%v: %v", c, err)
		}
	}
}

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

var testTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestFileKey(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key.pem")
	a, err := FileKey(file)
	if err != nil {
		t.Fatal(err)
	}
	b, err := FileKey(file)
	if err != nil || !a.(*ecdsa.PrivateKey).Equal(b) {
		t.Errorf("another key: %v", err)
	}
	if info, _ := os.Stat(file); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	os.Chmod(file, 0o640)
	if _, err := FileKey(file); err == nil || !strings.Contains(err.Error(), "chmod") {
		t.Errorf("a file for others: %v", err)
	}
	os.Chmod(file, 0o600)
	os.WriteFile(file, []byte("junk"), 0o600)
	if _, err := FileKey(file); err == nil {
		t.Error("junk is a key")
	}
}

func TestZoneOf(t *testing.T) {
	for name, want := range map[string]string{
		"personal._update.x25519.net": "x25519.net.", "a.b._UPDATE.x.example": "x.example.", "client._update": ".",
	} {
		if got, err := ZoneOf(dns.Key{Name: name}); err != nil || got != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := ZoneOf(dns.Key{Name: "x._transfer.x.example."}); err == nil {
		t.Error("a key that may not change is taken")
	}
}

// Whatever stands in the zone, reading it neither crashes nor gives a certificate that does not
// answer the request.
func FuzzShelf(f *testing.F) {
	key := newKey(f)
	der, err := Request(key, true, "smtp.x.example")
	if err != nil {
		f.Fatal(err)
	}
	own, err := selfMade(key, []string{"smtp.x.example"}, testTime)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(der, own.leaf.Raw, []byte{0x30}, byte(0))
	f.Add(der[:len(der)-1], own.leaf.Raw[:40], der, byte(1))
	ours, err := parseRequest(der)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, a, b, c []byte, mix byte) {
		kinds := []kind{kindRequest, kindLeaf, kindChain, kindPin}
		var records []*dns.TLSARecord
		for n, data := range [][]byte{a, b, c} {
			records = append(records, record(Owner("smtp.x.example"), kinds[(n+int(mix))%4], data))
		}
		s := readShelf(Owner("smtp.x.example"), records)
		if chain, _ := s.best(ours, testTime); chain != nil && ours.fits(chain[0], testTime) != "" {
			t.Error("it does not fit")
		}
	})
}
