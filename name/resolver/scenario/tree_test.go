package scenario

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"stagecoach/rfc/dns"
	"stagecoach/rfc/dns/dnstest"
)

// A tree is a world of many zones of every shape, the same for the same seed but for its keys.
type tree struct {
	*play
	rnd   *rand.Rand
	zones []*treeZone
	delay time.Duration // that its servers' answers take, on sockets
}

// A treeZone is one zone of the tree and what is worth asking of it.
type treeZone struct {
	apex    string
	options string
	ask     []memoKey
	above   *treeZone // where it is delegated, nil for the tops
	below   *treeZone
	others  []*treeZone // that its aliases lead to
}

// all returns the options of all zones that an answer may depend on.
func (z *treeZone) all() string {
	seen := map[*treeZone]bool{}
	var b strings.Builder
	var visit func(z *treeZone)
	visit = func(z *treeZone) {
		if z == nil || seen[z] {
			return
		}
		seen[z] = true
		fmt.Fprintf(&b, "%s %s; ", z.apex, z.options)
		visit(z.above)
		visit(z.below)
		for _, o := range z.others {
			visit(o)
		}
	}
	visit(z)
	return strings.TrimSuffix(b.String(), "; ")
}

// tops are the zones below the root, between them all ways to deny a delegation, and one that is
// not signed, so that those below are islands.
var tops = []string{
	"org sign=nsec zsk=1", "net sign=nsec3 alg=p256", "com sign=optout zsk=1 alg=rsa", "dev sign=optout iterations=5 salt=aabb",
	"info sign=nsec3 iterations=1 salt=cc alg=rsa512", "isle",
}

// A weight is a way to be, and how often.
type weight struct {
	option string
	of     int
}

// oneOf draws one of several ways.
func (t *tree) oneOf(ways ...weight) string {
	sum := 0
	for _, w := range ways {
		sum += w.of
	}
	n := t.rnd.IntN(sum)
	for _, w := range ways {
		if n -= w.of; n < 0 {
			return w.option
		}
	}
	return ""
}

// shape draws the options of a zone.
func (t *tree) shape() string {
	sign := t.oneOf(weight{"", 15}, weight{"sign=nsec", 35}, weight{"sign=nsec3", 30}, weight{"sign=optout", 20})
	if sign == "" {
		return t.servers()
	}
	options := []string{sign}
	sha1 := weight{"alg=sha1", 2}
	if sign != "sign=nsec" {
		sha1.option = "alg=sha1nsec3"
		options = append(options, t.oneOf(weight{"", 60}, weight{"iterations=1", 10}, weight{"iterations=10", 10},
			weight{"iterations=50", 5}, weight{"iterations=150", 5}, weight{"iterations=151", 3}, weight{"iterations=500", 2}))
		options = append(options, t.oneOf(weight{"", 60}, weight{"salt=aabbccdd", 40}))
	}
	options = append(options,
		t.oneOf(weight{"", 20}, weight{"alg=rsa", 20}, weight{"alg=rsa512", 8}, weight{"alg=p256", 20}, weight{"alg=p384", 6}, sha1,
			weight{"alg=rsa/p256", 3}, weight{"alg=p256/ed25519", 2}, weight{"alg=p256/rsa sig=half", 2}),
		t.oneOf(weight{"", 50}, weight{"zsk=1", 40}, weight{"keys=2", 5}, weight{"keys=3", 5}),
		t.oneOf(weight{"", 76}, weight{"ds=none", 6}, weight{"ds=wrong", 3}, weight{"ds=digest", 2}, weight{"ds=algorithm", 2},
			weight{"ds=sha1", 2}, weight{"ds=sha384", 2}, weight{"ds=sha1wrong", 1}, weight{"ds=both", 3}, weight{"ds=stale", 3}),
		t.oneOf(weight{"", 93}, weight{"time=expired", 4}, weight{"time=future", 3}))
	if !strings.Contains(strings.Join(options, " "), "sig=") {
		options = append(options, t.oneOf(weight{"", 84}, weight{"sig=bad", 2}, weight{"sig=none", 2}, weight{"sig=badmx", 3}, weight{"sig=baddeny", 3},
			weight{"sig=badsoa", 2}, weight{"sig=badkeys", 1}, weight{"sig=signer", 1}, weight{"sig=labels", 1}, weight{"sig=tag", 1}))
	}
	return strings.Join(strings.Fields(strings.Join(options, " ")+" "+t.servers()), " ")
}

