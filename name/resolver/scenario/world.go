package scenario

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"stagecoach/name/resolver"
	"stagecoach/rfc/dns"
	"stagecoach/rfc/dns/dnstest"
)

// rootAddr is where the root is, unless a scenario says otherwise.
const rootAddr = "1.0.0.1"

// A world is the servers of one scenario, and what they were asked.
type world struct {
	zones   map[string]*zone
	servers map[netip.Addr]*server
	keys    keyMaker

	mu    sync.Mutex
	log   []asked
	wrong error // with the script
}

type asked struct {
	server netip.Addr
	name   string
	t      uint16
	tcp    bool
}

type server struct {
	zones map[string]*zone
	rules []*rule
	down  bool
}

var _ resolver.Network = (*world)(nil)

func newWorld() *world {
	return &world{zones: map[string]*zone{}, servers: map[netip.Addr]*server{}, keys: dnstest.NewKey}
}

func (w *world) server(a netip.Addr) *server {
	if w.servers[a] == nil {
		w.servers[a] = &server{zones: map[string]*zone{}}
	}
	return w.servers[a]
}

// finish adds the root and all delegations that are not written down.
func (w *world) finish() error {
	if w.zones["."] == nil {
		z, err := newZone(".", "", map[string]string{"sign": "nsec", "at": rootAddr}, w.keys)
		if err != nil {
			return err
		}
		w.zones["."] = z
		w.server(netip.MustParseAddr(rootAddr)).zones["."] = z
	}
	var apexes []string
	for apex := range w.zones {
		apexes = append(apexes, apex)
	}
	slices.Sort(apexes)
	for _, apex := range apexes {
		if err := w.delegate(w.zones[apex]); err != nil {
			return err
		}
	}
	return nil
}

// delegate makes the NS records of a zone, in itself and above.
func (w *world) delegate(z *zone) error {
	var ns, glue []dns.RR
	addrs := strings.Split(z.options["at"], ",")
	if also := z.options["also"]; also != "" {
		addrs = append(addrs, strings.Split(also, ",")...)
	}
	for i, addr := range addrs {
		host := fmt.Sprintf("ns%d.%s", i+1, z.apex)
		if z.apex == "." {
			host = fmt.Sprintf("ns%d.root.", i+1)
		}
		t := "A"
		if strings.Contains(addr, ":") {
			t = "AAAA"
		}
		ns = append(ns, dns.MustParseRR(z.apex+" 3600 NS "+host))
		glue = append(glue, dns.MustParseRR(host+" 3600 "+t+" "+addr))
	}
	if elsewhere := z.options["ns"]; elsewhere != "" {
		ns, glue = nil, nil
		for _, host := range strings.Split(elsewhere, ",") {
			ns = append(ns, dns.MustParseRR(z.apex+" 3600 NS "+host))
		}
	}
	if z.get(z.apex, dns.TypeNS) == nil {
		for _, rr := range slices.Concat(ns, glue) {
			z.add(rr)
		}
	}
	if z.apex == "." {
		return nil
	}
	up := w.above(z.apex)
	if up.get(z.apex, dns.TypeNS) == nil {
		if z.options["glue"] == "none" {
			glue = nil
		}
		for _, rr := range slices.Concat(ns, glue) {
			up.add(dns.Copy(rr))
		}
	}
	return w.vouch(z, up)
}

// above returns the zone above another.
func (w *world) above(apex string) *zone {
	for at := parent(apex); ; at = parent(at) {
		if z := w.zones[at]; z != nil {
			return z
		}
	}
}

// vouch adds the DS records of a zone to the one above.
func (w *world) vouch(z, up *zone) error {
	if !z.signed() || up.get(z.apex, dns.TypeDS) != nil {
		return nil
	}
	for _, k := range z.keys {
		if k.Record.Flags&dns.KeyEntry == 0 {
			continue
		}
		ds := k.DS(2)
		switch z.options["ds"] {
		case "none":
			return nil
		case "wrong":
			ds.Digest = strings.Repeat("ab", 32)
		case "digest":
			ds.DigestType = 99
		case "algorithm":
			ds.Algorithm = 99
		case "sha1":
			ds = k.DS(1)
		case "sha384":
			ds = k.DS(4)
		case "both":
			up.add(k.DS(4))
		case "stale": // of a key that is gone, besides
			old := k.DS(2)
			old.KeyTag, old.Digest = old.KeyTag+1, strings.Repeat("ef", 32)
			up.add(old)
		case "sha1wrong": // the one that must not count is right, the one that counts is not
			up.add(k.DS(1))
			ds.Digest = strings.Repeat("cd", 32)
		case "":
		default:
			return fmt.Errorf("zone %s: unknown ds=%s", z.apex, z.options["ds"])
		}
		up.add(ds)
	}
	return nil
}

