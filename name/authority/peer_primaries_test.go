package authority

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"stagecoach/lab/peer"
	"stagecoach/rfc/dns"
)

// primaries are the programs that we take zones of, by signed transfers, after signed NOTIFYs to
// our address. config is what has them sign the zone.
var primaries = map[string]func(t *testing.T, at, ours netip.AddrPort, key dns.Key, sign bool, zone string) *daemon{
	"named": func(t *testing.T, at, ours netip.AddrPort, key dns.Key, sign bool, zone string) *daemon {
		policy := ""
		if sign {
			policy = "dnssec-policy default; inline-signing yes;"
		}
		return runNamed(t, at, []dns.Key{key}, fmt.Sprintf("zone \"example\" { type primary; file \"example\"; %[4]s allow-update { key %[1]q; };"+
			" allow-transfer { key %[1]q; }; notify explicit; also-notify port %[2]d { %[3]s key %[1]q; }; };\n",
			key.Name, ours.Port(), ours.Addr(), policy), map[string]string{"example": zone})
	},
	"knotd": func(t *testing.T, at, ours netip.AddrPort, key dns.Key, sign bool, zone string) *daemon {
		return runKnot(t, at, []dns.Key{key}, fmt.Sprintf(`remote:
  - id: ours
    address: %s@%d
    key: %[3]q
acl:
  - id: all
    key: %[3]q
    action: [transfer, update]
zone:
  - domain: example
    file: example
    notify: ours
    acl: all
    dnssec-signing: %v
`, ours.Addr(), ours.Port(), key.Name, sign), map[string]string{"example": zone})
	},
}

// A journalist keeps the log of a server of ours.
type journalist struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journalist) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(b)
}

func (j *journalist) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}

// We take the zones of BIND and Knot whole, hear their signed NOTIFYs, follow by IXFR, and have
// then what they have: signed or not, with keys of each algorithm.
func TestPeersAsPrimaries(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"named", "knotd"} {
		for _, c := range []struct {
			algorithm string
			sign      bool
		}{{"SHA256", false}, {"SHA384", true}, {"SHA512", false}} {
			at, ours := freeAddress(t, "127.0.0.1"), freeAddress(t, "127.0.0.1")
			t.Run(fmt.Sprint(program, " ", c.algorithm), func(t *testing.T) {
				peer.Need(t, program)
				t.Parallel()
				followsThem(t, program, at, ours, peerKey(t, "k.example", c.algorithm), c.sign)
			})
		}
	}
}

func followsThem(t *testing.T, program string, at, ours netip.AddrPort, key dns.Key, sign bool) {
	var log journalist
	sec := &Secondary{
		Dir:   t.TempDir(),
		Zones: []SecondaryZone{{Name: "example", Key: key, Primaries: []dns.Nameserver{{Transport: dns.TCP, Addr: at}}}},
		Log:   slog.New(slog.NewTextHandler(&log, nil)),
	}
	if err := sec.Load(); err != nil {
		t.Fatal(err)
	}
	listenAt(t, ours.String(), sec, sec.FindKey)
	zone := signedFiles()["example"]
	if key.Algorithm == dns.HMACSHA512 {
		zone += manyNames(1500)
	}
	d := primaries[program](t, at, ours, key, sign, zone)
	eventually(t, program+" serves", func() bool {
		soa, err := dns.SOA(t.Context(), client(at, dns.UDP, dns.Key{}), "example")
		return err == nil && (!sign || soa.Serial != 7)
	})
	if t.Failed() {
		return
	}
	go sec.Run(t.Context())
	same := func(what string) {
		t.Helper()
		diff := "no zone"
		for range 1000 {
			if c := sec.held["example."].copy.Load(); c != nil {
				soa, err := dns.SOA(t.Context(), client(at, dns.UDP, dns.Key{}), "example")
				if err == nil && soa.Serial == c.zone.Serial() {
					if diff = differs(zoneAt(t, at, "example", key), c.zone.Records()); diff == "" {
						return
					}
				}
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Fatalf("%s: of %s we have something else:\n%s\n%s", what, program, diff, &log)
	}
	same("AXFR")
	for i, change := range changesForPeers(t) {
		if err := dns.Do(t.Context(), client(at, dns.TCP, key), change); err != nil {
			t.Fatal(i, err)
		}
		same(fmt.Sprintf("change %d", i))
	}
	if n := d.logged("IXFR started") + d.logged("IXFR, outgoing"); n < 5 {
		t.Errorf("%d changes were taken by IXFR", n)
	}
	if strings.Contains(log.String(), "level=WARN") {
		t.Errorf("our log complains: %s", &log)
	}
}

// manyNames is zone text that takes several messages to transfer.
func manyNames(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "many%d TXT \"record %d of a zone that does not fit one message\"\n", i, i)
	}
	return b.String()
}
