package main

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"stagecoach/rfc/dns"
	"stagecoach/tool/check"
)

// Our own name server signs its zone. With its key as the trust anchor the chain holds, with
// another it does not, and then nothing else is called wrong for that.
func TestCheckTheChain(t *testing.T) {
	t.Parallel()
	w, err := newWorld(t.Context(), t.TempDir(), true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	serveWith(t, w, func(*config) {})
	var out strings.Builder
	if err := w.naming(soon(t), &out); err != nil {
		t.Fatal(err)
	}
	good := entryKey(t, w)
	bad := *good
	bad.PublicKey = "mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ=="
	r, _ := checkIn(t, w, w.domain, "--trust", trustFile(t, w, good))
	if got := statusOf(r); got["dnssec"] != check.OK || got["nameservers"] != check.OK || got["glue"] != check.OK || r.Count(check.Wrong) > 0 {
		t.Errorf("with the right anchor: %v", r.Lines)
	}
	r, status := checkIn(t, w, w.domain, "--trust", trustFile(t, w, &bad))
	if got := statusOf(r); got["dnssec"] != check.Wrong || r.Count(check.Wrong) != 1 || status != 1 {
		t.Errorf("with a wrong anchor, status %d: %v", status, r.Lines)
	}
}

// entryKey asks our name server for the key that a DS would name.
func entryKey(t *testing.T, w *world) *dns.DNSKEYRecord {
	t.Helper()
	c := &dns.Client{Servers: []dns.Nameserver{{Transport: dns.TCP, Addr: netip.AddrPortFrom(w.address, w.DNSPort())}}}
	a, err := dns.Lookup(soon(t), c, w.domain, dns.TypeDNSKEY)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range dns.Records[*dns.DNSKEYRecord](a) {
		if k.Flags&dns.KeyEntry != 0 {
			return k
		}
	}
	t.Fatal("the zone has no key for its entry")
	return nil
}

func trustFile(t *testing.T, w *world, k *dns.DNSKEYRecord) string {
	t.Helper()
	name := w.path("trust")
	if err := os.WriteFile(name, []byte(dns.DigestSHA256(k).String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// statusOf is the last status of each check.
func statusOf(r *check.Report) map[string]check.Status {
	out := map[string]check.Status{}
	for _, l := range r.Lines {
		out[l.ID] = l.Status
	}
	return out
}
