package cert

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"stagecoach/rfc/dns"
)

// A request is a certificate signing request (RFC 2986) whose signature is good.
type request struct {
	der   []byte
	key   []byte   // SubjectPublicKeyInfo
	host  string   // the common name, or else the first of the others
	names []string // sorted, without final dots
}

// Request returns a certificate signing request in DER for the first name and, where there are
// some, the others. plain leaves out the extension of alternative names where there is one
// name, as the reference does; RFC 8555 section 7.4 allows it, and Let's Encrypt takes it, but
// other authorities do not. With an RSA key the request is always the same.
func Request(key crypto.Signer, plain bool, names ...string) ([]byte, error) {
	if len(names) == 0 {
		return nil, errors.New("a request wants a name")
	}
	for _, n := range names {
		if err := checkName(n); err != nil {
			return nil, err
		}
	}
	template := &x509.CertificateRequest{Subject: pkix.Name{CommonName: dns.Host(names[0])}}
	if len(names) > 1 || !plain {
		for _, n := range names {
			template.DNSNames = append(template.DNSNames, dns.Host(n))
		}
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		return nil, fmt.Errorf("making the request: %w", err)
	}
	return der, nil
}

// checkName sees that a certificate may have a name: a host name, or "*." and one (RFC 6125
// section 6.4.3).
func checkName(name string) error {
	host := strings.TrimPrefix(dns.Host(name), "*.")
	if !dns.IsName(host) || !strings.Contains(host, ".") ||
		strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789-.") != "" {
		return fmt.Errorf("%q is no host name", name)
	}
	return nil
}

func parseRequest(der []byte) (*request, error) {
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, err
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, err
	}
	names := csr.DNSNames
	if csr.Subject.CommonName != "" {
		names = append([]string{csr.Subject.CommonName}, names...)
	}
	if len(csr.IPAddresses)+len(csr.EmailAddresses)+len(csr.URIs) > 0 {
		return nil, errors.New("the request is for something that is no host name")
	}
	r := &request{der: der, key: csr.RawSubjectPublicKeyInfo, names: nameSet(names)}
	if len(r.names) == 0 || len(r.names) > maxNames {
		return nil, fmt.Errorf("the request has %d names", len(r.names))
	}
	r.host = dns.Host(names[0])
	for _, n := range r.names {
		if err := checkName(n); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// maxNames is how many one certificate may have; Let's Encrypt takes no more.
const maxNames = 100

func nameSet(names []string) []string {
	var out []string
	for _, n := range names {
		out = append(out, dns.Host(n))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// same reports whether two requests are for the same key and names, whatever their octets.
func (r *request) same(o *request) bool {
	return string(r.key) == string(o.key) && slices.Equal(r.names, o.names)
}

// id names the request in files and logs.
func (r *request) id() string {
	h := sha256.New()
	h.Write(r.key)
	h.Write([]byte(strings.Join(r.names, " ")))
	return hex.EncodeToString(h.Sum(nil)[:12])
}

// fits says why a certificate does not answer r at a time, "" if it does.
func (r *request) fits(c *x509.Certificate, now time.Time) string {
	names := c.DNSNames
	if len(names) == 0 && c.Subject.CommonName != "" {
		names = []string{c.Subject.CommonName}
	}
	switch {
	case string(c.RawSubjectPublicKeyInfo) != string(r.key):
		return "the certificate is for another key"
	case !slices.Equal(nameSet(names), r.names):
		return "the certificate is for " + strings.Join(nameSet(names), " ")
	case now.Before(c.NotBefore):
		return "the certificate is not valid before " + c.NotBefore.UTC().Format(time.RFC3339)
	case !now.Before(c.NotAfter):
		return "the certificate expired at " + c.NotAfter.UTC().Format(time.RFC3339)
	}
	return ""
}
