package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"stagecoach/lab"
	"stagecoach/name/resolver/scenario"
	"stagecoach/rfc/dns"
)

// namesWorld is a small Internet with one zone of each fate.
const namesWorld = `
-- zone . 127.7.0.1 sign=nsec --
-- zone example. 127.7.0.2 sign=nsec --
-- zone good.example 127.7.0.3 sign=nsec3 --
@ MX 10 mail
@ TXT "v=spf1 mx -all"
mail A 192.0.2.25
_25._tcp.mail TLSA 3 1 1 0102030405060708090a0b0c0d0e0f100102030405060708090a0b0c0d0e0f10
away CNAME www.plain.example.
-- zone plain.example 127.7.0.3 --
@ MX 10 mail
www A 192.0.2.80
-- zone bad.example 127.7.0.3 sign=nsec sig=bad --
@ MX 10 mail
-- zone late.example 127.7.0.3 sign=nsec time=expired --
@ MX 10 mail
-- zone early.example 127.7.0.3 sign=nsec time=future --
@ MX 10 mail
-- zone silent.example 127.7.0.4 --
@ MX 10 mail
-- script 127.7.0.4 --
match *
  timeout
`

// A nameserverProcess is "stagecoach resolver serve" as a process over namesWorld.
type nameserverProcess struct {
	world   *scenario.Live
	at      netip.AddrPort
	tls     netip.AddrPort
	metrics string
	control string
	ca      string // "trust-anchor:..."
	log     bytes.Buffer
	options []string // that say what the world is
}

// serveNames starts the process.
func serveNames(t *testing.T, more ...string) *nameserverProcess {
	t.Helper()
	n := &nameserverProcess{world: scenario.Listen(t, namesWorld)}
	dir := t.TempDir()
	n.control = filepath.Join(dir, "control", "resolver.sock")
	n.at, n.tls, n.metrics = freeAt(t), freeAt(t), freeAt(t).String()
	n.options = n.describe(t, dir)
	ca, err := lab.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(ca.PEM())
	n.ca = "trust-anchor:" + base64.StdEncoding.EncodeToString(block.Bytes)
	chain, key := filepath.Join(dir, "chain.pem"), filepath.Join(dir, "key.pem")
	chainPEM, keyPEM, err := ca.IssuePEM("resolver.example")
	if err := errors.Join(err, os.WriteFile(chain, chainPEM, 0o600), os.WriteFile(key, keyPEM, 0o600)); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"resolver", "serve", "--control", n.control, "--listen", n.at.String(), "--listen-tls", n.tls.String(),
		"--certificate", chain, "--certificate-key", key, "--metrics", n.metrics}, n.options...)
	cmd := exec.Command(os.Args[0], append(args, more...)...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	cmd.Stderr = &n.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it is gone then
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v:\n%s", err, n.log.String())
		}
	})
	waitFor(t, n.tls.String(), &n.log)
	return n
}

