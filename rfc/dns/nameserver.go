package dns

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// A Transport is how a name server is reached.
type Transport string

// UDP falls back on TCP for truncated answers (RFC 7766); TLS is RFC 7858.
const (
	UDP Transport = "udp"
	TCP Transport = "tcp"
	TLS Transport = "tls"
)

// A Nameserver is one server that a Client asks.
type Nameserver struct {
	Transport Transport
	Addr      netip.AddrPort
	Host      string      // name in the certificate, "" for none; TLS only
	Auth      CertChecker // TLS only
}

// ParseNameserver reads "udp:IP[:port]", "tcp:IP[:port]" or
// "tls:IP[:port][!hostname[!authenticator]]"; an IPv6 address with a port stands in brackets.
// The authenticator is one of "none", "key-fp:[HASH:]BASE64", "cert-fp:[HASH:]BASE64" and
// "trust-anchor:BASE64" (see ParseCertChecker); without one the certificate is checked against
// the system's roots, and without a hostname it must name the address.
func ParseNameserver(s string) (Nameserver, error) {
	kind, rest, ok := strings.Cut(s, ":")
	n := Nameserver{Transport: Transport(kind)}
	port := uint16(53)
	switch {
	case !ok:
		return n, fmt.Errorf("name server %q: want udp:IP, tcp:IP or tls:IP", s)
	case n.Transport == TLS:
		port = 853
		var err error
		if rest, err = n.parseTLS(rest); err != nil {
			return n, fmt.Errorf("name server %q: %w", s, err)
		}
	case n.Transport != UDP && n.Transport != TCP:
		return n, fmt.Errorf("name server %q: the transport is none of udp, tcp, tls", s)
	}
	var err error
	if n.Addr, err = ParseAddrPort(rest, port); err != nil {
		return n, fmt.Errorf("name server %q: %w", s, err)
	}
	return n, nil
}

func (n *Nameserver) parseTLS(s string) (addr string, err error) {
	addr, host, named := strings.Cut(s, "!")
	host, auth, checked := strings.Cut(host, "!")
	if named {
		if strings.Trim(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.") != "" || host != "" && !IsName(host) {
			return "", errors.New("the hostname is no domain name")
		}
		n.Host = Host(host)
	}
	if checked {
		n.Auth, err = ParseCertChecker(auth)
	}
	return addr, err
}

// ParseAddrPort reads "IP" or "IP:port", an IPv6 address with a port in brackets.
func ParseAddrPort(s string, port uint16) (netip.AddrPort, error) {
	bare, bracketed := strings.CutPrefix(s, "[")
	if bracketed {
		bare, bracketed = strings.CutSuffix(bare, "]")
	} else {
		bracketed = true
	}
	if ip, err := netip.ParseAddr(bare); err == nil && bracketed && isZone(ip.Zone()) {
		return netip.AddrPortFrom(ip.Unmap(), port), nil
	}
	ap, err := netip.ParseAddrPort(s)
	if err != nil || ap.Port() == 0 || !isZone(ap.Addr().Zone()) {
		return netip.AddrPort{}, errors.New("no IP address, with or without a port")
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), nil
}

// isZone reports whether s may be the name of an interface behind a link-local address.
func isZone(s string) bool {
	return len(s) < 16 && !strings.ContainsAny(s, "[]!:%/ ")
}

// String returns what ParseNameserver reads.
func (n Nameserver) String() string {
	s := string(n.Transport) + ":" + n.Addr.String()
	if n.Host != "" || n.Auth.kind != "" {
		s += "!" + n.Host
	}
	if n.Auth.kind != "" {
		s += "!" + n.Auth.String()
	}
	return s
}

// tlsConfig returns the settings for a connection to n at time now().
func (n Nameserver) tlsConfig(now func() time.Time) *tls.Config {
	name := n.Host
	if name == "" {
		name = n.Addr.Addr().WithZone("").String()
	}
	c := &tls.Config{ServerName: name, MinVersion: tls.VersionTLS12, NextProtos: []string{"dot"}, Time: now}
	n.Auth.apply(c, n.Host)
	return c
}

// A CertChecker says which certificate a TLS server must show. The zero CertChecker goes by
// the system's roots.
type CertChecker struct {
	kind string // "", "none", "key-fp", "cert-fp", "trust-anchor"
	hash string // SHA256, SHA384 or SHA512; for the fingerprints
	data []byte // the fingerprint, or the DER of the anchor
}

