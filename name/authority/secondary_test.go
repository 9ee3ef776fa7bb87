package authority

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"stagecoach/rfc/dns"
)

// eventually waits for something that other goroutines bring about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 3000 { // a machine may be slow
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%s: never", what)
}

func TestSecondaryFollowsPrimary(t *testing.T) {
	name := "127.0.0.1.127.0.0.4._transfer.one."
	key := keyNamed(t, name)
	files := map[string]string{
		"one":       "@ 60 SOA ns h 7 3600 1 3600 60\n@ 60 NS ns\nns 60 A 127.0.0.9\n*.w 60 TXT \"a\\\"b\"\nodd 60 TYPE65280 \\# 2 ABCD\n",
		"one._keys": name + " DNSKEY 0 3 165 " + secret + "\npersonal._update.one. DNSKEY 0 3 163 " + secret + "\n",
	}
	dir := t.TempDir()
	now := time.Now()
	sec := &Secondary{Dir: dir}
	port := freePort(t, "127.0.0.4")
	a, at, _, _ := start(t, files, func(a *Authority) { a.NotifyPort = port })
	sec.Zones = []SecondaryZone{{Name: "one", Key: key, Primaries: []dns.Nameserver{{Transport: dns.TCP, Addr: at}}}}
	if err := sec.Load(); err != nil {
		t.Fatal(err)
	}
	listenAt(t, fmt.Sprintf("127.0.0.4:%d", port), sec, sec.FindKey)
	go sec.Run(t.Context())
	has := func(s *Secondary, name string) func() bool {
		return func() bool {
			_, err := dns.TXT(t.Context(), s, name)
			return err == nil
		}
	}
	eventually(t, "AXFR", has(sec, "any.w.one"))
	for i := range 3 {
		m := dns.NewUpdate("one")
		m.Insert(rrs(t, fmt.Sprintf("u%d.sub.one. 60 TXT x", i)))
		m.RemoveName(rrs(t, fmt.Sprintf("u%d.sub.one. 60 TXT x", i-1)))
		if err := dns.Do(t.Context(), client(at, dns.TCP, keyNamed(t, "personal._update.one")), m); err != nil {
			t.Fatal(err)
		}
		eventually(t, "IXFR after NOTIFY", has(sec, fmt.Sprintf("u%d.sub.one", i)))
	}
	want, _ := a.Zone("one")
	if got := sec.held["one."].copy.Load().zone; !sameSet(got.Records(), want.Records()) {
		t.Errorf("the copy is not the same:\n%s\nwant\n%s", render(got), render(want))
	}
	// A new process has the copy at once, without its primary, until it expires.
	alone := &Secondary{Dir: dir, Zones: []SecondaryZone{{Name: "one", Key: key, Primaries: []dns.Nameserver{{Transport: dns.TCP, Addr: at}}}},
		Now: func() time.Time { return now }}
	if err := alone.Load(); err != nil {
		t.Fatal(err)
	}
	if !has(alone, "u2.sub.one")() {
		t.Error("the copy on disk is not served")
	}
	now = now.Add(2 * time.Hour)
	r, err := alone.Exchange(t.Context(), dns.NewQuery("u2.sub.one", dns.TypeTXT))
	if err != nil || r.Rcode != dns.RcodeServerFailure {
		t.Errorf("an expired zone: %v, %v", r, err)
	}
}

func TestSecondaryTakesNotifiesOfItsPrimaryAlone(t *testing.T) {
	key := keyNamed(t, "k._transfer.one")
	sec := &Secondary{Dir: t.TempDir(), Zones: []SecondaryZone{
		{Name: "one", Key: key, Primaries: []dns.Nameserver{{Transport: dns.TCP, Addr: netip.MustParseAddrPort("127.0.0.9:53")}}},
		{Name: "two", Primaries: []dns.Nameserver{{Transport: dns.TCP, Addr: netip.MustParseAddrPort("127.0.0.9:53")}}},
	}}
	if err := sec.Load(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		zone, peer string
		key        dns.Key
		want       int
	}{
		{"one", "127.0.0.9:1", dns.Key{}, dns.RcodeRefused}, {"one", "127.0.0.1:1", key, 0},
		{"two", "127.0.0.9:1", dns.Key{}, 0}, {"two", "127.0.0.1:1", dns.Key{}, dns.RcodeRefused},
		{"three", "127.0.0.9:1", key, dns.RcodeNotAuth},
	} {
		r := &dns.Request{Msg: dns.NewNotify(c.zone, nil), Peer: netip.MustParseAddrPort(c.peer), Key: c.key}
		err := sec.Serve(t.Context(), r, func(m *dns.Msg) error {
			if m.Rcode != c.want {
				t.Errorf("%s from %s: %s", c.zone, c.peer, dns.RcodeName(m.Rcode))
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestBrokenCopyIsFetchedAnew(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "one.zone"), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	sec := &Secondary{Dir: dir, Zones: []SecondaryZone{{Name: "one", Primaries: []dns.Nameserver{{}}}}}
	if err := sec.Load(); err != nil || sec.held["one."].copy.Load() != nil {
		t.Error(err)
	}
}

// freePort returns a port that nobody had just now.
func freePort(t *testing.T, host string) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort().Port()
}
