package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"os"
	"sync/atomic"
	"time"
)

// A certificate is what our servers show to clients. Reload reads the files again; a pair
// that does not fit leaves the old one in use.
type certificate struct {
	certFile, keyFile string
	current           atomic.Pointer[tls.Certificate]
}

// loadCertificate reads a chain and its key in PEM. Without files it makes a certificate of
// its own, which is enough for STARTTLS among servers but not for people's mail programs.
func loadCertificate(certFile, keyFile string, names ...string) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile}
	if certFile == "" && keyFile == "" {
		own, err := selfSigned(names)
		if err != nil {
			return nil, err
		}
		c.current.Store(own)
		return c, nil
	}
	if certFile == "" || keyFile == "" {
		return nil, fmt.Errorf("a certificate file and a key file belong together: give both")
	}
	return c, c.Reload()
}

// SelfSigned reports whether no files were given.
func (c *certificate) SelfSigned() bool { return c.certFile == "" }

// Reload reads the files again.
func (c *certificate) Reload() error {
	if c.SelfSigned() {
		return nil
	}
	key, err := readPrivate(c.keyFile)
	if err != nil {
		return fmt.Errorf("certificate key: %w", err)
	}
	chain, err := os.ReadFile(c.certFile)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return fmt.Errorf("certificate %s with key %s: %w", c.certFile, c.keyFile, err)
	}
	if pair.Leaf != nil && time.Now().After(pair.Leaf.NotAfter) {
		return fmt.Errorf("certificate %s: it expired at %s", c.certFile, pair.Leaf.NotAfter.Format(time.RFC3339))
	}
	c.current.Store(&pair)
	return nil
}

// Leaf returns the certificate that is shown at present.
func (c *certificate) Leaf() *x509.Certificate {
	pair := c.current.Load()
	if pair.Leaf != nil {
		return pair.Leaf
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return nil
	}
	return leaf
}

// Config returns a configuration for servers that always shows the current certificate.
func (c *certificate) Config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current.Load(), nil },
	}
}

func selfSigned(names []string) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: names[0]},
		DNSNames:     names,
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().AddDate(1, 0, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
