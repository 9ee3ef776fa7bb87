package scenario

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"testing"

	"stagecoach/name/resolver"
	"stagecoach/rfc/dns"
)

// A race is a network with an attacker off the path, who has as many forged answers arrive before
// each true one as he can send.
type race struct {
	zone      *zone
	forgeries int  // for each question
	knowsPort bool // by a side channel (SAD DNS); otherwise he guesses
	knowsCase bool // and so he does the spelling of the name
	rnd       *rand.Rand
	arrived   atomic.Int64 // at the right port
}

// ports are those that the resolver asks from.
const ports = 65536 - 1024

// UDP has the forged answers arrive, then the true one.
func (r *race) UDP(ctx context.Context, a netip.AddrPort, query []byte, accept func([]byte) bool) error {
	var q dns.Msg
	if err := q.Unpack(query); err != nil {
		return err
	}
	port := r.rnd.Uint32N(ports)
	forged := r.forge(&q)
	for range r.forgeries {
		if !r.knowsPort && r.rnd.Uint32N(ports) != port {
			continue
		}
		r.arrived.Add(1)
		if accept(r.guess(forged)) {
			return nil
		}
	}
	accept(r.truth(&q))
	return nil
}

// TCP is out of his reach.
func (r *race) TCP(_ context.Context, _ netip.AddrPort, query []byte) ([]byte, error) {
	var q dns.Msg
	if err := q.Unpack(query); err != nil {
		return nil, err
	}
	return r.truth(&q), nil
}

func (r *race) truth(q *dns.Msg) []byte {
	m := dns.NewResponse(q, dns.RcodeSuccess)
	r.zone.answer(m, dns.Canonical(q.Question[0].Name), q.Question[0].Qtype, false)
	wire, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return wire
}

// evil is the address that the attacker wants to be believed.
const evil = "6.6.6.6"

// forge returns a forged answer: with an address, and with the attacker's servers for the whole
// zone (Kaminsky).
func (r *race) forge(q *dns.Msg) []byte {
	m := dns.NewResponse(q, dns.RcodeSuccess)
	m.Authoritative = true
	name := dns.Canonical(m.Question[0].Name)
	if !r.knowsCase {
		m.Question[0].Name = name
	}
	m.Answer = []dns.RR{dns.MustParseRR(name + " 86400 A " + evil)}
	m.Ns = []dns.RR{dns.MustParseRR("victim. 86400 NS ns.victim.")}
	m.Extra = []dns.RR{dns.MustParseRR("ns.victim. 86400 A " + evil)}
	wire, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return wire
}

// guess makes a forged answer another one: with another ID, and another spelling of the name.
func (r *race) guess(wire []byte) []byte {
	binary.BigEndian.PutUint16(wire, uint16(r.rnd.Uint32()))
	if r.knowsCase {
		return wire
	}
	for i := 12; wire[i] != 0; i++ {
		if c := wire[i] | 0x20; 'a' <= c && c <= 'z' {
			wire[i] = c ^ byte(r.rnd.Uint32N(2)<<5)
		}
	}
	return wire
}

// run asks for so many names that are not known yet, and returns how many answers were forged.
func (r *race) run(t *testing.T, races int) (poisoned int, stats resolver.Stats) {
	t.Helper()
	z, err := newZone(".", ". NS ns.\nns. A 1.0.0.1\n*.victim. 0 A 192.0.2.1\n", map[string]string{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.zone, r.rnd = z, rand.New(rand.NewPCG(1, 2))
	x := &resolver.Resolver{Network: r, Hints: []netip.Addr{netip.MustParseAddr("1.0.0.1")}, Anchors: []dns.RR{}}
	for i := range races {
		ips, err := dns.Addrs(t.Context(), ipv4{x}, fmt.Sprintf("r%d.victim", i))
		if err != nil {
			t.Fatal(err)
		}
		if ips[0].String() == evil {
			poisoned++
		}
	}
	return poisoned, x.Stats()
}

// ipv4 says that there are no IPv6 addresses.
type ipv4 struct{ dns.Exchanger }

func (x ipv4) Exchange(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
	if q.Question[0].Qtype == dns.TypeAAAA {
		return dns.NewResponse(q, dns.RcodeSuccess), nil
	}
	return x.Exchanger.Exchange(ctx, q)
}

// TestForgeryRaces holds R1: of a hundred races with a million forged answers for each question
// none is won, whether the attacker has to guess the port or knows it from a side channel.
func TestForgeryRaces(t *testing.T) {
	for _, knowsPort := range []bool{false, true} {
		r := &race{forgeries: 1_000_000, knowsPort: knowsPort}
		poisoned, s := r.run(t, 100)
		t.Logf("port known: %v; 100 races of a million: %d arrived, %d mismatches counted, %d questions by TCP, %d poisoned", knowsPort, r.arrived.Load(), s.Mismatches, s.TCP, poisoned)
		if poisoned > 0 || s.Mismatches == 0 {
			t.Errorf("%d answers are forged, %d mismatches counted", poisoned, s.Mismatches)
		}
		if knowsPort && s.TCP < 100 {
			t.Errorf("%d questions of 100 went over TCP", s.TCP)
		}
	}
}

// TestForgeryChance measures the chance of an attacker who knows all but the ID: a hundred guesses
// in 65536 for each question, which is what the ID and the limit on mismatches are worth. The port
// is worth 15.98 bits more, and each letter of the name one.
func TestForgeryChance(t *testing.T) {
	const races = 4_000
	r := &race{forgeries: 1_000_000, knowsPort: true, knowsCase: true}
	poisoned, _ := r.run(t, races)
	want := races * 101.0 / 65536
	t.Logf("%d of %d questions are answered by the forger, %.1f expected", poisoned, races, want)
	if d := math.Abs(float64(poisoned) - want); d > 6*math.Sqrt(want) {
		t.Errorf("%d of %d, want %.1f", poisoned, races, want)
	}
}
