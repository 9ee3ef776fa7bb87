package authority

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"stagecoach/rfc/dns"
)

// A SecondaryZone is a zone that is transferred in.
type SecondaryZone struct {
	Name      string
	Primaries []dns.Nameserver // asked in this order
	Key       dns.Key          // signs what we ask; the zero Key for none
}

// A Secondary is a name server for zones that are another server's: it transfers them in by
// AXFR and IXFR, keeps a copy of each on disk, serves them as long as their SOA lets it (RFC
// 1034 section 4.3.5), and takes NOTIFYs. The fields are set before Load; Load comes before
// all else.
type Secondary struct {
	Zones []SecondaryZone
	Dir   string           // for the copies; only this server writes to it
	Log   *slog.Logger     // nil is silence
	Now   func() time.Time // nil is time.Now

	held map[string]*heldZone // by canonical name; the map does not change after Load
	news atomic.Uint64        // counts what has become of copies
	last atomic.Pointer[liveZones]
	said said
}

// liveZones are the zones that have not expired, up to a time and while there is no news.
type liveZones struct {
	zones Zones
	news  uint64
	until time.Time
}

// A heldZone is what a Secondary has of one zone.
type heldZone struct {
	SecondaryZone
	name  string // canonical
	copy  atomic.Pointer[zoneCopy]
	wake  chan struct{}
	store copyFile

	trouble atomic.Pointer[trouble] // nil for none
}

// A zoneCopy is one version of a zone, and when the primary last said that it is the newest.
type zoneCopy struct {
	zone    *Zone
	checked time.Time
}

var (
	_ dns.Exchanger        = (*Secondary)(nil)
	_ dns.RecallingHandler = (*Secondary)(nil)
)

// Load reads the copies on disk. One that cannot be read is transferred anew.
func (s *Secondary) Load() error {
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	s.held = map[string]*heldZone{}
	for _, z := range s.Zones {
		h := &heldZone{SecondaryZone: z, name: dns.Canonical(z.Name), wake: make(chan struct{}, 1)}
		if !dns.IsName(h.name) || len(z.Primaries) == 0 {
			return fmt.Errorf("secondary zone %q: no domain name, or no primary", z.Name)
		}
		h.store = copyFile{dir: s.Dir, zone: h.name}
		c, err := h.store.read()
		if err != nil {
			s.Log.Warn("secondary: a copy cannot be read and is fetched anew", "zone", z.Name, "err", err)
		}
		if c != nil {
			h.copy.Store(c)
		}
		s.held[h.name] = h
	}
	return nil
}

func (s *Secondary) clock() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

// Run keeps the zones current until ctx ends.
func (s *Secondary) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, h := range s.held {
		wg.Go(func() { s.follow(ctx, h) })
	}
	wg.Wait()
	return nil
}

// Bounds on the timers of a SOA, so that a primary can neither have us ask without end nor
// sleep for ever.
const (
	minRefresh = 2 * time.Second
	maxRefresh = 24 * time.Hour
	firstRetry = 3 * time.Second
)

// follow asks for the zone by the timers of its SOA, and whenever a NOTIFY says so.
func (s *Secondary) follow(ctx context.Context, h *heldZone) {
	failures := 0
	for {
		pause := time.Duration(0)
		if c := h.copy.Load(); c != nil && failures == 0 {
			pause = seconds(c.zone.soa.Refresh) - s.clock().Sub(c.checked)
		} else if failures > 0 {
			pause = h.retry(failures)
		}
		t := time.NewTimer(max(pause, 0))
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-h.wake:
			t.Stop()
		case <-t.C:
		}
		if err := s.refresh(ctx, h); err != nil && ctx.Err() == nil {
			failures++
			h.trouble.Store(&trouble{failures, err})
			s.Log.Warn("secondary: no transfer", "zone", dns.Host(h.name), "err", err)
		} else {
			failures = 0
			h.trouble.Store(nil)
		}
	}
}

func seconds(n uint32) time.Duration {
	return min(max(time.Duration(n)*time.Second, minRefresh), maxRefresh)
}

// retry is the pause after failures: as the SOA says, and before there is one longer each time.
func (h *heldZone) retry(failures int) time.Duration {
	if c := h.copy.Load(); c != nil {
		return seconds(c.zone.soa.Retry)
	}
	return min(firstRetry<<min(failures-1, 10), time.Hour)
}

// refresh asks the primaries for what is new.
func (s *Secondary) refresh(ctx context.Context, h *heldZone) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	c := &dns.Client{Servers: h.Primaries, Key: h.Key, Now: s.Now}
	old := h.copy.Load()
	var have *dns.SOARecord
	if old != nil {
		have = old.zone.soa
		if newest, err := dns.SOA(ctx, c, h.name); err == nil && !dns.SerialNewer(newest.Serial, have.Serial) {
			return s.confirm(h, old)
		}
	}
	t, err := c.Transfer(ctx, h.name, have)
	if err != nil && have != nil {
		t, err = c.Transfer(ctx, h.name, nil) // some servers fail at IXFR alone
	}
	if err != nil {
		return err
	}
	if !t.Whole() && t.Changes == nil {
		if old == nil {
			return errors.New("the primary sent nothing but a SOA")
		}
		return s.confirm(h, old)
	}
	z, err := assemble(h.name, old, t)
	if err != nil && have != nil {
		s.Log.Warn("secondary: changes do not fit our copy", "zone", dns.Host(h.name), "err", err)
		if t, err = c.Transfer(ctx, h.name, nil); err == nil {
			z, err = assemble(h.name, nil, t)
		}
	}
	if err != nil {
		return err
	}
	return s.install(h, z)
}