// servers draws how a zone is delegated: with glue, with a lame server besides, or to servers
// whose addresses stand elsewhere: in a zone that is signed, in one that is bogus, or nowhere.
func (t *tree) servers() string {
	return t.oneOf(weight{"", 70}, weight{"also=127.9.255.1", 6}, weight{"ns=HOST.hosts.org", 18},
		weight{"ns=HOST.hosts.org,none.hosts.org", 3}, weight{"ns=HOST.broken.org,HOST.hosts.org", 2}, weight{"ns=HOST.broken.org", 1})
}

const perServer = 40 // zones

// newTree grows a tree of n zones.
func newTree(n int, seed uint64) (*tree, error) {
	t := &tree{play: &play{world: newWorld()}, rnd: rand.New(rand.NewPCG(seed, seed))}
	t.world.keys = sharedKeys()
	var hosts strings.Builder
	for i := 0; i <= n/perServer; i++ {
		fmt.Fprintf(&hosts, "s%d A %s\n", i, serverAddr(i))
	}
	if err := t.addZone(strings.Fields("hosts.org 127.9.254.1 sign=nsec"), hosts.String()); err != nil {
		return nil, err
	}
	if err := t.addZone(strings.Fields("broken.org 127.9.254.1 sign=nsec sig=bad"), hosts.String()); err != nil {
		return nil, err
	}
	if err := t.addZone(strings.Fields(". 127.9.0.1 sign=nsec zsk=1 alg=rsa"), ""); err != nil {
		return nil, err
	}
	for i, top := range tops {
		words := strings.Fields(top)
		words = append([]string{words[0], fmt.Sprintf("127.9.0.%d", i+2)}, words[1:]...)
		if err := t.addZone(words, "@ MX 0 .\n"); err != nil {
			return nil, err
		}
	}
	t.world.server(mustAddr("127.9.255.1")) // knows nothing
	for i := range n {
		if err := t.grow(i); err != nil {
			return nil, err
		}
	}
	if err := t.world.finish(); err != nil {
		return nil, err
	}
	for _, z := range t.world.zones {
		z.memo = map[memoKey][]dns.RR{}
	}
	return t, t.configure("private\nnoipv6\n")
}

func serverAddr(i int) string { return fmt.Sprintf("127.9.%d.%d", 1+i/250, 1+i%250) }

// sharedKeys makes few keys, and many zones of them.
func sharedKeys() keyMaker {
	type kind struct {
		algorithm uint8
		flags     uint16
		which     int
	}
	made := map[kind]*dnstest.Key{}
	uses := 0
	return func(zone string, algorithm uint8, flags uint16) (*dnstest.Key, error) {
		uses++
		of := kind{algorithm, flags, uses % 8}
		if made[of] == nil {
			k, err := dnstest.NewKey(zone, algorithm, flags)
			if err != nil {
				return nil, err
			}
			made[of] = k
		}
		return made[of].For(zone), nil
	}
}

// grow adds a zone below one of the tops, or below another zone.
func (t *tree) grow(i int) error {
	z := &treeZone{options: t.shape()}
	top := strings.Fields(tops[i%len(tops)])[0]
	z.apex = fmt.Sprintf("z%d.%s.", i, top)
	if len(t.zones) > 20 && t.rnd.IntN(5) == 0 {
		up := t.zones[t.rnd.IntN(len(t.zones))]
		if up.below == nil && len(dns.Labels(up.apex)) < 5 {
			up.below, z.above = z, up
			z.apex = t.oneOf(weight{"sub.", 4}, weight{"sub.between.", 1}) + up.apex
		}
	}
	z.options = strings.ReplaceAll(z.options, "HOST", fmt.Sprintf("s%d", i/perServer))
	words := append([]string{z.apex, serverAddr(i / perServer)}, strings.Fields(z.options)...)
	text := t.content(z)
	t.zones = append(t.zones, z)
	return t.addZone(words, text)
}

