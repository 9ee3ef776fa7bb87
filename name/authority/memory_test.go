package authority

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stagecoach/rfc/dns"
)

// plainOf returns a query as a Server reads it, nil for one that is not plain.
func plainOf(t testing.TB, wire []byte) *dns.Plain {
	t.Helper()
	q := new(dns.Plain)
	if !dns.ReadPlain(wire, q) {
		return nil
	}
	q.Peer = netip.MustParseAddr("192.0.2.1")
	return q
}

func plainQuery(t testing.TB, name, kind string, secure bool) (*dns.Plain, []byte) {
	t.Helper()
	qtype, ok := dns.ParseType(kind)
	if !ok {
		t.Fatal(kind)
	}
	m := dns.NewQuery(name, qtype)
	m.Id = 0
	if secure {
		m.IsEdns0().SetDo()
	}
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return plainOf(t, wire), wire
}

// longWay returns what Zones.Answer says to a query, as Recall would.
func longWay(t testing.TB, zones Zones, wire []byte) []byte {
	t.Helper()
	q := new(dns.Msg)
	if err := q.Unpack(wire); err != nil {
		t.Fatal(err)
	}
	q.Question[0].Name = dns.Canonical(q.Question[0].Name)
	m := zones.Answer(q)
	if m.Rcode == dns.RcodeRefused {
		return nil
	}
	m.Id = 0
	return dns.PackPlain(m)
}

// TestRecall gives the second time what it gave the first time, which is what the zones say.
func TestRecall(t *testing.T) {
	a, _ := startSigned(t, &Signing{NSEC3: true}, clockNow())
	for _, secure := range []bool{false, true} {
		for _, c := range signedAnswers {
			q, wire := plainQuery(t, c.name, c.kind, secure)
			if q == nil {
				t.Fatalf("%s is not plain", c.name)
			}
			want := longWay(t, a.now.Load().zones, wire)
			for range 2 {
				if got := a.Recall(q, nil); !bytes.Equal(withoutRD(got), withoutRD(want)) {
					t.Errorf("%s %s: %x, want %x", c.name, c.kind, got, want)
				}
			}
		}
	}
	if q, _ := plainQuery(t, "elsewhere", "A", false); a.Recall(q, nil) != nil {
		t.Error("a name out of the zones is answered")
	}
	if q, _ := plainQuery(t, "example", "AXFR", false); a.Recall(q, nil) != nil {
		t.Error("a transfer is answered")
	}
}

func withoutRD(wire []byte) []byte {
	if len(wire) < 12 {
		return nil
	}
	out := bytes.Clone(wire)
	out[2] &^= 1
	out[0], out[1] = 0, 0
	return out
}

// TestRecallForgets never gives the answer of a version that is no longer in service, nor one
// that another zone has a say in.
func TestRecallForgets(t *testing.T) {
	text := "@ 60 SOA ns h 7 1 1 1 60\n@ 60 NS ns\nns 60 A 192.0.2.1\nhost 60 A 192.0.2.%d\nacross 60 CNAME host.other.\nout 60 CNAME far.nowhere.\n"
	zones := func(a, b int) Zones {
		return Zones{
			"example.": zoneOf(t, "example", fmt.Sprintf(text, a)),
			"other.":   zoneOf(t, "other", fmt.Sprintf(text, b)),
		}
	}
	var s said
	ask := func(zs Zones, name string) []byte {
		q, wire := plainQuery(t, name, "A", false)
		out := s.at(fmt.Sprintf("%p", zs), zs).recall(q, nil)
		if !bytes.Equal(withoutRD(out), withoutRD(longWay(t, zs, wire))) {
			t.Errorf("%s: %x", name, out)
		}
		return out
	}
	first := zones(1, 2)
	names := []string{"host.example", "across.example", "out.example", "host.other", "no.example"}
	for range 2 {
		for _, name := range names {
			ask(first, name)
		}
	}
	second := zones(3, 4)
	second["other."] = first["other."]
	for _, name := range names {
		ask(second, name)
	}
	kept := s.now.Load().of[dns.WireName("other")]
	third := zones(5, 6)
	for _, name := range names {
		ask(third, name)
	}
	if s.now.Load().of[dns.WireName("other")].memory == kept.memory {
		t.Error("the memory of another version is kept")
	}
	// With a zone of that name the alias leads somewhere.
	fourth := Zones{"example.": third["example."], "other.": third["other."], "nowhere.": zoneOf(t, "nowhere", "@ 60 SOA ns h 7 1 1 1 60\n@ 60 NS ns\nns 60 A 192.0.2.1\nfar 60 A 192.0.2.9\n")}
	if out := ask(fourth, "out.example"); out[7] != 2 {
		t.Errorf("%d records along an alias into a new zone", out[7])
	}
}

