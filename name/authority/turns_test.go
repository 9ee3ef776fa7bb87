package authority

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"testing"
	"time"

	"stagecoach/rfc/dns"
)

// A client gets a zone as often as it may and then no more for a while; others do.
func TestTransfersAreBounded(t *testing.T) {
	a, at, _, _ := start(t, testFiles, func(a *Authority) { a.Transfers = TransferLimits{Burst: 3, Every: time.Hour} })
	key := keyNamed(t, "second._transfer.example")
	for i := range 5 {
		_, err := client(at, dns.TCP, key).Transfer(t.Context(), "example", nil)
		if want := []int{0, 0, 0, dns.RcodeServerFailure, dns.RcodeServerFailure}[i]; rcodeOf(t, err) != want {
			t.Errorf("transfer %d: %v", i, err)
		}
	}
	z, _ := a.Zone("example")
	if _, err := client(at, dns.TCP, key).Transfer(t.Context(), "example", z.SOA()); err != nil {
		t.Errorf("what is nothing new is bounded: %v", err)
	}
	if _, err := client(at, dns.TCP, keyNamed(t, "personal._update.example")).Transfer(t.Context(), "example", nil); err != nil {
		t.Errorf("another client: %v", err)
	}
}

func TestTurns(t *testing.T) {
	var turns turns
	now := time.Unix(1_800_000_000, 0)
	request := func(ip string) *dns.Request {
		return &dns.Request{Peer: netip.AddrPortFrom(netip.MustParseAddr(ip), 1)}
	}
	l := TransferLimits{AtOnce: 3, PerClient: 2, Burst: 2, Every: time.Minute, Wait: 20 * time.Millisecond}
	enter := func(ip, zone string) func() { return turns.enter(t.Context(), l, request(ip), zone, now) }
	one, two := enter("192.0.2.1", "a."), enter("192.0.2.1", "b.")
	if one == nil || two == nil || enter("192.0.2.1", "c.") != nil {
		t.Error("one client has more than it may at once, or less")
	}
	if enter("192.0.2.2", "a.") == nil || enter("192.0.2.3", "a.") != nil {
		t.Error("there are more at once than there may be, or fewer")
	}
	time.AfterFunc(time.Millisecond, one)
	if enter("192.0.2.3", "b.") == nil {
		t.Error("what was freed is not given to who waits")
	}
	// Of the bucket: two at once, and then one a minute.
	for i, want := range []bool{true, true, false, false, true, false} {
		if i == 4 {
			now = now.Add(time.Minute)
		}
		if got := turns.spend(transferGoal{zone: "z."}, l.orDefault(), now); got != want {
			t.Errorf("%d: %v", i, got)
		}
	}
	for i := range 2 * maxGoals {
		turns.spend(transferGoal{zone: fmt.Sprint(i)}, l.orDefault(), now)
	}
	if len(turns.spent) > maxGoals {
		t.Errorf("%d clients are remembered", len(turns.spent))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if turns.enter(ctx, l, request("192.0.2.9"), "a.", now) != nil {
		t.Error("a client that has left waits")
	}
}

// Over UDP ANY is one RRset, which nobody can use to flood others with; over TCP it is all. So is
// RRSIG.
func TestAnyOverTCPIsAll(t *testing.T) {
	_, at := startSigned(t, &Signing{}, clockNow())
	for _, c := range []struct {
		kind uint16
		over dns.Transport
		want int
	}{
		{dns.TypeANY, dns.UDP, 1}, {dns.TypeANY, dns.TCP, 4}, // A, AAAA, NSEC, SSHFP
		{dns.TypeRRSIG, dns.UDP, 1}, {dns.TypeRRSIG, dns.TCP, 4},
	} {
		m, err := client(at, c.over, dns.Key{}).Exchange(t.Context(), dns.NewQuery("mx.example", c.kind))
		if err != nil || m.Rcode != dns.RcodeSuccess || len(m.Answer) != c.want {
			t.Errorf("%s over %s: %v, %v", dns.TypeName(c.kind), c.over, m, err)
		}
	}
}

// Who asks for the SOA of the root with a key for all zones is told of all of them, of those too
// that come later.
func TestSubscriptionToAllZones(t *testing.T) {
	files := maps.Clone(testFiles)
	files["_keys"] = "issuer._transfer. DNSKEY 0 3 165 " + secret + "\n"
	a, at, work, _ := start(t, files)
	heard := func(key dns.Key) (told func() string) {
		c, err := net.Dial("tcp", at.String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		q := dns.NewQuery(".", dns.TypeSOA)
		q.Extra = nil
		wire := signedBy(t, q, key, time.Now())
		c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(wire))), wire...))
		return func() string {
			m, err := readFrom(c)
			if err != nil {
				return err.Error()
			}
			if m.Response {
				return "response"
			}
			return fmt.Sprint(dns.Host(m.Question[0].Name), " ", m.Answer[0].(*dns.SOARecord).Serial, " ", m.IsTsig() != nil)
		}
	}
	told := heard(keyNamed(t, "issuer._transfer"))
	got := map[string]bool{}
	for range 9 { // some may be told twice
		if got[told()] = true; got["example 7 true"] && got["other 7 true"] && got["response"] {
			break
		}
	}
	if len(got) != 3 {
		t.Errorf("%v", got)
	}
	push(t, work, map[string]string{"third": "@ 60 SOA ns h 3 1 1 1 60\n@ 60 NS ns.other.\n"})
	if err := a.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 9 {
		s := told()
		if s == "third 3 true" {
			break
		}
		if !got[s] {
			t.Error(s)
		}
	}
	other := heard(keyNamed(t, "personal._update.example"))
	if s := other(); s != "response" {
		t.Error(s)
	}
	a.tell.mu.Lock()
	defer a.tell.mu.Unlock()
	if len(a.tell.subs) != 1 {
		t.Errorf("%d subscriptions", len(a.tell.subs))
	}
}