// features are what zones may hold besides, and the questions that go with it. OTHER is another
// zone.
var features = []struct{ text, ask string }{
	{"@ MX 10 mail\n@ TXT \"v=spf1 mx -all\"\nmail A 192.0.2.3\n", "@ MX, @ TXT, mail A"},
	{"alias CNAME www\nloose CNAME nothing\n", "alias A, alias MX, alias CNAME, loose A"},
	{"*.wild TXT any\n*.wild MX 5 mail\n", "a.wild TXT, a.b.wild MX, a.wild A, wild TXT, *.wild TXT"},
	{"* A 192.0.2.77\n", "anything A, any.thing A, anything TXT"},
	{"*.far CNAME www.OTHER\n", "a.far A, a.b.far TXT, a.far CNAME"},
	{"deep.down.below A 192.0.2.4\n", "below A, down.below TXT, deep.down.below A, x.down.below A"},
	{"old DNAME new\nx.new A 192.0.2.5\n", "x.old A, y.old A, old DNAME, old A, x.old TXT"},
	{"moved DNAME OTHER\n", "www.moved A, nope.moved A, moved DNAME"},
	{"away CNAME www.OTHER\n", "away A, away AAAA, away CNAME"},
	{"lost CNAME nope.OTHER\n", "lost A, lost TXT"},
	{"one CNAME two\ntwo CNAME three\nthree CNAME away.OTHER\n", "one A, two TXT"},
	{"loop CNAME round\nround CNAME loop\n", "loop A"},
	{"_25._tcp.www TLSA 3 1 1 0102030405060708090a0b0c0d0e0f100102030405060708090a0b0c0d0e0f10\n", "_25._tcp.www TLSA, _25._tcp.nope TLSA, _tcp.www A"},
	{"a\\.dot A 192.0.2.6\n\\000\\001 TXT odd\n", "a\\.dot A, \\000\\001 TXT, a.dot A, \\000 A"},
	{"_dmarc TXT \"v=DMARC1; p=reject\"\ns1._domainkey TXT \"v=DKIM1; p=\"\n", "_dmarc TXT, s1._domainkey TXT, s2._domainkey TXT, _domainkey TXT"},
	{"big TXT LARGE\n", "big TXT"},
	{"void NS ns.void\nns.void A 127.9.255.1\n", "www.void A, void DS, void NS"},
	{"@ CAA 0 issue \"ca.example\"\n@ AAAA 2001:db8::1\n@ A 192.0.2.8\n", "@ CAA, @ AAAA, @ A"},
}

// content draws what a zone holds and what is asked of it.
func (t *tree) content(z *treeZone) string {
	var text strings.Builder
	text.WriteString("www A 192.0.2.1\nwww A 192.0.2.2\n")
	asks := []string{
		"www A", "www TXT", "@ DS", "nope A", "very.deep.nope MX",
		t.oneOf(weight{"@ DNSKEY", 1}, weight{"@ NS", 1}, weight{"@ SOA", 1}, weight{"@ NSEC3PARAM", 1}, weight{"@ MX", 1}, weight{"_dmarc TXT", 2}),
	}
	if z.options != "" && t.rnd.IntN(4) == 0 {
		asks = append(asks, "www.sub A", "sub DS", "sub.between DS", "between A")
	}
	for _, i := range t.rnd.Perm(len(features))[:3] {
		f := features[i]
		other := "z0.org."
		if len(t.zones) > 0 && strings.Contains(f.text, "OTHER") {
			to := t.zones[t.rnd.IntN(len(t.zones))]
			other, z.others = to.apex, append(z.others, to)
		}
		large := strings.TrimSpace(strings.Repeat(`"`+strings.Repeat("large ", 40)+`" `, 8))
		text.WriteString(strings.NewReplacer("OTHER", other, "LARGE", large).Replace(f.text))
		asks = append(asks, strings.Split(f.ask, ", ")...)
	}
	for _, a := range asks {
		name, typ, _ := strings.Cut(a, " ")
		n, _ := dns.ParseType(typ)
		k := memoKey{strings.TrimPrefix(name+"."+z.apex, "@."), n}
		if !slices.Contains(z.ask, k) {
			z.ask = append(z.ask, k)
		}
	}
	t.rnd.Shuffle(len(z.ask), func(i, j int) { z.ask[i], z.ask[j] = z.ask[j], z.ask[i] })
	return text.String()
}
