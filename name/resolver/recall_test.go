package resolver

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"stagecoach/rfc/dns"
)

// remembering returns a Service that knows one answer of every kind.
func remembering(t testing.TB) *Service {
	t.Helper()
	r := &Resolver{Network: fixed{}, Anchors: []dns.RR{}}
	r.start()
	parse := func(lines string) (out []dns.RR) {
		for l := range strings.Lines(lines) {
			if l = strings.TrimSpace(l); l != "" {
				out = append(out, dns.MustParseRR(l))
			}
		}
		return out
	}
	const sig = " 13 2 3600 20300101000000 20200101000000 1 example. AAAA"
	soa := "example. 600 SOA ns.example. root.example. 1 2 3 4 5\nexample. 600 RRSIG SOA" + sig + "\n"
	for _, f := range []*found{
		{key: key{"a.example.", dns.TypeA}, answer: parse("a.example. 9 A 192.0.2.1\na.example. 9 A 192.0.2.2\nA.Example. 9 RRSIG A" + sig), security: Secure},
		{key: key{"wild.example.", dns.TypeA}, answer: parse("wild.example. 9 A 192.0.2.1\nwild.example. 9 RRSIG A" + sig),
			authority: parse("v.example. 9 NSEC x.example. A\nv.example. 9 RRSIG NSEC" + sig), security: Secure},
		{key: key{"plain.example.", dns.TypeMX}, answer: parse("plain.example. 9 MX 10 a.example."), security: Insecure},
		{key: key{"raw.example.", dns.TypeA}, answer: parse("raw.example. 9 A 192.0.2.1"), security: Unchecked},
		{key: key{"odd.example.", dns.TypeA}, answer: parse("odd.example. 9 A 192.0.2.1"), security: Insecure, why: dns.ExtendedError{Code: 1, Text: "odd"}},
		{key: key{"www.example.", dns.TypeCNAME}, kind: alias, answer: parse("www.example. 9 CNAME a.example.\nwww.example. 9 RRSIG CNAME" + sig), security: Secure},
		{key: key{"a.example.", dns.TypeTXT}, kind: noData, authority: parse(soa + "a.example. 9 NSEC b.example. A\na.example. 9 RRSIG NSEC" + sig), security: Secure},
		{key: key{"no.example.", dns.TypeA}, kind: noName, authority: parse(soa + "m.example. 9 NSEC o.example. A\nm.example. 9 RRSIG NSEC" + sig), security: Secure},
		{key: key{"under.example.", dns.TypeDNAME}, kind: subtree, answer: parse("under.example. 9 DNAME example."), security: Secure},
		{key: key{"a.example.", dns.TypeDNSKEY}, answer: parse("a.example. 9 DNSKEY 257 3 13 AAAA\na.example. 9 RRSIG DNSKEY" + sig), security: Secure},
	} {
		f.zone, f.stored, f.ttl = "example.", time.Now(), time.Hour
		r.cache.put(f)
	}
	return &Service{Resolver: r}
}

// recallSeeds are questions to it, and whether an entry is the whole answer.
var recallSeeds = map[string]bool{
	"a.example A": true, "A.EXAMPLE A": true, "wild.example A": true, "plain.example MX": true, "raw.example A": false, "odd.example A": false,
	"www.example A": false, "www.example CNAME": true, "a.example TXT": true, "no.example A": true, "no.example MX": true,
	"x.under.example A": false, "under.example DNAME": true, "a.example DNSKEY": true, "a.example AAAA": false, "unknown.example A": false,
	"a.example RRSIG": false, "a.example ANY": false, "localhost A": false,
}

