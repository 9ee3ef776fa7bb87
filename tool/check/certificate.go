package check

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// When a certificate should have been renewed, and when it is urgent.
const (
	renewed = 14 * 24 * time.Hour
	urgent  = 3 * 24 * time.Hour
)

// trust says what is wrong with the certificate of a server, nil if nothing is.
func (e *Env) trust(state *tls.ConnectionState, host string) error {
	if state == nil || len(state.PeerCertificates) == 0 {
		return errors.New("the server shows no certificate")
	}
	leaf, now := state.PeerCertificates[0], e.Now()
	switch {
	case now.After(leaf.NotAfter):
		return fmt.Errorf("the certificate expired on %s", leaf.NotAfter.UTC().Format(time.DateOnly))
	case now.Before(leaf.NotBefore):
		return fmt.Errorf("the certificate is valid only from %s on", leaf.NotBefore.UTC().Format(time.DateTime))
	}
	if err := leaf.VerifyHostname(host); err != nil {
		return fmt.Errorf("the certificate is for another name: %w", err)
	}
	inter := x509.NewCertPool()
	for _, c := range state.PeerCertificates[1:] {
		inter.AddCert(c)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: e.Roots, Intermediates: inter, CurrentTime: now, DNSName: host}); err != nil {
		return fmt.Errorf("the certificate is not trusted: %w", err)
	}
	return nil
}

// judge tells of one certificate, and returns whether all is well.
func (e *Env) judge(f *findings, about string, state *tls.ConnectionState, host string) bool {
	if err := e.trust(state, host); err != nil {
		f.wrong(about, "", "%v", err)
		return false
	}
	left := state.PeerCertificates[0].NotAfter.Sub(e.Now())
	switch days := int(left.Hours() / 24); {
	case left < urgent:
		f.wrong(about, "Renew it now, and look why that did not happen by itself.", "the certificate expires in %d days", days)
		return false
	case left < renewed && left < life(state)/3:
		f.note(about, "Look why it is not renewed: \"stagecoach letsencrypt\" does that a third of its life before its end.", "the certificate expires in %d days", days)
		return false
	}
	return true
}

func life(state *tls.ConnectionState) time.Duration {
	leaf := state.PeerCertificates[0]
	return leaf.NotAfter.Sub(leaf.NotBefore)
}

// validity tells the days left.
func (e *Env) validity(state *tls.ConnectionState) string {
	leaf := state.PeerCertificates[0]
	issuer := leaf.Issuer.CommonName
	if len(leaf.Issuer.Organization) > 0 {
		issuer = leaf.Issuer.Organization[0]
	}
	return fmt.Sprintf("valid for %d days, by %s", int(leaf.NotAfter.Sub(e.Now()).Hours()/24), issuer)
}

// tooOld reports whether a version of TLS is one that is not to be used (RFC 8996).
func tooOld(state *tls.ConnectionState) bool { return state.Version < tls.VersionTLS12 }