// TestMemoryIsBounded holds what random names can make a zone remember to the limit.
func TestMemoryIsBounded(t *testing.T) {
	z := zoneOf(t, "example", "@ 60 SOA ns h 7 1 1 1 60\n@ 60 NS ns\nns 60 A 192.0.2.1\n")
	var s said
	zones := Zones{"example.": z}
	for i := range 5000 {
		q, _ := plainQuery(t, fmt.Sprintf("%d%s.example", i, strings.Repeat("x", 40)), "A", false)
		s.at(1, zones).recall(q, nil)
	}
	m := s.now.Load().of[dns.WireName("example")].memory
	total, count := 0, 0
	for i := range m.shards {
		for _, g := range []generation{m.shards[i].young, m.shards[i].old} {
			for _, byFlavour := range g {
				for _, response := range byFlavour {
					total += len(response) + memoryOverhead
					count++
				}
			}
		}
	}
	if limit := 2 * memoryShards * (m.limit + 600); total > limit || count < 50 {
		t.Errorf("%d responses of %d octets, limit %d", count, total, limit)
	}
}

// TestSecondaryRecall stops answering when the zone expires, whatever it remembers.
func TestSecondaryRecall(t *testing.T) {
	now := new(atomic.Int64)
	now.Store(1_700_000_000)
	s := &Secondary{Zones: []SecondaryZone{{Name: "example", Primaries: []dns.Nameserver{{}}}}, Dir: t.TempDir(),
		Now: func() time.Time { return time.Unix(now.Load(), 0) }}
	if err := s.Load(); err != nil {
		t.Fatal(err)
	}
	q, _ := plainQuery(t, "ns.example", "A", false)
	if s.Recall(q, nil) != nil {
		t.Error("an answer without a zone")
	}
	install := func(ip string) {
		z := zoneOf(t, "example", "@ 60 SOA ns h 7 1 1 100 60\n@ 60 NS ns\nns 60 A "+ip+"\n")
		if err := s.install(s.held["example."], z); err != nil {
			t.Fatal(err)
		}
	}
	install("192.0.2.1")
	if out := s.Recall(q, nil); out == nil || out[len(out)-1] != 1 {
		t.Errorf("%x", out)
	}
	install("192.0.2.2")
	if out := s.Recall(q, nil); out == nil || out[len(out)-1] != 2 {
		t.Errorf("after another version: %x", out)
	}
	now.Add(100)
	if out := s.Recall(q, nil); out != nil {
		t.Errorf("an answer after the zone's end: %x", out)
	}
}

// Recall says what the zones say, whatever is asked.
func FuzzRecall(f *testing.F) {
	for _, c := range signedAnswers {
		for _, secure := range []bool{false, true} {
			_, wire := plainQuery(f, c.name, c.kind, secure)
			f.Add(wire)
		}
	}
	signing := &Signing{Dir: f.TempDir()}
	z, _, err := signing.sign(zoneOf(f, "example", exampleText), nil, time.Now())
	if err != nil {
		f.Fatal(err)
	}
	zones := Zones{"example.": z, "sister.": zoneOf(f, "sister", "@ 60 SOA ns h 7 1 1 1 60\n@ 60 NS ns\nns 60 A 192.0.2.1\nhost 60 A 192.0.2.9\n")}
	var s said
	f.Fuzz(func(t *testing.T, wire []byte) {
		q := plainOf(t, wire)
		if q == nil || q.Type == dns.TypeAXFR || q.Type == dns.TypeIXFR {
			return
		}
		want := withoutRD(longWay(t, zones, wire))
		for range 2 {
			got := withoutRD(s.at(1, zones).recall(q, nil))
			if len(want) > 0 {
				want[3] &^= 0x10 // CD, which the Server sets
				got[3] &^= 0x10
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%x gets %x, want %x", wire, got, want)
			}
		}
	})
}