func seedQuery(t testing.TB, seed string, do, ad bool) []byte {
	t.Helper()
	name, kind, _ := strings.Cut(seed, " ")
	qtype, _ := dns.ParseType(kind)
	m := dns.NewQuery("x", qtype)
	m.Question[0].Name = name + "."
	m.AuthenticatedData = ad
	if do {
		m.IsEdns0().SetDo()
	}
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

// bothWays returns what a Service says out of its entries, and on the long way.
func bothWays(t testing.TB, s *Service, wire []byte) (short, long []byte) {
	t.Helper()
	q := new(dns.Plain)
	if !dns.ReadPlain(wire, q) {
		return nil, nil
	}
	q.Peer = netip.MustParseAddr("127.0.0.1")
	m := new(dns.Msg)
	if err := m.Unpack(wire); err != nil {
		t.Fatal(err)
	}
	m.Id = 0
	m.Question[0].Name = dns.Canonical(m.Question[0].Name)
	if short = s.Recall(q, nil); short == nil {
		return nil, nil
	}
	response := s.Quick(&dns.Request{Msg: m, Peer: netip.AddrPortFrom(q.Peer, 4242), Transport: dns.UDP})
	if response == nil {
		t.Fatalf("%x is known on the short way alone", wire)
	}
	long = dns.PackPlain(response)
	if long != nil {
		long[2] &^= 1 // RD, which the Server sees to
	}
	return short, long
}

// TestRecall gives what the long way gives, to the octet.
func TestRecall(t *testing.T) {
	s := remembering(t)
	for seed, whole := range recallSeeds {
		for _, bits := range []int{0, 1, 2, 3} {
			short, long := bothWays(t, s, seedQuery(t, seed, bits&1 != 0, bits&2 != 0))
			if (short != nil) != whole {
				t.Errorf("%s: %x", seed, short)
			}
			// What starts a second of a TTL may lie between the two.
			if short != nil && !bytes.Equal(withoutTTLs(short), withoutTTLs(long)) {
				t.Errorf("%s, %b:\n%x\n%x", seed, bits, short, long)
			}
		}
	}
}

func withoutTTLs(wire []byte) []byte {
	out := bytes.Clone(wire)
	if out != nil {
		out[12+copy(out[12:], bytes.ToLower(out[12:12+bytes.IndexByte(out[12:], 0)]))] = 0
		dns.SetTTLs(out, 0)
	}
	return out
}

// TestRecallAges counts TTLs down, and ends with them, and with a flush.
func TestRecallAges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := remembering(t)
		ask := func() (ttl uint32, known bool) {
			out, _ := bothWays(t, s, seedQuery(t, "plain.example MX", false, false))
			if out == nil {
				return 0, false
			}
			return binary.BigEndian.Uint32(out[12+len("\x05plain\x07example\x00")+4+2+4:]), true
		}
		for _, after := range []time.Duration{0, 100 * time.Second, 3000 * time.Second} {
			time.Sleep(after)
			if ttl, known := ask(); !known || ttl > 3600 {
				t.Errorf("%d, %v", ttl, known)
			}
		}
		if ttl, _ := ask(); ttl != 500 {
			t.Errorf("a TTL of %d after 3100 s", ttl)
		}
		s.Resolver.Flush("plain.example", false)
		if _, known := ask(); known {
			t.Error("an answer after the flush")
		}
		if out, _ := bothWays(t, s, seedQuery(t, "no.example A", false, false)); out == nil {
			t.Error("another answer is gone too")
		}
		time.Sleep(500 * time.Second)
		if out, _ := bothWays(t, s, seedQuery(t, "no.example A", false, false)); out != nil {
			t.Error("an answer after its time")
		}
		time.Sleep(time.Minute) // for what is fetched ahead
		synctest.Wait()
	})
}

// TestRecallCounts counts like the long way, and gives strangers nothing.
func TestRecallCounts(t *testing.T) {
	s := remembering(t)
	q := new(dns.Plain)
	if !dns.ReadPlain(seedQuery(t, "no.example A", false, false), q) {
		t.Fatal("not plain")
	}
	q.Peer = netip.MustParseAddr("192.0.2.1")
	if s.Recall(q, nil) != nil {
		t.Error("a stranger is answered")
	}
	q.Peer = netip.MustParseAddr("127.0.0.1")
	before := s.Resolver.Stats()
	s.Recall(q, nil)
	after := s.Resolver.Stats()
	if after.Questions != before.Questions+1 || after.Hits != before.Hits+1 || after.NXDOMAIN != before.NXDOMAIN+1 || after.Secure != before.Secure+1 {
		t.Errorf("%+v\n%+v", before, after)
	}
	q.RecursionDesired = false
	if s.Recall(q, nil) != nil {
		t.Error("an answer without recursion desired")
	}
}

// The short way says what the long one says.
func FuzzRecall(f *testing.F) {
	for seed := range recallSeeds {
		f.Add(seedQuery(f, seed, true, true))
		f.Add(seedQuery(f, seed, false, false))
	}
	s := remembering(f)
	f.Fuzz(func(t *testing.T, wire []byte) {
		short, long := bothWays(t, s, wire)
		if short != nil && !bytes.Equal(withoutTTLs(short), withoutTTLs(long)) {
			t.Errorf("%x gets\n%x\n%x", wire, short, long)
		}
	})
}
