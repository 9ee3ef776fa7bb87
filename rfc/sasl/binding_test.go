package sasl

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/xdg-go/scram"
)

// Both ends of a real TLS connection must come to the same bindings.
func TestBindingsOfAConnection(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"x.example"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		a, b := net.Pipe()
		server := tls.Server(a, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
		client := tls.Client(b, &tls.Config{InsecureSkipVerify: true, MaxVersion: version})
		done := make(chan error, 1)
		go func() { done <- server.HandshakeContext(t.Context()) }()
		if err := client.HandshakeContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		ours, theirs := server.ConnectionState(), client.ConnectionState()
		e, ok := ExporterBinding(&ours)
		want, err := scram.NewTLSExporterBinding(&theirs)
		if !ok || err != nil || e.Type != string(want.Type) || !bytes.Equal(e.Data, want.Data) || len(e.Data) != 32 {
			t.Errorf("%x: exporter %v, %v; the client has %v, %v", version, e, ok, want, err)
		}
		c, ok := EndPointBinding(leaf)
		want, err = scram.NewTLSServerEndpointBinding(&theirs)
		if !ok || err != nil || c.Type != string(want.Type) || !bytes.Equal(c.Data, want.Data) {
			t.Errorf("%x: end point %v, %v; the client has %v, %v", version, c, ok, want, err)
		}
		a.Close()
		b.Close()
	}
	if _, ok := ExporterBinding(&tls.ConnectionState{}); ok {
		t.Error("a binding without a connection")
	}
	public, private, _ := ed25519.GenerateKey(rand.Reader)
	if der, err = x509.CreateCertificate(rand.Reader, template, template, public, private); err != nil {
		t.Fatal(err)
	}
	leaf, _ = x509.ParseCertificate(der)
	if _, ok := EndPointBinding(leaf); ok {
		t.Error("RFC 5929 has no hash for Ed25519, but there is a binding")
	}
}
