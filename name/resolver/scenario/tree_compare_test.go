package scenario

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"stagecoach/lab/peer"
	"stagecoach/name/resolver"
	"stagecoach/rfc/dns"
)

// TestTree asks Unbound, BIND and us the same of a tree of zones of every shape: response
// codes, records, security and where negative answers come from are the same, or the difference
// is explained in docs/resolver.md. TREE_ZONES is how many zones there are.
func TestTree(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes some seconds")
	}
	peers := peer.Need(t, "unbound", "named")
	n, err := strconv.Atoi(os.Getenv("TREE_ZONES"))
	sample := err != nil
	if sample {
		n = 100
	}
	tree, err := newTree(n, 4)
	if err != nil {
		t.Fatal(err)
	}
	tree.listen(t)
	ours := tree.resolver
	ours.Limits = resolver.Limits{Bogus: time.Second, Failure: time.Second}
	c := &comparison{who: []dns.Exchanger{ours, startUnbound(t, peers[0], tree.world), startBIND(t, peers[1], tree.world)}}
	var all []asking
	for _, z := range tree.zones {
		for _, k := range z.ask {
			if a := (asking{zone: z, key: k}); !sample || !a.stalls() {
				all = append(all, a)
			}
		}
	}
	start := time.Now()
	explained := map[string]int{}
	left := c.differences(t, all, explained)
	for range 2 { // what failed for want of time, or for what was remembered of it, is asked again
		if len(left) > 0 {
			time.Sleep(6 * time.Second)
			left = c.differences(t, left, explained)
		}
	}
	for _, a := range left {
		t.Errorf("%s %s (%s)\n  we say      %s\n  Unbound says %s\n  BIND says    %s", a.key.name, dns.TypeName(a.key.t), a.zone.all(), a.said[0], a.said[1], a.said[2])
	}
	for why, n := range explained {
		t.Logf("%d times: %s", n, why)
	}
	t.Logf("%d zones, %d questions in %v", n, len(all), time.Since(start).Round(time.Second))
	t.Logf("time in all: we %v, Unbound %v, BIND %v", c.took[0], c.took[1], c.took[2])
}

// asking is one question about one zone.
type asking struct {
	zone *treeZone
	key  memoKey
	said []string
}

// stalls reports whether BIND takes its whole time, 12 s, to see that there is no answer.
func (a *asking) stalls() bool {
	shapes := a.zone.all()
	return strings.Contains(shapes, "sig=signer") || strings.Contains(shapes, "sig=none")
}

// A comparison asks several the same.
type comparison struct {
	who  []dns.Exchanger
	mu   sync.Mutex
	took [3]time.Duration
}

// differences returns the questions that are not answered the same by all, and counts the reasons
// of those that have one.
func (c *comparison) differences(t *testing.T, all []asking, explained map[string]int) (left []asking) {
	work := make(chan asking)
	var wg sync.WaitGroup
	for range 24 {
		wg.Go(func() {
			for a := range work {
				a.said = c.ask(t, a.key)
				if a.said[0] == a.said[1] && a.said[0] == a.said[2] {
					continue
				}
				c.mu.Lock()
				if why := a.explain(); why != "" {
					explained[why]++
				} else {
					left = append(left, a)
				}
				c.mu.Unlock()
			}
		})
	}
	for _, a := range all {
		work <- a
	}
	close(work)
	wg.Wait()
	return left
}

// ask returns what each says.
func (c *comparison) ask(t *testing.T, k memoKey) []string {
	said := make([]string, len(c.who))
	var wg sync.WaitGroup
	for i, x := range c.who {
		wg.Go(func() {
			start := time.Now()
			said[i] = describe(t, x, k)
			c.mu.Lock()
			defer c.mu.Unlock()
			c.took[i] += time.Since(start)
		})
	}
	wg.Wait()
	return said
}

// describe writes what matters of an answer.
func describe(t *testing.T, x dns.Exchanger, k memoKey) string {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	m, err := x.Exchange(ctx, dns.NewQuery(k.name, k.t))
	if err != nil {
		return "error: " + err.Error()
	}
	if m.Rcode == dns.RcodeServerFailure {
		return "SERVFAIL"
	}
	var rrs []string
	for _, rr := range m.Answer {
		rr.Header().Ttl = 0
		rr.Header().Name = dns.Canonical(rr.Header().Name)
		rrs = append(rrs, strings.ReplaceAll(rr.String(), "\t", " "))
	}
	slices.Sort(rrs)
	for _, rr := range m.Ns {
		if rr.Header().Rrtype == dns.TypeSOA {
			rrs = append(rrs, "denied by "+dns.Canonical(rr.Header().Name))
		}
	}
	return fmt.Sprintf("%s ad=%v %s", dns.RcodeName(m.Rcode), m.AuthenticatedData, strings.Join(rrs, "; "))
}

// explain returns why a difference is none that has to be mended, "" for no reason. The reasons
// stand in docs/resolver.md.
func (a *asking) explain() string {
	const failed = "SERVFAIL"
	we, unbound, bind := a.said[0], a.said[1], a.said[2]
	switch shapes := a.zone.all(); {
	case strings.Contains(shapes, "sig=signer") && we == failed && strings.Contains(bind, "ad=true") && strings.Contains(bind, "denied by"):
		return "BIND makes a denial from the zone above (RFC 8198) where a zone signs in the name of that"
	case strings.Contains(shapes, "sig=signer") && we == failed && strings.Contains(bind, "ad=false"):
		return "BIND takes a zone for unsigned that signs in the name of the zone above, and has no DS there"
	case strings.Contains(shapes, "sub.between.") && hasAny(shapes, "iterations=151", "iterations=500", "sig=baddeny") && we == unbound && strings.Contains(bind, "ad=true"):
		return "BIND asks for no DS at names between zones; here the zone above cannot prove that there is none"
	case strings.Contains(shapes, "ds=sha1wrong") && we == failed && bind == failed:
		return "Unbound takes a DS by SHA-1 although there is one by SHA-256 (RFC 4509 section 3)"
	case strings.Contains(shapes, "sig=half") && bind == failed && we == unbound:
		return "BIND gives up after one wrong signature, although another is right"
	case strings.Contains(shapes, "sig=badsoa") && we == failed && unbound == failed && strings.Contains(bind, "ad=false"):
		return "BIND takes a negative answer whose SOA has a wrong signature, without calling it secure"
	}
	return ""
}

func hasAny(s string, parts ...string) bool {
	return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(s, p) })
}
