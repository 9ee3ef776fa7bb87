package main

import (
	"crypto/tls"
	"errors"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"stagecoach/lab/peer"
)

// greet connects to a port with a TLS configuration and says EHLO under TLS.
func (w *world) greet(t *testing.T, port int, config *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	address, implicit := w.at(port), port == 465
	if port == 25 {
		address = w.mx()
	}
	if implicit {
		a, _, err := attack(t.Context(), stranger(1), address, config)
		if err != nil {
			return tls.ConnectionState{}, err
		}
		defer a.close()
		return a.conn.(*tls.Conn).ConnectionState(), nil
	}
	a, greeting, err := attack(t.Context(), stranger(1), address, nil)
	if err != nil || greeting.code != 220 {
		return tls.ConnectionState{}, errors.Join(err, errors.New(greeting.text))
	}
	defer a.close()
	if err := a.startTLS(config); err != nil {
		return tls.ConnectionState{}, err
	}
	return a.conn.(*tls.Conn).ConnectionState(), nil
}

// S33: TLS 1.2 and 1.3 with forward secrecy and AEAD, and nothing else, on every port.
func TestTLSPolicy(t *testing.T) {
	t.Parallel()
	w := testWorld(t)
	serveWith(t, w, func(c *config) { c.Verify.GreetDelay, c.Log.Level, c.Limits.PerAddress = 0, "none", -1 })
	for _, port := range []int{25, 465, 587} {
		for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13} {
			c := w.clientTLS()
			c.MinVersion, c.MaxVersion = version, version
			state, err := w.greet(t, port, c)
			if good := version >= tls.VersionTLS12; good != (err == nil) || good && state.Version != version {
				t.Errorf("port %d, %s: %v", port, tls.VersionName(version), err)
			}
		}
		for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
			if !slices.Contains(suite.SupportedVersions, tls.VersionTLS12) {
				continue
			}
			c := w.clientTLS()
			c.MinVersion, c.MaxVersion, c.CipherSuites = tls.VersionTLS12, tls.VersionTLS12, []uint16{suite.ID}
			good := strings.HasPrefix(suite.Name, "TLS_ECDHE_ECDSA_") && (strings.Contains(suite.Name, "_GCM_") || strings.Contains(suite.Name, "_CHACHA20_"))
			if _, err := w.greet(t, port, c); good != (err == nil) {
				t.Errorf("port %d, %s: %v", port, suite.Name, err)
			}
		}
		for _, proto := range []string{"h2", "http/1.1", "ftp", "imap"} {
			c := w.clientTLS()
			c.NextProtos = []string{proto}
			if _, err := w.greet(t, port, c); err == nil {
				t.Errorf("port %d talks to a client of %s", port, proto)
			}
		}
	}
}

// sslscan, which knows nothing of us, finds the same.
func TestSslscan(t *testing.T) {
	t.Parallel()
	sslscan := peer.Need(t, "sslscan")[0]
	w := testWorld(t)
	serveWith(t, w, func(c *config) { c.Verify.GreetDelay, c.Log.Level, c.Limits.PerAddress = 0, "none", -1 })
	for address, options := range map[string][]string{w.at(465): nil, w.at(587): {"--starttls-smtp"}, w.mx(): {"--starttls-smtp"}} {
		out, err := exec.Command(sslscan, append(options, "--no-colour", "--sni-name="+w.host, address)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		text := string(out)
		for _, want := range []string{`SSLv2 +disabled`, `SSLv3 +disabled`, `TLSv1.0 +disabled`, `TLSv1.1 +disabled`, `TLSv1.2 +enabled`, `TLSv1.3 +enabled`,
			`TLSv1.2 not vulnerable to heartbleed`, `Session renegotiation not supported|Secure session renegotiation supported`} {
			if !regexp.MustCompile(want).MatchString(text) {
				t.Errorf("%s: sslscan does not say %q", address, want)
			}
		}
		accepted := regexp.MustCompile(`(?m)^(?:Accepted|Preferred) +TLSv1\.\d +\d+ bits +(\S+)`).FindAllStringSubmatch(text, -1)
		for _, a := range accepted {
			if name := a[1]; !strings.Contains(name, "GCM") && !strings.Contains(name, "CHACHA20") || strings.Contains(name, "TLS_RSA_") {
				t.Errorf("%s accepts %s", address, name)
			}
		}
		if len(accepted) != 6 || t.Failed() {
			t.Errorf("%s: %d suites\n%s", address, len(accepted), text)
		}
	}
}
