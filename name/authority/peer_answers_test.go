package authority

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"stagecoach/lab/peer"
	"stagecoach/rfc/dns"
)

// Whatever is asked, we answer as BIND and Knot do that have the zone of us: each name of it and
// some that are not there, for each type, with DNSSEC and without.
func TestAnswersAreThoseOfPeers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		signing *Signing
	}{{"unsigned", nil}, {"NSEC", &Signing{}}, {"NSEC3", &Signing{NSEC3: true, Split: true}}} {
		t.Run(c.name, func(t *testing.T) {
			peer.Need(t, "named", "knotd")
			t.Parallel()
			key := peerKey(t, "all._transfer.example", "SHA256")
			files := signedFiles()
			delete(files, "other")
			delete(files, "other._keys")
			files["example._keys"] += key.Record() + "\n"
			a, at, _, _ := start(t, files, func(a *Authority) {
				if c.signing != nil {
					c.signing.Dir = t.TempDir()
					a.Signing = c.signing
				}
			})
			peers := map[string]netip.AddrPort{}
			for name, run := range secondaries {
				peers[name] = run(t, at, freeAddress(t, "127.0.0.1"), key).at
			}
			z, _ := a.Zone("example")
			for name, their := range peers {
				eventually(t, name, func() bool {
					soa, err := dns.SOA(t.Context(), client(their, dns.UDP, dns.Key{}), "example")
					return err == nil && soa.Serial == z.Serial()
				})
			}
			compareAnswers(t, z, at, peers)
		})
	}
}

func compareAnswers(t *testing.T, z *Zone, at netip.AddrPort, peers map[string]netip.AddrPort) {
	names := []string{"elsewhere.", "no.example.", "a.a.example.", "zz.example.", "x.b.c.example.", "x.wild.example.", "y.x.wild.example.",
		"x.host.wild.example.", "x.c.wild.example.", "x.y.sub.example.", "host.old.example.", "a.b.old.example.", "x._tcp.mx.example.",
		"x.bare.example.", "MX.eXample."}
	for _, n := range z.names {
		if !z.nodes[n].hash {
			names = append(names, n)
		}
	}
	types := []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeNS, dns.TypeSOA, dns.TypeMX, dns.TypeTXT, dns.TypeCNAME, dns.TypeDNAME, dns.TypeDS,
		dns.TypeTLSA, dns.TypeDNSKEY, dns.TypeNSEC, dns.TypeNSEC3PARAM, 65280}
	asked, differing := 0, 0
	for _, name := range names {
		for _, kind := range types {
			for _, do := range []bool{false, true} {
				ours := answerOf(t, at, name, kind, do)
				asked++
				for program, their := range peers {
					if d := diffAnswers(ours, answerOf(t, their, name, kind, do)); d != "" && !knownToDiffer(program, name, kind) {
						if differing++; differing < 100 {
							t.Errorf("%s %s, DO %v: we differ from %s:\n%s", name, dns.TypeName(kind), do, program, d)
						}
					}
				}
			}
		}
	}
	if differing >= 10 {
		t.Errorf("%d of %d answers differ", differing, asked)
	}
}

// knownToDiffer names the answers that a peer gives in a way of its own, while the other does as we
// do: BIND says SERVFAIL when it has followed a loop of CNAMEs for long enough, and hands out the
// NSEC of a delegation; Knot hands out that of a wildcard for a name below it.
func knownToDiffer(program, name string, kind uint16) bool {
	if kind == dns.TypeNSEC {
		return program == "named" && (name == "bare.example." || name == "sub.example.") || program == "knotd" && strings.HasPrefix(name, "x.")
	}
	return program == "named" && strings.HasPrefix(name, "loop")
}

func answerOf(t *testing.T, at netip.AddrPort, name string, kind uint16, do bool) []string {
	t.Helper()
	q := dns.NewQuery(name, kind)
	if do {
		q.IsEdns0().SetDo()
	}
	c := client(at, dns.UDP, dns.Key{})
	c.Attempts, c.Timeout = 3, 3*time.Second
	m, err := c.Exchange(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	out := []string{dns.RcodeName(m.Rcode) + " aa " + fmt.Sprint(m.Authoritative)}
	for i, section := range [][]dns.RR{m.Answer, m.Ns} {
		var lines []string
		for _, rr := range section {
			lines = append(lines, []string{"an ", "ns "}[i]+strings.ToLower(rr.Header().Name)+strings.TrimPrefix(rr.String(), rr.Header().Name))
		}
		slices.Sort(lines)
		out = append(out, lines...)
	}
	return out
}

func diffAnswers(ours, theirs []string) string {
	var b strings.Builder
	for _, s := range ours {
		if !slices.Contains(theirs, s) {
			fmt.Fprintln(&b, "ours:  ", s)
		}
	}
	for _, s := range theirs {
		if !slices.Contains(ours, s) {
			fmt.Fprintln(&b, "theirs:", s)
		}
	}
	return b.String()
}