func (s *Secondary) confirm(h *heldZone, old *zoneCopy) error {
	c := &zoneCopy{old.zone, s.clock()}
	h.copy.Store(c)
	s.news.Add(1)
	return h.store.touch(c.checked)
}

// install writes the copy first, so that a crash does not leave us with less than we said.
func (s *Secondary) install(h *heldZone, z *Zone) error {
	c := &zoneCopy{z, s.clock()}
	err := h.store.write(c)
	h.copy.Store(c)
	s.news.Add(1)
	s.Log.Info("secondary: zone in service", "zone", dns.Host(h.name), "serial", z.Serial())
	return err
}

// assemble makes the zone of a transfer.
func assemble(name string, old *zoneCopy, t *dns.Transfer) (*Zone, error) {
	if t.Whole() {
		return NewZone(name, t.Records)
	}
	if old == nil {
		return nil, errors.New("changes to nothing")
	}
	u := newUpdating(old.zone)
	for _, c := range t.Changes {
		for _, rr := range c.Gone {
			owner := dns.Canonical(rr.Header().Name)
			before := u.at(owner)
			after := slices.DeleteFunc(slices.Clone(before), func(o dns.RR) bool { return dns.Equal(o, rr) })
			if len(after) == len(before) {
				return nil, fmt.Errorf("%s is to go and is not there", owner)
			}
			u.touched[owner] = after
		}
		for _, rr := range c.Come {
			owner := dns.Canonical(rr.Header().Name)
			u.touched[owner] = append(slices.Clone(u.at(owner)), rr)
		}
	}
	rrs := []dns.RR{t.SOA}
	for _, n := range old.zone.names {
		if _, ok := u.touched[n]; !ok {
			rrs = append(rrs, old.zone.nodes[n].all()...)
		}
	}
	for _, touched := range u.touched {
		rrs = append(rrs, slices.DeleteFunc(touched, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeSOA })...)
	}
	return NewZone(name, rrs)
}

// live returns the zones that have not expired.
func (s *Secondary) live() *liveZones {
	now, news := s.clock(), s.news.Load()
	if l := s.last.Load(); l != nil && l.news == news && now.Before(l.until) {
		return l
	}
	l := &liveZones{zones: make(Zones, len(s.held)), news: news, until: now.Add(time.Hour)}
	for name, h := range s.held {
		c := h.copy.Load()
		if c == nil {
			continue
		}
		if end := c.checked.Add(time.Duration(c.zone.soa.Expire) * time.Second); now.Before(end) {
			l.zones[name] = c.zone
			if end.Before(l.until) {
				l.until = end
			}
		}
	}
	s.last.Store(l)
	return l
}

// Exchange answers a query. For a zone that is ours and not there, or expired, that is SERVFAIL.
func (s *Secondary) Exchange(_ context.Context, q *dns.Msg) (*dns.Msg, error) {
	if len(q.Question) != 1 {
		return nil, errors.New("not one question")
	}
	if q.Opcode != dns.OpcodeQuery {
		return dns.NewResponse(q, dns.RcodeNotImplemented), nil
	}
	if isTransfer(q) {
		return dns.NewResponse(q, dns.RcodeRefused), nil
	}
	return s.answer(q, Zones.Answer), nil
}

func (s *Secondary) answer(q *dns.Msg, how func(Zones, *dns.Msg) *dns.Msg) *dns.Msg {
	m := how(s.live().zones, q)
	if m.Rcode == dns.RcodeRefused {
		for name := range s.held {
			if dns.IsSubdomain(name, q.Question[0].Name) {
				m.Rcode = dns.RcodeServerFailure
			}
		}
	}
	return m
}

// Quick answers queries.
func (s *Secondary) Quick(r *dns.Request) *dns.Msg {
	if r.Msg.Opcode != dns.OpcodeQuery {
		return nil
	}
	if r.Transport != dns.UDP && !isTransfer(r.Msg) {
		return s.answer(r.Msg, Zones.answerFully)
	}
	m, err := s.Exchange(context.Background(), r.Msg)
	if err != nil {
		return dns.NewResponse(r.Msg, dns.RcodeServerFailure)
	}
	return m
}

// Serve answers NOTIFYs (RFC 1996 section 3.11): those of a primary, by its key or, where the
// zone has none, by its address.
func (s *Secondary) Serve(_ context.Context, r *dns.Request, send func(*dns.Msg) error) error {
	m := dns.NewResponse(r.Msg, dns.RcodeSuccess)
	m.Authoritative = true
	h := s.held[dns.Canonical(r.Msg.Question[0].Name)]
	switch {
	case r.Msg.Opcode == dns.OpcodeUpdate:
		m.Rcode = dns.RcodeRefused
	case r.Msg.Opcode != dns.OpcodeNotify:
		m.Rcode = dns.RcodeNotImplemented
	case h == nil:
		m.Rcode = dns.RcodeNotAuth
	case !h.from(r):
		m.Rcode = dns.RcodeRefused
	default:
		select {
		case h.wake <- struct{}{}:
		default:
		}
	}
	return send(m)
}

func (h *heldZone) from(r *dns.Request) bool {
	if !h.Key.IsZero() && r.Key.Name == h.Key.Name {
		return true
	}
	return h.Key.IsZero() && slices.ContainsFunc(h.Primaries, func(n dns.Nameserver) bool {
		return n.Addr.Addr() == r.Peer.Addr() && r.Peer.Addr() != netip.Addr{}
	})
}

// FindKey finds the key of a zone by its name. It is Server.Keys.
func (s *Secondary) FindKey(name string) (dns.Key, bool) {
	for _, h := range s.held {
		if h.Key.Name == name && name != "" {
			return h.Key, true
		}
	}
	return dns.Key{}, false
}
