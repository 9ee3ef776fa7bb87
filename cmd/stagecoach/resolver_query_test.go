package main

import (
	"regexp"
	"strings"
	"testing"
)

// queryFates are what "resolver query" prints about names of each fate, in this order, and
// whether it fails.
var queryFates = []struct {
	name, typ string
	fails     bool
	prints    []string
}{
	{"good.example", "MX", false, []string{
		`^NOERROR, secure, after \d+ms\ngood\.example\.\t\d+\tIN\tMX\t10 mail\.good\.example\.\n`,
		`\nChain of trust of good\.example\. MX, which is secure:\n  \.  trust anchor; keys \d+ \(ED25519\)\n  example\.  DS above; keys \d+ \(ED25519\)\n  good\.example\.  DS above; keys \d+ \(ED25519\)\n`,
		`\nHow it was found:\n`, `asked 127\.7\.0\.1:\d+ for example\. A`, `127\.7\.0\.1:\d+ refers to the servers of example\.`,
		`the keys of \. are signed by key \d+ \(ED25519\), whose digest is trusted`,
		`good\.example\. MX is signed by key \d+ \(ED25519\) of good\.example\.`,
	}},
	{"good.example", "MX", false, []string{`^NOERROR, secure`, `  good\.example\.  DS above`, `good\.example\. MX: records, from memory`}},
	{"_25._tcp.mail.good.example", "TLSA", false, []string{`^NOERROR, secure`, `TLSA\t3 1 1 0102`, `  good\.example\.  DS above`}},
	{"plain.example", "MX", false, []string{`^NOERROR, insecure`, `  plain\.example\.  not signed: the zone above proves that it has no DS`,
		`example\. proves: plain\.example\. DS, no such records \(secure\)`}},
	{"away.good.example", "A", false, []string{`^NOERROR, insecure`, `CNAME\twww\.plain\.example\.\nwww\.plain\.example\.\t\d+\tIN\tA\t192\.0\.2\.80`,
		`of away\.good\.example\. CNAME, which is secure`, `of www\.plain\.example\. A, which is insecure`}},
	{"nope.good.example", "MX", false, []string{`^NXDOMAIN, secure`, `\tSOA\t`, `good\.example\. proves: nope\.good\.example\. MX, no such name \(secure\)`}},
	{"bad.example", "MX", true, []string{`^SERVFAIL, bogus`, `DNSSEC Bogus: no key of bad\.example\. made the signature over bad\.example\. DNSKEY`,
		`  bad\.example\.  BOGUS: `}},
	{"late.example", "MX", true, []string{`^SERVFAIL, bogus`, `Signature Expired: .* expired at \d{4}-\d\d-\d\d .*: is our clock right\?`, `  late\.example\.  BOGUS: `}},
	{"early.example", "MX", true, []string{`^SERVFAIL, bogus`, `Signature Not Yet Valid: .* is not valid before \d{4}-.*: is our clock right\?`}},
	{"silent.example", "MX", true, []string{`^SERVFAIL, after`, `No Reachable Authority: 127\.7\.0\.4:\d+, for silent\.example\.: no answer`,
		`asked 127\.7\.0\.4:\d+ for silent\.example\. MX: no answer`}},
}

// A person who asks why mail does not arrive reads what was found, whether it can be trusted and
// why, and how it was found; of the running resolver, and of one that begins anew.
func TestResolverQuery(t *testing.T) {
	t.Parallel()
	n := serveNames(t)
	for _, c := range queryFates {
		out, err := n.order(t, "query", c.name, c.typ)
		checkQuery(t, c.name, out, err, c.fails, c.prints)
	}
	for _, i := range []int{0, 6} {
		c := queryFates[i]
		out, err := program(t, append(append([]string{"resolver", "query", "--anew"}, n.options...), c.name, c.typ)...)
		checkQuery(t, c.name+" anew", out, err, c.fails, c.prints)
	}
	out, err := program(t, "resolver", "query", "..", "MX")
	if err == nil {
		t.Errorf("no name: %s", out)
	}
}

func checkQuery(t *testing.T, name, out string, err error, fails bool, prints []string) {
	t.Helper()
	if (err != nil) != fails || fails && !strings.Contains(out, "this is temporary") {
		t.Errorf("%s: %v\n%s", name, err, out)
	}
	for _, p := range prints {
		if !regexp.MustCompile(p).MatchString(out) {
			t.Errorf("%s: nothing like %s in\n%s", name, p, out)
		}
	}
}

// An operator lets a zone pass whose signatures are broken, and ends it again.
func TestResolverUntrust(t *testing.T) {
	n := serveNames(t)
	steps := []struct {
		words []string
		fails bool
		want  string
	}{
		{[]string{"query", "bad.example", "MX"}, true, "SERVFAIL, bogus"},
		{[]string{"untrust", "bad.example", "--for", "1h"}, false, ""},
		{[]string{"query", "bad.example", "MX"}, false, "NOERROR, insecure"},
		{[]string{"query", "bad.example", "MX"}, false, "bad.example.  not validated: a negative trust anchor is set (RFC 7646)"},
		{[]string{"untrust"}, false, "bad.example. until 2"},
		{[]string{"query", "good.example", "MX"}, false, "NOERROR, secure"},
		{[]string{"trust", "bad.example"}, false, ""},
		{[]string{"query", "bad.example", "MX"}, true, "SERVFAIL, bogus"},
		{[]string{"trust", "bad.example"}, true, "under no negative trust anchor"},
		{[]string{"untrust", "bad.example", "--for", "200h"}, true, "a week at most"},
	}
	for _, s := range steps {
		if out, err := n.order(t, s.words...); (err != nil) != s.fails || !strings.Contains(out, s.want) {
			t.Errorf("%v: %v\n%s", s.words, err, out)
		}
	}
}
