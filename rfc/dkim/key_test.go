package dkim

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"

	"stagecoach/rfc/dns"
	"stagecoach/rfc/dns/dnstest"
)

func inPEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func TestParsePrivateKey(t *testing.T) {
	rsaKey, err := ParsePrivateKey([]byte(testRSA))
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8 := func(key any) string {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return inPEM("PRIVATE KEY", der)
	}
	certificate := inPEM("CERTIFICATE", []byte("x"))
	for name, c := range map[string]struct {
		text string
		want crypto.PublicKey
	}{
		"PKCS #1":                {testRSA, rsaKey.Public()},
		"PKCS #8":                {pkcs8(rsaKey), rsaKey.Public()},
		"Ed25519":                {pkcs8(footballKey(t)), footballKey(t).Public()},
		"after a certificate":    {certificate + pkcs8(footballKey(t)), footballKey(t).Public()},
		"text before and behind": {"# my key\n" + testRSA + "\n# that was it\n", rsaKey.Public()},
		"nothing":                {"", nil},
		"a certificate alone":    {certificate, nil},
		"P-256":                  {pkcs8(ec), nil},
		"encrypted":              {inPEM("ENCRYPTED PRIVATE KEY", []byte("x")), nil},
		"broken":                 {inPEM("PRIVATE KEY", []byte("x")), nil},
		"broken too":             {inPEM("RSA PRIVATE KEY", []byte("x")), nil},
	} {
		key, err := ParsePrivateKey([]byte(c.text))
		if (err == nil) != (c.want != nil) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c.want != nil && !key.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(c.want) {
			t.Errorf("%s: another key", name)
		}
	}
}

// The record goes through a zone file and a look-up and is still the key.
func TestRecord(t *testing.T) {
	rsaKey, err := ParsePrivateKey([]byte(testRSA))
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]crypto.PublicKey{"rsa": rsaKey.Public(), "ed": footballKey(t).Public()} {
		line, err := Record(name, "example.org", key)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(line, "\n") != 0 || !strings.HasPrefix(line, name+"._domainkey.example.org. ") {
			t.Errorf("the record is %q", line)
		}
		for part := range strings.SplitSeq(line, `"`) {
			if len(part) > 255 {
				t.Errorf("a string of %d octets", len(part))
			}
		}
		texts, err := dns.TXT(t.Context(), dnstest.Zone(t, line), RecordName(name, "example.org"))
		if err != nil || len(texts) != 1 {
			t.Fatalf("%s: %v, %v", line, texts, err)
		}
		if want, _ := RecordText(key); texts[0] != want || !strings.HasPrefix(want, "v=DKIM1; h=sha256; k=") {
			t.Errorf("got %q, want %q", texts[0], want)
		}
	}
	if _, err := Record("s", "example.org", "no key"); err == nil {
		t.Error("a record for no key")
	}
}

func TestHolds(t *testing.T) {
	key := footballKey(t).Public()
	const p = "p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
	for text, want := range map[string]bool{
		"v=DKIM1; h=sha256; k=ed25519; " + p:       true,
		"h=sha256; v=DKIM1; " + p + "; k=ed25519;": true, // reference, 2022
		"h=sha256; " + p + "; k=ed25519; v=DKIM1;": true, // reference, later
		"k=ed25519; " + p:                          true,
		"k=ed25519; h=sha1; " + p:                  false,
		"k=ed25519; p=":                            false,
		"k=ed25519; s=tlsrpt; " + p:                false,
		p:                                          false,
		"":                                         false,
		"k=ed25519; p=AAAA" + p[6:]:                false,
	} {
		if got := Holds(text, key); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
	if Holds("k=ed25519; "+p, ed25519.PublicKey(make([]byte, 32))) {
		t.Error("holds another key")
	}
}