var checkerHashes = map[string]func([]byte) []byte{
	"SHA256": func(b []byte) []byte { h := sha256.Sum256(b); return h[:] },
	"SHA384": func(b []byte) []byte { h := sha512.Sum384(b); return h[:] },
	"SHA512": func(b []byte) []byte { h := sha512.Sum512(b); return h[:] },
}

// ParseCertChecker reads "none" (anything goes), "key-fp:[HASH:]BASE64" (the hash of the
// server's SubjectPublicKeyInfo), "cert-fp:[HASH:]BASE64" (the hash of its certificate) or
// "trust-anchor:BASE64" (the one root, in DER). HASH is SHA256, which is the default, SHA384 or
// SHA512.
func ParseCertChecker(s string) (CertChecker, error) {
	kind, value, _ := strings.Cut(s, ":")
	c := CertChecker{kind: kind}
	switch kind {
	case "none":
		if s != "none" {
			return c, errors.New(`authenticator: "none" takes no value`)
		}
		return c, nil
	case "key-fp", "cert-fp":
		c.hash = "SHA256"
		if hash, rest, ok := strings.Cut(value, ":"); ok {
			c.hash, value = strings.ReplaceAll(strings.ToUpper(hash), "-", ""), rest
		}
		if checkerHashes[c.hash] == nil {
			return c, errors.New("authenticator: the hash is none of SHA256, SHA384, SHA512")
		}
	case "trust-anchor":
	default:
		return c, errors.New("authenticator: none of none, key-fp, cert-fp, trust-anchor")
	}
	var err error
	c.data, err = decodeBase64(value)
	switch {
	case err != nil:
		return c, errors.New("authenticator: no proper base64")
	case c.hash != "" && len(c.data) != len(checkerHashes[c.hash](nil)):
		return c, errors.New("authenticator: the fingerprint has the wrong length for " + c.hash)
	case c.hash == "":
		if _, err := x509.ParseCertificate(c.data); err != nil {
			return c, errors.New("authenticator: the trust anchor is no certificate in DER")
		}
	}
	return c, nil
}

func decodeBase64(s string) ([]byte, error) {
	return base64.RawStdEncoding.Strict().DecodeString(strings.TrimRight(s, "="))
}

// String returns what ParseCertChecker reads.
func (c CertChecker) String() string {
	s := c.kind
	if c.hash != "" {
		s += ":" + c.hash
	}
	if c.data != nil {
		s += ":" + base64.StdEncoding.EncodeToString(c.data)
	}
	return s
}

func (c CertChecker) apply(t *tls.Config, host string) {
	switch c.kind {
	case "none":
		t.InsecureSkipVerify = true
	case "key-fp", "cert-fp":
		t.InsecureSkipVerify = true // the fingerprint says more than a chain
		t.VerifyConnection = c.verify
	case "trust-anchor":
		c.anchor(t, host)
	}
}

// anchor trusts one root; the name in the certificate counts only where one was given.
func (c CertChecker) anchor(t *tls.Config, host string) {
	root, err := x509.ParseCertificate(c.data)
	pool := x509.NewCertPool()
	if err == nil {
		pool.AddCert(root)
	}
	now := t.Time
	t.InsecureSkipVerify = true
	t.VerifyConnection = func(cs tls.ConnectionState) error {
		o := x509.VerifyOptions{Roots: pool, DNSName: host, Intermediates: x509.NewCertPool()}
		if now != nil {
			o.CurrentTime = now()
		}
		for _, cert := range cs.PeerCertificates[1:] {
			o.Intermediates.AddCert(cert)
		}
		_, err := cs.PeerCertificates[0].Verify(o)
		return err
	}
}

func (c CertChecker) verify(cs tls.ConnectionState) error {
	leaf := cs.PeerCertificates[0]
	seen := leaf.Raw
	if c.kind == "key-fp" {
		seen = leaf.RawSubjectPublicKeyInfo
	}
	if subtle.ConstantTimeCompare(checkerHashes[c.hash](seen), c.data) != 1 {
		return errors.New("the server's " + strings.TrimSuffix(c.kind, "-fp") + " has another fingerprint, " +
			strconv.Quote(base64.StdEncoding.EncodeToString(checkerHashes[c.hash](seen))))
	}
	return nil
}
