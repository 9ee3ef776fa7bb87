package authority

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stagecoach/lab/peer"
	"stagecoach/rfc/dns"
)

// rollFiles are a zone and one below it, to which it delegates; another delegation is not signed.
var rollFiles = map[string]string{
	"example": "@ 300 SOA ns h 7 1 1 1 60\n@ 300 NS ns\nns 300 A 127.0.0.1\nkid 300 NS ns.kid\nns.kid 300 A 127.0.0.1\nbare 300 NS ns.bare\nns.bare 300 A 127.0.0.1\n*.w 300 TXT w\n",
	"kid.example": "@ 300 SOA ns h 7 1 1 1 60\n@ 300 NS ns\nns 300 A 127.0.0.1\na 300 TXT a\n" +
		"*.wild 300 TXT w\nx.host.wild 300 TXT x\nalias 300 CNAME a\nd 300 DNAME wild\n",
	"example._keys": "personal._update.example. DNSKEY 0 3 163 " + secret + "\n",
}

// rolledQuestions cover positive answers, wildcards, NODATA, names that do not exist, aliases and
// delegations.
var rolledQuestions = []struct{ name, kind string }{
	{"kid.example", "SOA"}, {"kid.example", "DNSKEY"}, {"kid.example", "DS"}, {"kid.example", "CDS"}, {"kid.example", "CDNSKEY"}, {"a.kid.example", "TXT"},
	{"q.wild.kid.example", "TXT"}, {"q.wild.kid.example", "A"}, {"a.kid.example", "A"}, {"host.wild.kid.example", "TXT"}, {"no.kid.example", "A"},
	{"y.x.host.wild.kid.example", "TXT"}, {"alias.kid.example", "TXT"}, {"z.d.kid.example", "TXT"}, {"bare.example", "DS"}, {"x.w.example", "TXT"}, {"no.example", "A"},
}

// A ride through roll-overs of the ZSKs of two zones and of the KSK of the lower one, in simulated
// time that ends now, with signatures that are good now: Unbound and delv, which know the real time
// alone, validate every answer before and after each change of state.
type rollRide struct {
	t        *testing.T
	a        *Authority
	at       netip.AddrPort
	now      *atomic.Int64
	unbound  netip.AddrPort
	anchor   string
	signers  map[string]map[uint16]bool // of zones
	answers  int
	states   int
	asked    string    // the DS that CDS asks for
	askedAt  time.Time // since
	ofParent string    // the DS that the parent has
	ttl      string    // of it
	caching  bool      // Unbound remembers
}

func TestRollOversValidate(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]*Signing{"NSEC": {}, "NSEC3": {NSEC3: true}} {
		t.Run(name, func(t *testing.T) {
			peer.Need(t, "unbound", "delv")
			t.Parallel()
			s.Split, s.Roll, s.Dir = true, 60*time.Hour, t.TempDir()
			ride := startRide(t, s)
			ride.run()
		})
	}
}

func startRide(t *testing.T, s *Signing) *rollRide {
	t.Helper()
	r := &rollRide{t: t, ttl: "300", now: new(atomic.Int64), signers: map[string]map[uint16]bool{"example.": {}, "kid.example.": {}}}
	r.now.Store(time.Now().Add(-6 * 24 * time.Hour).Unix())
	r.a, r.at, _, _ = start(t, rollFiles, func(a *Authority) {
		a.Signing, a.Poll = s, time.Hour // this test alone renews
		a.Now = func() time.Time { return time.Unix(r.now.Load(), 0) }
	})
	r.a.Resolver = client(r.at, dns.TCP, dns.Key{})
	r.begin(s)
	return r
}

