package authority

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"stagecoach/lab/peer"
	"stagecoach/rfc/dns"
)

// runUnbound starts Unbound with the given configuration for its server and what follows.
func runUnbound(t *testing.T, address string, config string) {
	t.Helper()
	unbound := peer.Need(t, "unbound")[0]
	dir := t.TempDir()
	file := filepath.Join(dir, "unbound.conf")
	text := fmt.Sprintf("server:\n interface: %s\n username: \"\"\n chroot: \"\"\n directory: %q\n pidfile: \"\"\n"+
		" use-syslog: no\n do-not-query-localhost: no\n%s\nremote-control:\n control-enable: no\n",
		strings.Replace(address, ":", "@", 1), dir, config)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), unbound, "-d", "-c", file)
	var log strings.Builder
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill() //nolint:errcheck
		cmd.Wait()         //nolint:errcheck
		if t.Failed() {
			t.Log(log.String())
		}
	})
}

// freeAddress returns an address with a port that nothing listens on.
func freeAddress(t *testing.T, host string) netip.AddrPort {
	t.Helper()
	conns, l, err := dns.Listen(t.Context(), host+":0", 1)
	if err != nil {
		t.Fatal(err)
	}
	conns[0].Close()
	l.Close()
	return netip.MustParseAddrPort(l.Addr().String())
}

// Unbound as a secondary takes our zone by AXFR, hears our NOTIFY and follows.
func TestUnboundAsSecondary(t *testing.T) {
	peer.Need(t, "unbound")
	second := freeAddress(t, "127.0.0.5")
	files := map[string]string{
		"one":       "@ 60 SOA ns h 7 3600 900 1209600 60\n@ 60 NS ns\n@ 60 NS ns2\nns 60 A 127.0.0.1\nns2 60 A 127.0.0.5\na 60 TXT first\n",
		"one._keys": "personal._update.one. DNSKEY 0 3 163 " + secret + "\n",
	}
	_, at, _, _ := start(t, files, func(a *Authority) {
		a.OpenTransfers = true
		a.NotifyPort = second.Port()
	})
	runUnbound(t, second.String(), fmt.Sprintf(" module-config: \"iterator\"\nauth-zone:\n name: one\n primary: 127.0.0.1@%d\n"+
		" allow-notify: 127.0.0.1\n for-downstream: yes\n for-upstream: no\n fallback-enabled: no", at.Port()))
	texts := func() string {
		txt, _ := dns.TXT(t.Context(), client(second, dns.UDP, dns.Key{}), "a.one")
		return strings.Join(txt, " ")
	}
	eventually(t, "AXFR", func() bool { return texts() == "first" })
	m := dns.NewUpdate("one")
	m.RemoveRRset(rrs(t, "a.one. 60 TXT x"))
	m.Insert(rrs(t, "a.one. 60 TXT second"))
	if err := dns.Do(t.Context(), client(at, dns.TCP, keyNamed(t, "personal._update.one")), m); err != nil {
		t.Fatal(err)
	}
	eventually(t, "NOTIFY and IXFR", func() bool { return texts() == "second" })
}
