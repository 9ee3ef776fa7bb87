package authority

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"stagecoach/lab/peer"
	"stagecoach/rfc/dns"
)

// A tap stands before an Authority and counts how transfers were answered.
type tap struct {
	*Authority
	mu    sync.Mutex
	count map[string]int // "AXFR", "IXFR", and "IXFR whole" where all of the zone was the answer
	keys  map[string]bool
}

func newTap(a *Authority) *tap {
	return &tap{Authority: a, count: map[string]int{}, keys: map[string]bool{}}
}

func (p *tap) Serve(ctx context.Context, r *dns.Request, send func(*dns.Msg) error) error {
	if r.Msg.Opcode != dns.OpcodeQuery || !isTransfer(r.Msg) {
		return p.Authority.Serve(ctx, r, send)
	}
	soas, records := 0, 0
	err := p.Authority.Serve(ctx, r, func(m *dns.Msg) error {
		for _, rr := range m.Answer {
			records++
			if rr.Header().Rrtype == dns.TypeSOA {
				soas++
			}
		}
		return send(m)
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	kind := dns.TypeName(r.Msg.Question[0].Qtype)
	if kind == "IXFR" && soas == 2 && records > 2 {
		kind = "IXFR whole"
	}
	p.count[kind]++
	p.keys[r.Key.Name] = true
	return err
}

func (p *tap) seen(kind string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count[kind]
}

// secondaries are the programs that take zones of ours.
var secondaries = map[string]func(t *testing.T, primary, at netip.AddrPort, key dns.Key) *daemon{
	"named": func(t *testing.T, primary, at netip.AddrPort, key dns.Key) *daemon {
		return runNamed(t, at, []dns.Key{key}, fmt.Sprintf(
			"zone \"example\" { type secondary; primaries port %d { %s key %q; }; file \"example\"; masterfile-format text; allow-notify { key %q; }; };\n",
			primary.Port(), primary.Addr(), key.Name, key.Name), nil)
	},
	"knotd": func(t *testing.T, primary, at netip.AddrPort, key dns.Key) *daemon {
		return runKnot(t, at, []dns.Key{key}, fmt.Sprintf(`remote:
  - id: ours
    address: %[1]s@%[2]d
    key: %[3]q
acl:
  - id: notify
    key: %[3]q
    action: notify
  - id: transfer
    address: 127.0.0.0/8
    action: transfer
zone:
  - domain: example
    master: ours
    acl: [notify, transfer]
`, primary.Addr(), primary.Port(), key.Name), nil)
	},
}

// BIND and Knot take our zones whole, hear our signed NOTIFYs, follow by IXFR, and have then what
// we have: signed or not, with keys of each algorithm.
func TestPeersAsSecondaries(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"named", "knotd"} {
		for _, c := range []struct {
			name, algorithm string
			signing         *Signing
		}{
			{"unsigned", "SHA256", nil}, {"NSEC", "SHA384", &Signing{}}, {"NSEC3", "SHA512", &Signing{NSEC3: true, Split: true}},
		} {
			at := freeAddress(t, "127.0.0.1") // BIND listens on addresses of interfaces alone
			t.Run(program+" "+c.name, func(t *testing.T) {
				peer.Need(t, program)
				t.Parallel()
				followsUs(t, program, at, c.algorithm, c.signing)
			})
		}
	}
}

func followsUs(t *testing.T, program string, at netip.AddrPort, algorithm string, signing *Signing) {
	key := peerKey(t, fmt.Sprintf("127.0.0.1.%s._transfer.example", at.Addr()), algorithm)
	files := signedFiles()
	if signing == nil {
		files["example"] += manyNames(1500)
	}
	files["example._keys"] += key.Record() + "\n"
	a, ours, _, _ := start(t, files, func(a *Authority) {
		a.NotifyPort = at.Port()
		if signing != nil {
			signing.Dir = t.TempDir()
			a.Signing = signing
		}
	})
	tapped := newTap(a)
	primary := netip.AddrPortFrom(ours.Addr(), listenAt(t, "127.0.0.1:0", tapped, a.Key))
	up := client(ours, dns.TCP, keyNamed(t, "personal._update.example"))
	first := dns.NewUpdate("example")
	first.Insert(rrs(t, "first.example. 300 TXT x")) // the serial that a zone begins to be signed with is none for an increment
	if err := dns.Do(t.Context(), up, first); err != nil {
		t.Fatal(err)
	}
	d := secondaries[program](t, primary, at, key)
	same := func(what string) {
		t.Helper()
		var ours *Zone
		ok := false
		for range 1000 {
			ours, _ = a.Zone("example")
			soa, err := dns.SOA(t.Context(), client(d.at, dns.UDP, dns.Key{}), "example")
			if ok = err == nil && soa.Serial == ours.Serial(); ok {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		if !ok {
			t.Fatalf("%s: %s never has it", what, program)
		}
		theirs := zoneAt(t, d.at, "example", dns.Key{})
		if diff := differs(theirs, ours.Records()); diff != "" {
			t.Errorf("%s: %s has something else:\n%s", what, program, diff)
		}
	}
	same("AXFR")
	if tapped.seen("AXFR")+tapped.seen("IXFR whole") == 0 {
		t.Error("no whole transfer was seen")
	}
	whole := tapped.seen("AXFR") + tapped.seen("IXFR whole")
	for i, change := range changesForPeers(t) {
		if err := dns.Do(t.Context(), up, change); err != nil {
			t.Fatal(i, err)
		}
		same(fmt.Sprintf("change %d", i))
	}
	if signing != nil {
		if err := signing.RollKSK("example", time.Now()); err != nil {
			t.Fatal(err)
		}
		a.Renew(t.Context())
		same("another key")
	}
	if tapped.seen("IXFR") == 0 || tapped.seen("AXFR")+tapped.seen("IXFR whole") != whole {
		t.Errorf("the changes were not taken by IXFR: %v", tapped.count)
	}
	if len(tapped.keys) != 1 || !tapped.keys[key.Name] {
		t.Errorf("signed by %v", tapped.keys)
	}
}

// changesForPeers are UPDATEs, one after the other, of every sort.
func changesForPeers(t *testing.T) []*dns.Msg {
	t.Helper()
	var out []*dns.Msg
	add := func(f func(*dns.Msg)) {
		m := dns.NewUpdate("example")
		f(m)
		out = append(out, m)
	}
	add(func(m *dns.Msg) { m.Insert(rrs(t, "new.deep.example. 300 A 192.0.2.50")) })
	add(func(m *dns.Msg) { // another TTL, some go, some come
		m.RemoveRRset(rrs(t, "mx.example. 0 A 192.0.2.2"))
		m.Insert(rrs(t, "mx.example. 600 A 192.0.2.2", "mx.example. 600 A 192.0.2.3", `txt.example. 300 TXT "a;\"b" "\001\255"`))
	})
	add(func(m *dns.Msg) { m.RemoveName(rrs(t, "new.deep.example. 0 A 192.0.2.50")) }) // an empty non-terminal goes
	add(func(m *dns.Msg) {                                                             // a delegation, signed, and a wildcard
		m.Insert(rrs(t, "child.example. 300 NS ns.child.example.", "ns.child.example. 300 A 192.0.2.60", "child.example. 300 DS 1 13 2 "+strings.Repeat("ab", 32),
			"*.w2.example. 300 MX 10 mx.example."))
	})
	add(func(m *dns.Msg) { // names below a new delegation become glue
		m.Insert(rrs(t, "c.example. 300 NS ns.other."))
	})
	add(func(m *dns.Msg) { m.RemoveRRset(rrs(t, "c.example. 0 NS ns.other.")) })
	add(func(m *dns.Msg) { // the SOA itself, by hand
		m.Insert(rrs(t, "example. 300 SOA ns1 hostmaster 4000000000 7200 900 1209600 30"))
	})
	return out
}