// begin gives the parent the DS, and the validators their anchors.
func (r *rollRide) begin(s *Signing) {
	t := r.t
	t.Helper()
	r.parentTakes(r.wanted())
	z, _ := r.a.Zone("example")
	for _, rr := range z.node("example.").set(dns.TypeDNSKEY) {
		if k := rr.(*dns.DNSKEYRecord); k.Flags == flagsKSK {
			r.anchor = filepath.Join(t.TempDir(), "anchor")
			text := fmt.Sprintf("trust-anchors { \"example.\" static-key 257 3 13 %q; };\n", k.PublicKey)
			if err := os.WriteFile(r.anchor, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	ds, err := s.DS("example", r.a.clock())
	if err != nil || len(ds) != 1 {
		t.Fatal(ds, err)
	}
	r.unbound = freeAddress(t, "127.0.0.1")
	forget := " cache-max-ttl: 0\n cache-max-negative-ttl: 0\n"
	if r.caching {
		forget = ""
	}
	runUnbound(t, r.unbound.String(), forget+fmt.Sprintf(" module-config: \"validator iterator\"\n trust-anchor: %q\n"+
		" val-bogus-ttl: 0\n infra-host-ttl: 0\nstub-zone:\n name: example\n stub-addr: 127.0.0.1@%[2]d\nstub-zone:\n name: kid.example\n stub-addr: 127.0.0.1@%[2]d",
		ds[0], r.at.Port()))
	eventually(t, "unbound", func() bool {
		m, err := client(r.unbound, dns.UDP, dns.Key{}).Exchange(t.Context(), dns.NewQuery("example", dns.TypeSOA))
		return err == nil && m.Rcode == 0
	})
}

// wanted is the DS that the CDS of the lower zone asks for.
func (r *rollRide) wanted() string {
	z, _ := r.a.Zone("kid.example")
	sets := z.node("kid.example.").set(dns.TypeCDS)
	if len(sets) != 1 {
		r.t.Fatalf("%d CDS", len(sets))
	}
	return dns.Data(sets[0])
}

// parentTakes is what a registry does that heeds CDS (RFC 7344).
func (r *rollRide) parentTakes(ds string) {
	r.t.Helper()
	m := dns.NewUpdate("example")
	m.RemoveRRset(rrs(r.t, "kid.example. 0 DS "+ds))
	m.Insert(rrs(r.t, "kid.example. "+r.ttl+" DS "+ds))
	if err := dns.Do(r.t.Context(), client(r.at, dns.TCP, keyNamed(r.t, "personal._update.example")), m); err != nil {
		r.t.Fatal(err)
	}
	r.ofParent = ds
}

// next is when something changes: keys, signatures, or the parent's mind.
func (r *rollRide) next() time.Time {
	now := r.a.clock()
	next := time.Unix((r.a.Signing.epochOf(now)+1)*int64(epoch/time.Second), 0)
	for _, f := range r.a.now.Load().files {
		if !f.due.IsZero() && f.due.After(now) && f.due.Before(next) {
			next = f.due
		}
	}
	if at := r.askedAt.Add(5 * time.Hour); r.asked != r.ofParent && at.After(now) && at.Before(next) {
		next = at
	}
	return next
}

func (r *rollRide) step(at time.Time) {
	r.t.Helper()
	r.now.Store(at.Unix())
	r.a.Renew(r.t.Context())
	if ds := r.wanted(); ds != r.asked {
		r.asked, r.askedAt = ds, at
	}
	if r.asked != r.ofParent && !at.Before(r.askedAt.Add(5*time.Hour)) {
		r.parentTakes(r.asked)
		r.validate()
		r.a.Renew(r.t.Context()) // which sees that the parent has it
	}
	r.validate()
}

func (r *rollRide) run() {
	end := time.Now()
	rolled := false
	first := r.ofParent
	r.validate()
	for {
		at := r.next()
		if at.After(end) {
			break
		}
		if !rolled && at.After(end.Add(-6*24*time.Hour)) {
			rolled = true
			if err := r.a.Signing.RollKSK("kid.example", r.a.clock()); err != nil {
				r.t.Fatal(err)
			}
			r.step(r.a.clock())
			continue
		}
		r.step(at.Add(-time.Second))
		r.step(at)
	}
	r.ended(first)
}

// ended sees that all has been rolled over.
func (r *rollRide) ended(first string) {
	r.t.Helper()
	if r.ofParent == first || r.wanted() != r.ofParent {
		r.t.Error("the KSK has not changed")
	}
	z, _ := r.a.Zone("kid.example")
	ksks := 0
	for _, rr := range z.node("kid.example.").set(dns.TypeDNSKEY) {
		if rr.(*dns.DNSKEYRecord).Flags == flagsKSK {
			ksks++
		}
	}
	if ksks != 1 {
		r.t.Errorf("%d KSKs at the end", ksks)
	}
	for zone, tags := range r.signers {
		if len(tags) < 3 {
			r.t.Errorf("%s: %d ZSKs have signed", zone, len(tags))
		}
	}
	r.t.Logf("%d answers in %d states were validated", r.answers, r.states)
}

// validate has both validators look at everything.
func (r *rollRide) validate() {
	r.t.Helper()
	r.states++
	for zone, tags := range r.signers {
		z, _ := r.a.Zone(zone)
		for _, sig := range sigsAt(z, zone, dns.TypeNS) {
			tags[sig.(*dns.RRSIGRecord).KeyTag] = true
		}
	}
	c := client(r.unbound, dns.TCP, dns.Key{})
	c.Trust = true
	for i, q := range rolledQuestions {
		kind, _ := dns.ParseType(q.kind)
		m := dns.NewQuery(q.name, kind)
		m.IsEdns0().SetDo()
		secure := func(m *dns.Msg, err error) bool {
			return err == nil && m.AuthenticatedData && (m.Rcode == dns.RcodeSuccess || m.Rcode == dns.RcodeNameError)
		}
		got, err := c.Exchange(r.t.Context(), m)
		// Hours pass here in less than a second, up to the end of which Unbound remembers what it is
		// not to remember, and where the machine is slow it fails. What is bogus stays so.
		for try := 0; try < 60 && !secure(got, err); try++ {
			time.Sleep(100 * time.Millisecond)
			got, err = c.Exchange(r.t.Context(), m)
		}
		r.answers++
		if !secure(got, err) {
			r.t.Errorf("%v: Unbound: %s %s: %v, %v", r.a.clock(), q.name, q.kind, got, err)
		}
		if i%8 != r.states%8 {
			continue // delv takes its time
		}
		r.answers++
		out, _ := exec.CommandContext(r.t.Context(), peer.Need(r.t, "delv")[0], "@127.0.0.1", "-p", fmt.Sprint(r.at.Port()), "-a", r.anchor,
			"+root=example", q.name, q.kind).CombinedOutput()
		if !strings.Contains(string(out), "fully validated") {
			r.t.Errorf("%v: delv: %s %s: %s", r.a.clock(), q.name, q.kind, out)
		}
	}
	if r.t.Failed() {
		r.t.FailNow()
	}
}
