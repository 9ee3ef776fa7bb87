package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stagecoach/repo"
	"stagecoach/rfc/dns/dnstest"
	"stagecoach/tool/setup"
)

func t0() time.Time { return time.Now() }

// commitFile changes one file of a repository.
func commitFile(t *testing.T, path, name, text string) {
	t.Helper()
	r, err := repo.Open(path, repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	base, err := r.Fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := repo.Change{Files: map[string][]byte{name: []byte(text)}, Message: "x", Name: "x", Email: "x@x", When: time.Now()}
	if _, err := r.Commit(t.Context(), base, c); err != nil {
		t.Fatal(err)
	}
}

// Which addresses are published, where the name server listens, and from where mail is sent.
func TestAddressesOfMachines(t *testing.T) {
	for name, test := range map[string]struct {
		machine        machine
		given          string
		public         string
		listen, source string
		noIPv6         bool
		want           string // error
	}{
		"both families": {machine{all: addrList("127.0.0.1", "9.9.9.9", "::1", "2a01:4f8::1")}, "", "9.9.9.9 2a01:4f8::1", "9.9.9.9:53 [2a01:4f8::1]:53", "", false, ""},
		"several": {machine{all: addrList("9.9.9.9", "9.9.9.10", "2a01:4f8::1", "2a01:4f8::2"), route: addrList("9.9.9.10", "2a01:4f8::2")}, "",
			"9.9.9.10 2a01:4f8::2", "9.9.9.10:53 [2a01:4f8::2]:53", "9.9.9.10 2a01:4f8::2", false, ""},
		"only IPv4 for mail": {machine{all: addrList("9.9.9.9", "2a01:4f8::1")}, "9.9.9.9", "9.9.9.9", "9.9.9.9:53", "", true, ""},
		"behind a gateway":   {machine{all: addrList("127.0.0.1", "10.0.0.5"), route: addrList("10.0.0.5")}, "9.9.9.9", "9.9.9.9", "10.0.0.5:53", "", false, ""},
		"unknown gateway":    {machine{all: addrList("127.0.0.1")}, "9.9.9.9", "9.9.9.9", "", "", false, ""},
		"private":            {machine{all: addrList("127.0.0.1", "10.0.0.5")}, "", "", "", "", false, "it has 10.0.0.5"},
		"only IPv6":          {machine{all: addrList("2a01:4f8::1")}, "", "", "", "", false, "no public IPv4"},
	} {
		t.Run(name, func(t *testing.T) {
			quiet := &talk{out: &bytes.Buffer{}, quiet: true}
			got, err := test.machine.choose(quiet, addrList(strings.Fields(test.given)...))
			if test.want != "" {
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Fatalf("%v, %v", got, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var s setup.Service
			test.machine.serve(&s, setup.Domain{Addresses: got})
			var listen, source []string
			for _, l := range s.Listen {
				listen = append(listen, l.String())
			}
			for _, a := range s.Source {
				source = append(source, a.String())
			}
			want := []string{test.public, test.listen, test.source}
			have := []string{strings.ReplaceAll(list(got), ",", ""), strings.Join(listen, " "), strings.Join(source, " ")}
			if diff := cmp.Diff(want, have); diff != "" || s.NoIPv6 != test.noIPv6 {
				t.Errorf("no IPv6 %v, %s", s.NoIPv6, diff)
			}
		})
	}
}

// A web site stays where it is; what is for mail is not kept.
func TestPresentRecords(t *testing.T) {
	names := dnstest.Zone(t, `
their.example.      300 SOA   ns.old.example. x.old.example. 1 1 1 1 1
their.example.      300 A     203.0.113.80
their.example.      300 AAAA  2001:db8::80
their.example.      300 TXT   "site-verification=\"1\""
their.example.      300 TXT   "v=spf1 include:old.example -all"
their.example.      300 MX    10 mail.old.example.
their.example.      300 DS    1 13 2 AA
www.their.example.  300 CNAME their.example.
`)
	var out bytes.Buffer
	got := keptRecords(t.Context(), &talk{out: &out}, setup.Domain{Name: "their.example"}, names)
	want := []string{
		"their.example. A 203.0.113.80", "their.example. AAAA 2001:db8::80", "www.their.example. CNAME their.example.",
		`their.example. TXT "site-verification=\"1\""`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, say := range []string{"mail.old.example", "is signed at present"} {
		if !strings.Contains(out.String(), say) {
			t.Errorf("nothing of %q:\n%s", say, out.String())
		}
	}
	d, err := setup.Domain{Name: "their.example", Addresses: addrList("192.0.2.25"), Keep: got}.Check()
	if err != nil {
		t.Fatal(err)
	}
	if lacks, err := setup.Lacks(d.Name, d.Zone(nil, t0()), strings.Join(got, "\n")+"\n"); err != nil || len(lacks) > 0 {
		t.Errorf("what was kept is not in the zone: %v, %v", lacks, err)
	}
}