// describe returns the options by which the resolver knows the world.
func (n *nameserverProcess) describe(t *testing.T, dir string) []string {
	t.Helper()
	var anchors strings.Builder
	for _, rr := range n.world.Anchors {
		fmt.Fprintln(&anchors, rr)
	}
	trust := filepath.Join(dir, "trust")
	if err := os.WriteFile(trust, []byte(anchors.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return []string{"--hints", n.world.Hints[0].String(), "--dns-port", itoa(int(n.world.Port)), "--trust", trust, "--private", "--no-ipv6"}
}

func freeAt(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return netip.MustParseAddrPort(l.Addr().String())
}

// order runs a command of the resolver against the running one.
func (n *nameserverProcess) order(t *testing.T, words ...string) (string, error) {
	t.Helper()
	return program(t, append([]string{"resolver", "--control", n.control}, words...)...)
}

func ask(t *testing.T, x dns.Exchanger, name string, typ uint16) *dns.Msg {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	m, err := x.Exchange(ctx, dns.NewQuery(name, typ))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// The resolver answers over UDP, TCP and TLS, and tells what is secure.
func TestResolverServe(t *testing.T) {
	n := serveNames(t)
	for _, how := range []string{"udp:" + n.at.String(), "tcp:" + n.at.String(), "tls:" + n.tls.String() + "!resolver.example!" + n.ca} {
		server, err := dns.ParseNameserver(how)
		if err != nil {
			t.Fatal(err)
		}
		x := &dns.Client{Servers: []dns.Nameserver{server}, Trust: true, Timeout: 10 * time.Second, Attempts: 2}
		for _, c := range []struct {
			name   string
			typ    uint16
			rcode  int
			secure bool
			n      int
		}{
			{"good.example", dns.TypeMX, dns.RcodeSuccess, true, 1},
			{"nope.good.example", dns.TypeMX, dns.RcodeNameError, true, 0},
			{"away.good.example", dns.TypeA, dns.RcodeSuccess, false, 2},
			{"plain.example", dns.TypeMX, dns.RcodeSuccess, false, 1},
			{"bad.example", dns.TypeMX, dns.RcodeServerFailure, false, 0},
		} {
			m := ask(t, x, c.name, c.typ)
			if m.Rcode != c.rcode || m.AuthenticatedData != c.secure || len(m.Answer) != c.n {
				t.Errorf("%s over %s: %v", c.name, how, m)
			}
		}
	}
	n.checkOrders(t)
	n.checkMetrics(t)
}

// checkOrders takes the control socket through its orders.
func (n *nameserverProcess) checkOrders(t *testing.T) {
	t.Helper()
	x := &dns.Client{Servers: []dns.Nameserver{{Transport: dns.UDP, Addr: n.at}}, Timeout: 10 * time.Second}
	if out, err := n.order(t, "dump"); err != nil || !strings.Contains(out, "\n; good.example. MX: records, secure") || !strings.Contains(out, "\n; servers of good.example.") {
		t.Errorf("dump: %v\n%s", err, out)
	}
	if out, err := n.order(t, "flush", "good.example"); err != nil || !strings.Contains(out, "answers forgotten") || strings.HasPrefix(out, "0 ") {
		t.Errorf("flush: %v\n%s", err, out)
	}
	if out, err := n.order(t, "dump"); err != nil || strings.Contains(out, "; good.example. MX") || !strings.Contains(out, "; plain.example. MX") {
		t.Errorf("dump after flush: %v\n%s", err, out)
	}
	if out, err := n.order(t, "flush", "example", "--below"); err != nil {
		t.Errorf("flush below: %v\n%s", err, out)
	}
	if out, err := n.order(t, "dump"); err != nil || strings.Contains(out, "plain.example. MX") {
		t.Errorf("dump after flush below: %v\n%s", err, out)
	}
	ask(t, x, "good.example", dns.TypeTXT)
	out, err := n.order(t, "stats")
	if err != nil {
		t.Fatalf("stats: %v\n%s", err, out)
	}
	for _, name := range []string{"Questions", "Queries", "TCP", "Bogus", "NXDOMAIN"} {
		i := slices.IndexFunc(strings.Split(out, "\n"), func(s string) bool { return strings.HasPrefix(s, name+" ") })
		if i < 0 || strings.HasSuffix(strings.Split(out, "\n")[i], " 0") && name != "TCP" {
			t.Errorf("stats do not count %s:\n%s", name, out)
		}
	}
	if out, err := n.order(t, "flush", "..bad"); err == nil {
		t.Errorf("flush of no name: %s", out)
	}
}

func (n *nameserverProcess) checkMetrics(t *testing.T) {
	t.Helper()
	resp, err := http.Get("http://" + n.metrics + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"stagecoach_resolver_questions ", "stagecoach_resolver_signatures ", "stagecoach_resolver_bogus "} {
		if _, after, ok := strings.Cut(string(body), "\n"+name); !ok || strings.HasPrefix(after, "0\n") {
			t.Errorf("/metrics does not count %s", name)
		}
	}
}

// Strangers are refused, by any transport; networks that are named are answered.
func TestResolverRefusesStrangers(t *testing.T) {
	outside := outsideAddr(t)
	for _, allowed := range []bool{false, true} {
		at, secure := netip.AddrPortFrom(outside, freeAt(t).Port()), netip.AddrPortFrom(outside, freeAt(t).Port())
		more := []string{"--listen", at.String(), "--listen-tls", secure.String()}
		want := dns.RcodeRefused
		if allowed {
			more = append(more, "--allow", outside.String()+"/32")
			want = dns.RcodeSuccess
		}
		n := serveNames(t, more...)
		waitFor(t, secure.String(), &n.log)
		for _, how := range []string{"udp:" + at.String(), "tcp:" + at.String(), "tls:" + secure.String() + "!resolver.example!" + n.ca} {
			server, err := dns.ParseNameserver(how)
			if err != nil {
				t.Fatal(err)
			}
			m := ask(t, &dns.Client{Servers: []dns.Nameserver{server}, Timeout: 10 * time.Second}, "good.example", dns.TypeMX)
			if m.Rcode != want || !allowed && len(m.Answer) > 0 {
				t.Errorf("allowed=%v over %s: %v", allowed, server, m)
			}
		}
	}
}

// outsideAddr returns an IPv4 address of this machine that is none of loopback.
func outsideAddr(t *testing.T) netip.Addr {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && !p.Addr().IsLoopback() {
			return p.Addr()
		}
	}
	t.Skip("this machine has no address but loopback")
	return netip.Addr{}
}
