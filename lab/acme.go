package lab

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
)

// An ACME is a certification authority that issues by RFC 8555: Let's Encrypt's own test server,
// which refuses one nonce in twenty and asks the lab's resolver for challenges. What it issues
// nobody outside of the lab trusts.
type ACME struct {
	Directory string // URL; its certificate is of the lab's CA
	Root      []byte // certificate of the root in PEM
}

// CAAIdentity is how CAA records of the lab name the authority.
const CAAIdentity = "acme.example"

// StartACME starts an authority. It stops with the lab.
func (l *Lab) StartACME() (*ACME, error) {
	at, err := l.net.next()
	if err != nil {
		return nil, err
	}
	own, err := l.CA.Issue(at.String())
	if err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(l.ctx, "tcp4", netip.AddrPortFrom(at, 0).String())
	if err != nil {
		return nil, err
	}
	issuer, handler, err := l.newPebble()
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{own}, MinVersion: tls.VersionTLS12},
	}
	l.run("ACME server", func(ctx context.Context) error {
		stop := context.AfterFunc(ctx, func() { server.Close() })
		defer stop()
		if err := server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	return &ACME{Directory: "https://" + listener.Addr().String() + wfe.DirectoryPath, Root: issuer.GetRootCert(0).PEM()}, nil
}

// newPebble makes the parts of the server. It takes settings from the environment alone: without
// this one every challenge waits for up to 15 seconds.
func (l *Lab) newPebble() (*ca.CAImpl, http.Handler, error) {
	if err := os.Setenv("PEBBLE_VA_NOSLEEP", "1"); err != nil {
		return nil, nil, err
	}
	silent := log.New(io.Discard, "", 0)
	store := db.NewMemoryStore()
	issuer := ca.New(silent, store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {Description: "The default profile"}})
	resolver := netip.AddrPortFrom(l.net.at(resolverPlace), l.net.dnsPort)
	validator := va.New(silent, 80, 443, false, resolver.String(), store)
	front := wfe.New(silent, store, validator, issuer, []string{CAAIdentity}, true, false, 1, 1)
	return issuer, front.Handler(), nil
}

// Roots returns the addresses of the root name servers, which listen on DNSPort.
func (l *Lab) Roots() []netip.Addr { return []netip.Addr{l.net.at(rootPlace)} }
