package authority

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"stagecoach/rfc/dns"
)

// Whatever updates come to a signed zone, one after the other: it is what it would be if it were
// signed anew, every signature is good, and what the journal says leads from each version to the
// next.
func TestSignedStepsAsIfSignedAnew(t *testing.T) {
	t.Parallel()
	for _, s := range []*Signing{{}, {NSEC3: true, Split: true}} {
		s.Dir = t.TempDir()
		now := time.Now()
		rapid.Check(t, func(rt *rapid.T) {
			file, _ := parseFile("x", "x", stepText)
			zone, err := NewZone("x", file.records())
			if err != nil {
				t.Fatal(err)
			}
			f := &servedFile{name: "x", parsed: file, zone: zone}
			if err := f.sign(s, nil, now); err != nil {
				t.Fatal(err)
			}
			for range rapid.IntRange(1, 6).Draw(rt, "updates") {
				d, _, rcode := update(f.zone, drawUpdate(rt, t), func(string, uint16) bool { return true })
				if rcode != dns.RcodeSuccess || d.empty() {
					continue
				}
				next := nextSigned(rt, s, f, d, now)
				if next == nil {
					continue // it is refused
				}
				c := journalOf(f, next)
				if d := differs(applied(f.signed.Records(), c), next.signed.Records()); d != "" {
					rt.Fatalf("after the change %v\n%s", c, d)
				}
				anew, _, err := s.sign(built(rt, next.zone), nil, now)
				if err != nil {
					rt.Fatal(err)
				}
				if d := differs(anew.Records(), next.signed.Records()); d != "" {
					rt.Fatalf("signed anew it differs\n%s", d)
				}
				f = next
			}
			verifyAll(rt, f.signed)
		})
	}
}

func nextSigned(rt *rapid.T, s *Signing, f *servedFile, d delta, now time.Time) *servedFile {
	serial := f.zone.Serial() + 1
	after, wide, err := f.after(d, serial)
	if err != nil {
		return nil
	}
	parsed, err := f.parsed.edit(d, serial, after)
	if err != nil {
		rt.Fatal(err)
	}
	next := &servedFile{name: "x", parsed: parsed, zone: after, wide: wide, steps: []change{{delta: d}}}
	if err := next.sign(s, f, now); err != nil {
		rt.Fatal(err)
	}
	if next.signed.signer != f.signed.signer {
		rt.Fatal("signed otherwise")
	}
	return next
}

func journalOf(before, after *servedFile) change {
	w := &world{journal: map[string][]change{}}
	w.recordBetween("x.", before, after, after)
	return w.journal["x."][0]
}

// applied returns records after a change.
func applied(rrs []dns.RR, c change) []dns.RR {
	gone := map[string]bool{c.from.String(): true}
	for _, rr := range c.gone {
		gone[rr.String()] = true
	}
	out := []dns.RR{c.to}
	for _, rr := range rrs {
		if !gone[rr.String()] {
			out = append(out, rr)
		}
	}
	return append(out, c.come...)
}

func built(rt *rapid.T, z *Zone) *Zone {
	anew, err := NewZone("x", z.Records())
	if err != nil {
		rt.Fatal(err)
	}
	return anew
}

// verifyAll checks every signature, and that the chain of NSECs leads round.
func verifyAll(rt *rapid.T, z *Zone) {
	keys := map[uint16]*dns.DNSKEYRecord{}
	for _, rr := range z.node("x.").set(dns.TypeDNSKEY) {
		keys[rr.(*dns.DNSKEYRecord).KeyTag()] = rr.(*dns.DNSKEYRecord)
	}
	copied, err := NewZone("x", z.Records())
	if err != nil {
		rt.Fatal(err)
	}
	seen := 0
	for _, n := range copied.nodes {
		for _, s := range n.sets {
			ours := n.cut == nil || n.ours() && (s.t == dns.TypeDS || s.t == dns.TypeNSEC)
			if ours != (len(s.sigs) > 0) {
				rt.Fatalf("%s %s has %d signatures", n.name, dns.TypeName(s.t), len(s.sigs))
			}
			for _, sig := range s.sigs {
				sig := sig.(*dns.RRSIGRecord)
				if err := dns.VerifySet(sig, keys[sig.KeyTag], s.rrs); err != nil {
					rt.Fatal(n.name, dns.TypeName(s.t), err)
				}
			}
			if s.t == dns.TypeNSEC {
				seen++
			}
		}
	}
	if z.signer.nsec3 {
		return
	}
	at := "x."
	for range seen {
		at = copied.nodes[at].set(dns.TypeNSEC)[0].(*dns.NSECRecord).NextDomain
		seen--
		if at == "x." {
			break
		}
	}
	if at != "x." || seen != 0 {
		rt.Fatalf("%d NSECs are out of the chain, which ends at %s", seen, at)
	}
}

// drawUpdate makes up an UPDATE of the zone of stepText, as it comes from the wire.
func drawUpdate(rt *rapid.T, t *testing.T) *dns.Msg {
	names := []string{"x.", "ns.x.", "mx.x.", "child.x.", "ns.child.x.", "a.b.c.x.", "b.c.x.", "c.x.", "*.w.x.", "w.x.", "alias.x.", "y.sub.x.", "sub.x.", "n.x.", "m.n.x.", "Q.x."}
	data := []string{"A 192.0.2.%d", "TXT t%d", "MX %d mx.x.", "AAAA 2001:db8::%d", "CNAME c%d.x.", "NS n%d.x."}
	m := dns.NewUpdate("x")
	for range rapid.IntRange(1, 4).Draw(rt, "records") {
		name := rapid.SampledFrom(names).Draw(rt, "name")
		value := fmt.Sprintf(rapid.SampledFrom(data).Draw(rt, "data"), rapid.IntRange(1, 4).Draw(rt, "n"))
		rr := rrs(t, fmt.Sprintf("%s %d %s", name, rapid.SampledFrom([]int{60, 61}).Draw(rt, "ttl"), value))
		switch rapid.IntRange(0, 4).Draw(rt, "what") {
		case 0, 1:
			m.Insert(rr)
		case 2:
			m.Remove(rr)
		case 3:
			m.RemoveRRset(rr)
		case 4:
			m.RemoveName(rr)
		}
	}
	wire, err := m.Pack()
	if err == nil {
		err = m.Unpack(wire)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}
