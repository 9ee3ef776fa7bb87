package dns_test

import (
	"slices"
	"testing"
	"time"

	"stagecoach/rfc/dns"
	"stagecoach/rfc/dns/dnstest"
)

// TestCompareNames sorts the example of RFC 4034 section 6.1.
func TestCompareNames(t *testing.T) {
	want := []string{
		"example.", "a.example.", "yljkjljk.a.example.", "Z.a.example.", "zABC.a.EXAMPLE.", "z.example.",
		`\001.z.example.`, "*.z.example.", `\200.z.example.`,
	}
	have := slices.Clone(want)
	slices.Reverse(have)
	slices.SortFunc(have, dns.CompareNames)
	if !slices.Equal(have, want) {
		t.Errorf("%q", have)
	}
	if dns.CompareNames("A.example.", "a.EXAMPLE.") != 0 || dns.CompareNames(".", "example.") >= 0 {
		t.Error("case, or the root")
	}
}

// TestVerifySet accepts what a key signed, and nothing else.
func TestVerifySet(t *testing.T) {
	now := time.Now()
	set := []dns.RR{dns.MustParseRR("www.example. 300 A 192.0.2.1"), dns.MustParseRR("www.example. 300 A 192.0.2.2")}
	for _, alg := range []uint8{dnstest.RSASHA256, dnstest.RSASHA512, dnstest.ECDSAP256, dnstest.ECDSAP384, dnstest.Ed25519} {
		k, err := dnstest.NewKey("example.", alg, 257)
		if err != nil {
			t.Fatal(err)
		}
		other, err := dnstest.NewKey("example.", alg, 257)
		if err != nil {
			t.Fatal(err)
		}
		sig, err := k.Sign(set, now.Add(-time.Hour), now.Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		if err := dns.VerifySet(sig, k.Record, set); err != nil {
			t.Errorf("%s: %v", dns.AlgorithmName(alg), err)
		}
		if dns.VerifySet(sig, other.Record, set) == nil || dns.VerifySet(sig, k.Record, set[:1]) == nil || dns.VerifySet(sig, k.Record, nil) == nil {
			t.Errorf("%s: another key, or another set, verifies", dns.AlgorithmName(alg))
		}
		for _, digest := range []uint8{1, 2, 4} {
			if !dns.MatchesDS(k.Record, k.DS(digest)) || dns.MatchesDS(other.Record, k.DS(digest)) {
				t.Errorf("%s: digest %d", dns.AlgorithmName(alg), digest)
			}
		}
		for at, want := range map[time.Time]int{now: 0, now.Add(-2 * time.Hour): -1, now.Add(2 * time.Hour): 1} {
			if have := dns.ValidAt(sig, at); have != want {
				t.Errorf("at %v: %d", at.Sub(now), have)
			}
		}
	}
	if dns.CanVerify(1) || dns.CanVerify(3) || dns.CanVerify(12) || dns.CanVerify(16) || dns.CanDigest(3) {
		t.Error("what is gone is supported")
	}
}

// TestHashNSEC3 has the example of RFC 5155 appendix A.
func TestHashNSEC3(t *testing.T) {
	n := &dns.NSEC3Record{Hash: 1, Iterations: 12, Salt: "aabbccdd", SaltLength: 4}
	for name, want := range map[string]string{
		"example.": "0P9MHAVEQVM6T7VBL5LOP2U3T2RP3TOM", "a.example.": "35MTHGPGCU1QG68FAB165KLNSNK3DPVL",
		"*.w.example.": "R53BQ7CC2UVMUBFU5OCMM6PERS9TK9EN",
	} {
		if have := dns.HashNSEC3(name, n); have != want {
			t.Errorf("%s: %s", name, have)
		}
	}
	n.Iterations = dns.MaxNSEC3Iterations + 1
	if dns.HashNSEC3("example.", n) != "" {
		t.Error("too many iterations were made")
	}
}

func TestExtendedErrors(t *testing.T) {
	m := dns.NewResponse(dns.NewQuery("example", dns.TypeA), dns.RcodeServerFailure)
	dns.Extend(m, dns.ExtendedError{Code: dns.ExtendedBogus, Text: "no\nkey"})
	dns.Extend(m, dns.ExtendedError{Code: dns.ExtendedStale})
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	var back dns.Msg
	if err := back.Unpack(wire); err != nil {
		t.Fatal(err)
	}
	have := dns.ExtendedErrors(&back)
	if len(have) != 2 || have[0] != (dns.ExtendedError{Code: 6, Text: "no?key"}) || have[1].Code != 3 {
		t.Errorf("%v", have)
	}
	dns.SetCookie(m, []byte("12345678abcdefgh"))
	if string(dns.CookieOf(m)) != "12345678abcdefgh" {
		t.Error("the cookie is gone")
	}
}
