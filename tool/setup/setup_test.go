package setup

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"stagecoach/rfc/dns"
)

var update = flag.Bool("update", false, "write what comes out as what is expected")

func addrs(texts ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range texts {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func example(t *testing.T, d Domain) Domain {
	t.Helper()
	if d.Name == "" {
		d.Name = "Example.ORG"
	}
	if d.Addresses == nil {
		d.Addresses = addrs("2001:db8::25", "192.0.2.25")
	}
	d, err := d.Check()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

var someDay = time.Date(2026, 11, 21, 23, 0, 0, 0, time.UTC)

const (
	someDKIM = `s1-rsa._domainkey.example.org. IN TXT "v=DKIM1; k=rsa; p=MIIB"`
	someDS   = "example.org. IN DS 12345 13 2 ABCDEF"
)

// somePlan is all that is planned for a domain, as files.
func somePlan(d Domain, s Service) *txtar.Archive {
	keys := map[string]dns.Key{}
	for i, role := range Roles() {
		keys[role] = d.NewKey(role)
		k := keys[role]
		k.Secret = []byte(strings.Repeat(string(rune('a'+i)), 32))
		keys[role] = k
	}
	files := d.Files(d.Zone([]string{someDKIM}, someDay), keys)
	a := &txtar.Archive{}
	for _, name := range []string{d.Name, d.Name + "._keys", d.Name + "._grants"} {
		a.Files = append(a.Files, txtar.File{Name: name, Data: files[name]})
	}
	var pastes strings.Builder
	for _, p := range d.Pastes([]string{someDS}) {
		pastes.WriteString(p.Who + ".\n" + p.Why + "\n")
		for _, line := range p.Lines {
			pastes.WriteString("    " + line + "\n")
		}
		pastes.WriteString(p.Note + "\n")
	}
	a.Files = append(a.Files,
		txtar.File{Name: "stagecoach.toml", Data: []byte(d.Config(s))},
		txtar.File{Name: "pastes", Data: []byte(pastes.String())})
	return a
}

// What is planned stands in testdata, to be read.
func TestPlan(t *testing.T) {
	for name, plan := range map[string]*txtar.Archive{
		"usual": somePlan(example(t, Domain{}), Service{State: DefaultState, Postmaster: "ann@example.org",
			Listen: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.25:53"), netip.MustParseAddrPort("[2001:db8::25]:53")}}),
		"other": somePlan(example(t, Domain{
			Addresses: addrs("192.0.2.25"), MX: "post", Submission: "post", Policy: "reject", Reports: "reports@example.net",
			NameServers: []NameServer{{Host: "post"}, {Host: "ns2", Elsewhere: true, Addresses: addrs("198.51.100.7")}, {Host: "ns.example.net", Elsewhere: true}},
			Keep:        []string{"example.org. 300 IN A 203.0.113.80", "www.example.org.\tCNAME\texample.org."},
		}), Service{State: `/srv/a "b"`, Staging: true, NoWeb: true, NoIPv6: true, Source: addrs("192.0.2.25")}),
	} {
		file := filepath.Join("testdata", name+".txtar")
		if *update {
			if err := os.WriteFile(file, txtar.Format(plan), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(txtar.Format(want)), string(txtar.Format(plan))); diff != "" {
			t.Errorf("%s:\n%s", file, diff)
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	v4 := addrs("192.0.2.25")
	for want, d := range map[string]Domain{
		"is no domain":          {Name: "exam ple.org", Addresses: v4},
		"write it as":           {Name: "localhost", Addresses: v4},
		"no domain:":            {Name: "[192.0.2.1]", Addresses: v4},
		"no IPv4 address":       {Name: "example.org", Addresses: addrs("2001:db8::1")},
		"no address of":         {Name: "example.org", Addresses: addrs("0.0.0.0")},
		"is not in example.org": {Name: "example.org", Addresses: v4, MX: "mx.example.net"},
		"no name of a host":     {Name: "example.org", Addresses: v4, Submission: "a b"},
		"DMARC policy":          {Name: "example.org", Addresses: v4, Policy: "maybe"},
		"reports to":            {Name: "example.org", Addresses: v4, Reports: "nobody"},
		"named twice":           {Name: "example.org", Addresses: v4, NameServers: []NameServer{{Host: "ns1"}, {Host: "ns1.example.org"}}},
		"is a secondary":        {Name: "example.org", Addresses: v4, NameServers: []NameServer{{Host: "ns.example.net"}}},
		"its address is needed": {Name: "example.org", Addresses: v4, NameServers: []NameServer{{Host: "ns1"}, {Host: "ns2", Elsewhere: true}}},
		"that is this machine":  {Name: "example.org", Addresses: v4, NameServers: []NameServer{{Host: "ns.example.net", Elsewhere: true}}},
	} {
		if _, err := d.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", d, err, want)
		}
	}
}

// A zone that was written gives the same domain again, so that a second run says the same.
func TestRead(t *testing.T) {
	for _, d := range []Domain{
		example(t, Domain{}),
		example(t, Domain{MX: "post", Submission: "out", NameServers: []NameServer{{Host: "ns1"},
			{Host: "ns2", Elsewhere: true, Addresses: addrs("198.51.100.7")}, {Host: "ns.example.net", Elsewhere: true}}}),
	} {
		got, err := Read(d.Name, d.Zone([]string{someDKIM}, someDay), nil)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(d.Pastes(nil), got.Pastes(nil)); diff != "" {
			t.Error(diff)
		}
		if got.MX != d.MX || got.Submission != d.Submission || !slices.EqualFunc(got.NameServers, d.NameServers, func(a, b NameServer) bool { return a.Elsewhere == b.Elsewhere }) {
			t.Errorf("read %+v, wrote %+v", got, d)
		}
	}
	for _, bad := range []string{"@ SOA a. b. 1 1 1 1 1\n@ NS ns1\n", "@ MX (", ""} {
		if d, err := Read("example.org", bad, nil); err == nil {
			t.Errorf("%q was read as %+v", bad, d)
		}
	}
}

func TestLacks(t *testing.T) {
	d := example(t, Domain{})
	want := d.Zone([]string{someDKIM}, someDay)
	if lacks, err := Lacks(d.Name, want, want); err != nil || len(lacks) > 0 {
		t.Fatal(lacks, err)
	}
	var have strings.Builder
	for line := range strings.Lines(want) {
		if !strings.HasPrefix(line, "_dmarc") {
			have.WriteString(line)
		}
	}
	lacks, err := Lacks(d.Name, have.String(), want)
	if err != nil || len(lacks) != 1 || !strings.HasPrefix(lacks[0], "_dmarc.example.org.") {
		t.Fatal(lacks, err)
	}
}

func TestIsPublic(t *testing.T) {
	for text, want := range map[string]bool{
		"9.9.9.9": true, "2a01:4f8::1": true, "10.1.2.3": false, "172.31.0.1": false, "192.168.1.1": false, "127.0.0.1": false,
		"169.254.1.1": false, "100.64.0.1": false, "192.0.2.1": false, "::1": false, "fe80::1": false, "fd00::1": false, "2001:db8::1": false,
		"::ffff:10.0.0.1": false, "::ffff:9.9.9.9": true, "224.0.0.1": false, "255.255.255.255": false, "0.0.0.0": false,
	} {
		if got := IsPublic(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

func TestParseSecondary(t *testing.T) {
	s, err := ParseSecondary("ns2.example.org=198.51.100.7,2001:db8::7")
	if diff := cmp.Diff(NameServer{"ns2.example.org", addrs("198.51.100.7", "2001:db8::7"), true}, s, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" || err != nil {
		t.Error(err, diff)
	}
	if _, err := ParseSecondary("ns2=x"); err == nil {
		t.Error("no address was taken")
	}
}

// Every key is new, and its name says its right.
func TestKeys(t *testing.T) {
	d := example(t, Domain{})
	seen := map[string]bool{}
	for _, role := range Roles() {
		k := d.NewKey(role)
		if len(k.Secret) != 32 || seen[string(k.Secret)] {
			t.Errorf("%s: the secret is not new, or of %d octets", role, len(k.Secret))
		}
		seen[string(k.Secret)] = true
		if again, err := dns.ParseKey(k.Flag()); err != nil || again.Name != k.Name {
			t.Errorf("%s: %v", role, err)
		}
	}
}
