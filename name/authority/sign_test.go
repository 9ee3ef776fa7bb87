package authority

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stagecoach/lab/peer"
	"stagecoach/rfc/dns"
)

// signedAnswers are questions and what a validator must make of them.
var signedAnswers = []struct{ name, kind, rcode string }{
	{"example", "SOA", "NOERROR"}, {"example", "MX", "NOERROR"}, {"example", "DNSKEY", "NOERROR"}, {"example", "CDS", "NOERROR"},
	{"mx.example", "A", "NOERROR"}, {"mx.example", "TXT", "NOERROR"}, // the second is NODATA
	{"no.example", "A", "NXDOMAIN"}, {"a.a.example", "A", "NXDOMAIN"}, {"zz.example", "A", "NXDOMAIN"}, {"x.b.c.example", "A", "NXDOMAIN"},
	{"b.c.example", "A", "NOERROR"}, {"www.example", "A", "NOERROR"}, {"www.example", "TXT", "NOERROR"},
	{"x.wild.example", "TXT", "NOERROR"}, {"y.x.wild.example", "TXT", "NOERROR"}, {"x.wild.example", "A", "NOERROR"},
	{"host.wild.example", "TXT", "NOERROR"}, {"x.host.wild.example", "TXT", "NXDOMAIN"}, {"x.c.wild.example", "A", "NOERROR"},
	{"*.wild.example", "TXT", "NOERROR"}, {"sub.example", "DS", "NOERROR"}, {"bare.example", "DS", "NOERROR"},
	{"_25._tcp.mx.example", "TLSA", "NOERROR"}, {"_tcp.mx.example", "TLSA", "NOERROR"}, {"odd.example", "TYPE65280", "NOERROR"},
	{"host.old.example", "TXT", "NOERROR"},
}

func signedFiles() map[string]string {
	files := maps.Clone(testFiles)
	files["example"] = strings.Replace(exampleText, "old	DNAME	sister", "old	DNAME	wild", 1) + "bare NS ns.other.\n"
	return files
}

func startSigned(t *testing.T, s *Signing, now *atomic.Int64) (*Authority, netip.AddrPort) {
	t.Helper()
	s.Dir = t.TempDir()
	a, at, _, _ := start(t, signedFiles(), func(a *Authority) {
		a.Signing = s
		a.Now = func() time.Time { return time.Unix(now.Load(), 0) }
	})
	if p := a.Problems(); len(p) > 0 {
		t.Fatal(p)
	}
	return a, at
}

func sigsAt(z *Zone, name string, t uint16) []dns.RR {
	n := z.node(name)
	return z.signatures(n, z.get(n, t))
}

func clockNow() *atomic.Int64 {
	now := new(atomic.Int64)
	now.Store(time.Now().Unix())
	return now
}