// anchor returns the digests of a zone's keys.
func (w *world) anchor(apex string) ([]dns.RR, error) {
	z := w.zones[dns.Canonical(apex)]
	if z == nil || !z.signed() {
		return nil, fmt.Errorf("anchor %s: no such zone is signed", apex)
	}
	var out []dns.RR
	for _, k := range z.keys {
		out = append(out, k.DS(2))
	}
	return out, nil
}

// serve answers one query at one server; nil is silence.
func (w *world) serve(ctx context.Context, a netip.Addr, wire []byte, tcp bool) [][]byte {
	var q dns.Msg
	if q.Unpack(wire) != nil || len(q.Question) != 1 {
		return nil
	}
	k := q.Question[0]
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, asked{a, dns.Canonical(k.Name), k.Qtype, tcp})
	s := w.servers[a]
	if s == nil || s.down {
		return nil
	}
	t := &turn{w: w, q: &q, tcp: tcp, r: s.respond(&q)}
	defer func() {
		if p := recover(); p != nil {
			w.wrong = fmt.Errorf("the script of %s, for %s: %v", a, k.Name, p)
		}
	}()
	if r := s.match(dns.Canonical(k.Name), k.Qtype, tcp); r != nil {
		r.apply(t)
	}
	if t.silent {
		return nil
	}
	if t.delay > 0 {
		w.mu.Unlock()
		wait(ctx, t.delay)
		w.mu.Lock()
	}
	return append(t.before, t.pack())
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// respond answers from the zones of a server, REFUSED for all else.
func (s *server) respond(q *dns.Msg) *dns.Msg {
	r := dns.NewResponse(q, dns.RcodeSuccess)
	name, t := dns.Canonical(q.Question[0].Name), q.Question[0].Qtype
	opt := q.IsEdns0()
	secure := opt != nil && opt.Do()
	if opt != nil {
		r.SetEdns0(1232, secure)
	}
	best := s.closest(name)
	if t == dns.TypeDS && best != nil && best.apex == name && name != "." {
		if up := s.closest(parent(name)); up != nil {
			best = up
		}
	}
	if best == nil {
		r.Rcode = dns.RcodeRefused
		return r
	}
	best.answer(r, name, t, secure)
	if best.apex == "." && name == "." && t == dns.TypeNS {
		for _, rr := range best.get(".", dns.TypeNS) {
			host := dns.Canonical(rr.(*dns.NSRecord).Ns)
			r.Extra = append(append(r.Extra, best.get(host, dns.TypeA)...), best.get(host, dns.TypeAAAA)...)
		}
	}
	return r
}

// closest returns the lowest zone of the server at or above name, nil for none.
func (s *server) closest(name string) *zone {
	for at := name; ; at = parent(at) {
		if z := s.zones[at]; z != nil || at == "." {
			return z
		}
	}
}

// flight is the time that a packet takes.
const flight = 10 * time.Millisecond

// UDP carries a query to a server of the world.
func (w *world) UDP(ctx context.Context, a netip.AddrPort, query []byte, accept func([]byte) bool) error {
	wait(ctx, flight)
	for _, raw := range w.serve(ctx, a.Addr(), query, false) {
		if ctx.Err() == nil && accept(raw) {
			return nil
		}
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

// TCP does so over a connection.
func (w *world) TCP(ctx context.Context, a netip.AddrPort, query []byte) ([]byte, error) {
	wait(ctx, 2*flight)
	raws := w.serve(ctx, a.Addr(), query, true)
	if len(raws) == 0 {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	return raws[len(raws)-1], nil
}

// exchanger is one server of the world as the target of a Route.
func (w *world) exchanger(a netip.Addr) dns.Exchanger {
	return dns.ExchangerFunc(func(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
		wire, err := q.Pack()
		if err != nil {
			return nil, err
		}
		raws := w.serve(ctx, a, wire, true)
		if len(raws) == 0 {
			<-ctx.Done()
			return nil, errors.New("no answer")
		}
		r := new(dns.Msg)
		return r, r.Unpack(raws[len(raws)-1])
	})
}

func (w *world) take() []asked {
	w.mu.Lock()
	defer w.mu.Unlock()
	log := w.log
	w.log = nil
	return log
}
