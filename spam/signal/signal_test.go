package signal

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stagecoach/rfc/dns/dnstest"
)

var source = Source{Domain: "news.example.co.uk", Addr: netip.MustParseAddr("192.0.2.7")}

func weight(r *Reputation, s Source) (domain, network float64) {
	for _, e := range r.Evidence(s) {
		if strings.Contains(e.Text, "network") {
			network = e.Weight
		} else {
			domain = e.Weight
		}
	}
	return domain, network
}

func TestReputation(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	r := &Reputation{Now: func() time.Time { return now }}
	learn := func(days int, isSpam bool) {
		for range days {
			for range 100 { // of which few count
				r.Learn(source, isSpam)
			}
			now = now.Add(24 * time.Hour)
		}
	}
	if d, n := weight(r, source); d != 0 || n != 0 {
		t.Errorf("a stranger weighs %v %v", d, n)
	}
	learn(1, true)
	if got := r.senders["example.co.uk"].bad; got > maxDaily {
		t.Errorf("%v mails of one day count", got)
	}
	learn(4, true)
	d, n := weight(r, source)
	if d != badDomain || n != badNetwork {
		t.Errorf("after spam for days: %v %v", d, n)
	}
	if d, n := weight(r, Source{Domain: "example.co.uk", Addr: netip.MustParseAddr("192.0.2.200")}); d != badDomain || n != badNetwork {
		t.Errorf("a neighbour: %v %v", d, n)
	}
	if d, n := weight(r, Source{Addr: netip.MustParseAddr("198.51.100.1")}); d != 0 || n != 0 {
		t.Errorf("nobody's domain, another network: %v %v", d, n)
	}
	now = now.Add(180 * 24 * time.Hour)
	if d, n := weight(r, source); d != 0 || n != 0 {
		t.Errorf("after half a year: %v %v", d, n)
	}
	learn(5, false)
	if d, n := weight(r, source); d != goodDomain || n != goodNetwork {
		t.Errorf("after good mail for days: %v %v", d, n)
	}
}

func TestReputationIsKept(t *testing.T) {
	file := filepath.Join(t.TempDir(), "reputation")
	r := &Reputation{}
	if err := r.Load(file); err != nil {
		t.Fatal(err)
	}
	for range 15 {
		r.Learn(source, true)
	}
	if err := r.Save(file); err != nil {
		t.Fatal(err)
	}
	again := &Reputation{}
	if err := again.Load(file); err != nil {
		t.Fatal(err)
	}
	d, n := weight(again, source)
	if wd, wn := weight(r, source); d != wd || n != wn || d == 0 {
		t.Errorf("%v %v, before %v %v", d, n, wd, wn)
	}
	if err := os.WriteFile(file, []byte("rubbish\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := again.Load(file); err == nil {
		t.Error("rubbish was read")
	}
}

func TestReputationIsBounded(t *testing.T) {
	r := &Reputation{}
	for range 10 {
		r.Learn(source, true)
	}
	for i := range maxSenders + 1000 {
		r.Learn(Source{Domain: fmt.Sprintf("d%d.example", i)}, false)
	}
	if n := len(r.senders); n > maxSenders {
		t.Errorf("%d senders", n)
	}
	if d, _ := weight(r, source); d == 0 {
		t.Error("who is known well was forgotten for strangers")
	}
}

func FuzzReadSenders(f *testing.F) {
	f.Add(reputationMagic + "\nx.example 1 2 3 4\n")
	f.Fuzz(func(t *testing.T, s string) {
		senders, err := readSenders(strings.NewReader(s))
		for k, v := range senders {
			if err == nil && (k == "" || !(v.good+v.bad >= 0)) {
				t.Fatalf("%q %+v", k, v)
			}
		}
	})
}

func TestBlockLists(t *testing.T) {
	names := dnstest.Zone(t, `
7.2.0.192.bl.example. A 127.0.0.2
7.2.0.192.two.example. A 127.0.0.4
7.2.0.192.sold.example. A 203.0.113.9
7.2.0.192.odd.example. A 127.0.0.1
7.2.0.192.public.example. A 127.255.255.254
1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.bl.example. A 127.0.0.3
`)
	names.Fail("7.2.0.192.down.example.", dnstest.ServFail)
	names.Fail("7.2.0.192.slow.example.", dnstest.Timeout)
	for _, c := range []struct {
		zones, addr string
		weight      float64
		trouble     int
	}{
		{"bl.example", "192.0.2.7", listWeight, 0},
		{"BL.example", "::ffff:192.0.2.7", listWeight, 0},
		{"bl.example", "192.0.2.8", 0, 0},
		{"bl.example", "2001:db8::1", listWeight, 0},
		{"bl.example two.example", "192.0.2.7", maxListsWeight, 0},
		{"sold.example odd.example public.example down.example slow.example bl.example", "192.0.2.7", listWeight, 4},
		{"bl.example", "127.0.0.1", 0, 0},
		{"bl.example", "10.0.0.1", 0, 0},
	} {
		b, err := NewBlockLists(strings.Fields(c.zones), names)
		if err != nil {
			t.Fatal(err)
		}
		trouble := make(chan error, 10)
		b.Timeout, b.Trouble = 200*time.Millisecond, func(_ context.Context, _ string, err error) { trouble <- err }
		total := 0.0
		for _, e := range b.Evidence(t.Context(), netip.MustParseAddr(c.addr)) {
			total += e.Weight
		}
		if total != c.weight || len(trouble) != c.trouble {
			t.Errorf("%s in %s: %v, want %v; trouble %d times", c.addr, c.zones, total, c.weight, len(trouble))
		}
	}
	if _, err := NewBlockLists([]string{"no name"}, names); err == nil {
		t.Error("a list without a name is taken")
	}
	var none *BlockLists
	if e := none.Evidence(t.Context(), source.Addr); e != nil {
		t.Errorf("%v", e)
	}
}