// delv, which is BIND's validator, finds every answer good.
func TestDelvValidates(t *testing.T) {
	t.Parallel()
	delv := peer.Need(t, "delv")[0]
	now := clockNow()
	for _, s := range []*Signing{{}, {Split: true, NSEC3: true}} {
		a, at := startSigned(t, s, now)
		anchor := filepath.Join(t.TempDir(), "anchor")
		z, _ := a.Zone("example")
		for _, rr := range z.node("example.").set(dns.TypeDNSKEY) {
			if k := rr.(*dns.DNSKEYRecord); k.Flags == flagsKSK {
				text := fmt.Sprintf("trust-anchors { \"example.\" static-key 257 3 13 %q; };\n", k.PublicKey)
				if err := os.WriteFile(anchor, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, q := range signedAnswers {
			out, _ := exec.CommandContext(t.Context(), delv, "@127.0.0.1", "-p", fmt.Sprint(at.Port()), "-a", anchor,
				"+root=example", q.name, q.kind).CombinedOutput()
			if !strings.Contains(string(out), "fully validated") {
				t.Errorf("NSEC3 %v: %s %s: %s", s.NSEC3, q.name, q.kind, out)
			}
		}
	}
}

// Unbound finds every answer secure.
func TestUnboundValidates(t *testing.T) {
	t.Parallel()
	t.Run("NSEC", func(t *testing.T) { validateWithUnbound(t, &Signing{}) })
	t.Run("NSEC3", func(t *testing.T) { validateWithUnbound(t, &Signing{NSEC3: true}) })
}

func validateWithUnbound(t *testing.T, s *Signing) {
	peer.Need(t, "unbound")
	dig := peer.Need(t, "dig")[0]
	now := clockNow()
	a, at := startSigned(t, s, now)
	ds, err := a.Signing.DS("example", time.Unix(now.Load(), 0))
	if err != nil || len(ds) != 1 {
		t.Fatal(ds, err)
	}
	address := freeAddress(t, "127.0.0.1")
	runUnbound(t, address.String(), fmt.Sprintf(" module-config: \"validator iterator\"\n trust-anchor: %q\n cache-max-ttl: 0\n"+
		" cache-max-negative-ttl: 0\nstub-zone:\n name: example\n stub-addr: 127.0.0.1@%d", ds[0], at.Port()))
	resolver := client(address, dns.UDP, dns.Key{})
	eventually(t, "unbound", func() bool {
		r, err := resolver.Exchange(t.Context(), dns.NewQuery("example", dns.TypeSOA))
		return err == nil && r.Rcode == 0
	})
	for _, q := range signedAnswers {
		if q.kind == "DS" {
			continue // it would have to go to other servers as well
		}
		out, err := exec.CommandContext(t.Context(), dig, "@127.0.0.1", "-p", fmt.Sprint(address.Port()), "+dnssec", q.name, q.kind).CombinedOutput()
		text := string(out)
		if err != nil || !strings.Contains(text, "status: "+q.rcode) || !strings.Contains(text, " ad;") && !strings.Contains(text, " ad ") {
			t.Errorf("%s %s: %v %s", q.name, q.kind, err, text)
		}
	}
}

// A copy of a signed zone, by transfer or from the disk, answers as the zone does.
func TestCopyOfSignedZoneAnswersAlike(t *testing.T) {
	t.Parallel()
	for _, s := range []*Signing{{}, {NSEC3: true}} {
		s.Dir = t.TempDir()
		z, _, err := s.sign(zoneOf(t, "example", signedFiles()["example"]), nil, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		again, err := NewZone("example", z.Records())
		if err != nil {
			t.Fatal(err)
		}
		stored := copyFile{t.TempDir(), "example."}
		if err := stored.write(&zoneCopy{again, time.Now()}); err != nil {
			t.Fatal(err)
		}
		read, err := stored.read()
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range signedAnswers {
			kind, _ := dns.ParseType(q.kind)
			m := dns.NewQuery(q.name, kind)
			m.IsEdns0().SetDo()
			want := short(Zones{"example.": z}.Answer(m))
			for _, copied := range []*Zone{again, read.zone} {
				if d := cmp.Diff(want, short(Zones{"example.": copied}.Answer(m))); d != "" || len(want) < 2 {
					t.Errorf("NSEC3 %v: %s %s: %s", s.NSEC3, q.name, q.kind, d)
				}
			}
		}
	}
}

// The DS that is printed before a zone is first served is that of the key which then signs it.
func TestKeysMadeAhead(t *testing.T) {
	now := clockNow()
	s := &Signing{}
	dir := t.TempDir()
	ahead := &Signing{Dir: dir}
	for _, want := range []bool{true, false} {
		if made, err := ahead.MakeKeys("Example", time.Unix(now.Load(), 0)); err != nil || made != want {
			t.Fatalf("keys were made: %v, %v", made, err)
		}
	}
	before, err := ahead.DS("example", time.Unix(now.Load(), 0))
	if err != nil || len(before) != 1 {
		t.Fatal(before, err)
	}
	a, _, _, _ := start(t, signedFiles(), func(a *Authority) {
		s.Dir = dir
		a.Signing = s
		a.Now = func() time.Time { return time.Unix(now.Load(), 0) }
	})
	if p := a.Problems(); len(p) > 0 {
		t.Fatal(p)
	}
	after, err := a.Signing.DS("example", time.Unix(now.Load(), 0))
	if diff := cmp.Diff(before, after); diff != "" || err != nil {
		t.Fatal(err, diff)
	}
	if info, err := os.Stat(filepath.Join(dir, "example.keys")); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatal(info, err)
	}
}
