package scenario

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"stagecoach/lab/peer"
	"stagecoach/name/resolver"
	"stagecoach/rfc/dns"
)

// shapes are the options of the zones of the tree that Unbound and we walk.
var shapes = []string{
	"", "sign=nsec", "sign=nsec3", "sign=optout", "sign=nsec3 iterations=10 salt=aabb", "sign=nsec3 iterations=150", "sign=nsec3 iterations=200",
	"sign=nsec alg=rsa", "sign=nsec3 alg=rsa512", "sign=nsec alg=p256", "sign=nsec3 alg=p384", "sign=nsec keys=3",
	"sign=nsec ds=none", "sign=nsec3 ds=none", "sign=nsec ds=wrong", "sign=nsec3 ds=wrong", "sign=nsec ds=digest", "sign=nsec ds=algorithm",
	"sign=nsec ds=sha1", "sign=nsec ds=sha384", "sign=nsec ds=sha1wrong", "sign=nsec time=expired", "sign=nsec time=future",
	"sign=nsec3 time=expired", "sign=nsec sig=bad", "sign=nsec3 sig=bad", "sign=optout sig=bad",
}

// content is what each zone of the tree holds.
const content = `
@ MX 10 mail
@ TXT "v=spf1 mx -all"
www A 192.0.2.1
www A 192.0.2.2
mail A 192.0.2.3
alias CNAME www
loose CNAME nothing
*.wild TXT "any"
deep.down.below A 192.0.2.4
old DNAME new
x.new A 192.0.2.5
_25._tcp.mail TLSA 3 1 1 0102030405060708090a0b0c0d0e0f100102030405060708090a0b0c0d0e0f10
`

// questions are put to each zone of the tree.
var questions = []string{
	"@ MX", "@ TXT", "@ DS", "@ DNSKEY", "@ NS", "@ AAAA", "www A", "www AAAA", "nope A", "very.deep.nope A", "alias A", "loose A",
	"a.wild TXT", "a.b.wild TXT", "a.wild A", "below A", "down.below TXT", "deep.down.below A", "x.old A", "y.old A", "old DNAME",
	"_25._tcp.mail TLSA", "_25._tcp.www TLSA", "sub A", "www.sub A", "sub DS",
}

// treeText writes the tree: every shape as a zone below org. (NSEC), net. (NSEC3) and com.
// (opt-out), each with an unsigned zone below it.
func treeText() string {
	var b strings.Builder
	b.WriteString("-- zone . 127.8.0.1 sign=nsec --\n")
	n := 0
	for i, tld := range []string{"org. 127.8.0.2 sign=nsec", "net. 127.8.0.3 sign=nsec3", "com. 127.8.0.4 sign=optout"} {
		fmt.Fprintf(&b, "-- zone %s --\n", tld)
		for j, shape := range shapes {
			n++
			zone := fmt.Sprintf("z%d.%s", j, strings.Fields(tld)[0])
			fmt.Fprintf(&b, "-- zone %s 127.8.%d.%d %s --\n%s", zone, i+1, j+1, shape, content)
			fmt.Fprintf(&b, "-- zone sub.%s 127.8.%d.%d --\n@ A 192.0.2.9\nwww A 192.0.2.9\n", zone, i+11, j+1)
		}
	}
	b.WriteString("-- config --\nprivate\nnoipv6\n-- steps --\n")
	return b.String()
}

// TestUnbound asks Unbound and us the same of the same servers: response code, security and
// records are the same.
func TestUnbound(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes some seconds")
	}
	unbound := peer.Need(t, "unbound")[0]
	p, err := load([]byte(treeText()))
	if err != nil {
		t.Fatal(err)
	}
	for a := range p.world.servers {
		p.world.listen53(t, a)
	}
	theirs := startUnbound(t, unbound, p.world, "harden-algo-downgrade: yes")
	ours := &resolver.Resolver{Hints: p.resolver.Hints, Anchors: p.resolver.Anchors, Private: true, NoIPv6: true}
	asked, differ := 0, map[string]int{}
	clock := &clocks{}
	for i, tld := range []string{"org.", "net.", "com."} {
		for j, shape := range shapes {
			for _, text := range questions {
				asked++
				words := strings.Fields(text)
				name := strings.TrimPrefix(words[0]+fmt.Sprintf(".z%d.%s", j, tld), "@.")
				typ, _ := dns.ParseType(words[1])
				if d := clock.compare(t, ours, theirs, name, typ); d != "" {
					differ[text+" "+d]++
					t.Errorf("%d/%q %s: %s", i, shape, text, d)
				}
			}
		}
	}
	t.Logf("%d questions, %d kinds of difference; we took %v, Unbound %v", asked, len(differ), clock.ours, clock.theirs)
}

// clocks add up how long each takes, from the first question on, when nothing is known.
type clocks struct{ ours, theirs time.Duration }

func (c *clocks) compare(t *testing.T, ours, theirs dns.Exchanger, name string, typ uint16) string {
	t.Helper()
	ask := func(x dns.Exchanger, took *time.Duration) string {
		start := time.Now()
		defer func() { *took += time.Since(start) }()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		m, err := x.Exchange(ctx, dns.NewQuery(name, typ))
		if err != nil {
			return err.Error()
		}
		var rrs []string
		for _, rr := range m.Answer {
			rr.Header().Ttl = 0
			rr.Header().Name = dns.Canonical(rr.Header().Name)
			rrs = append(rrs, strings.ReplaceAll(rr.String(), "\t", " "))
		}
		slices.Sort(rrs)
		return fmt.Sprintf("%s ad=%v %s", dns.RcodeName(m.Rcode), m.AuthenticatedData, strings.Join(rrs, "; "))
	}
	a, b := ask(ours, &c.ours), ask(theirs, &c.theirs)
	if a == b {
		return ""
	}
	return fmt.Sprintf("we say %q, Unbound %q", a, b)
}

// listen53 has a server of the world answer at port 53, which takes a system that lets us.
func (w *world) listen53(t testing.TB, a netip.Addr) {
	t.Helper()
	if err := w.listen(t, netip.AddrPortFrom(a, 53)); err != nil {
		t.Skipf("port 53 is not ours: %v", err)
	}
}

// startUnbound runs Unbound over the world, with more lines in its configuration, and returns how
// to ask it.
func startUnbound(t testing.TB, program string, w *world, more ...string) dns.Exchanger {
	t.Helper()
	dir := t.TempDir()
	at := freePort(t)
	anchors, err := w.anchor(".")
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return file
	}
	hints := write("hints", fmt.Sprintf(". 3600 NS ns1.root.\nns1.root. 3600 A %s\n", w.zones["."].options["at"]))
	anchor := write("anchor", anchors[0].String()+"\n")
	config := write("unbound.conf", fmt.Sprintf(`server:
  interface: 127.0.0.1@%d
  do-daemonize: no
  username: ""
  chroot: ""
  directory: %q
  pidfile: ""
  use-syslog: no
  logfile: ""
  val-bogus-ttl: 1
  root-hints: %q
  trust-anchor-file: %q
  do-not-query-localhost: no
  do-ip6: no
  num-threads: 1
  %s
  module-config: "validator iterator"
remote-control:
  control-enable: no
`, at.Port(), dir, hints, anchor, strings.Join(more, "\n  ")))
	return startPeer(t, at, exec.Command(program, "-d", "-c", config))
}
