package authority

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"stagecoach/repo"
	"stagecoach/rfc/dns"
)

// update answers a signed UPDATE: nothing, for one that is already in work.
func (a *Authority) update(ctx context.Context, r *dns.Request) *dns.Msg {
	zone := dns.Canonical(r.Msg.Question[0].Name)
	answer := func(rcode int) *dns.Msg { return dns.NewResponse(r.Msg, rcode) }
	switch {
	case r.Msg.Question[0].Qtype != dns.TypeSOA || r.Msg.Question[0].Qclass != dns.ClassINET:
		return answer(dns.RcodeFormatError)
	case r.Key.IsZero():
		return answer(dns.RcodeRefused)
	case a.now.Load().zones[zone] == nil || !a.now.Load().keys.allows(r.Key.Name, zone, RightUpdate):
		return answer(dns.RcodeNotAuth)
	}
	first, done := a.replays.enter(r, a.clock())
	if first == nil {
		a.Log.Warn("authority: a replayed UPDATE was refused", "peer", r.Peer, "key", r.Key.Name, "zone", zone)
		return answer(dns.RcodeRefused)
	}
	if !done {
		return nil // the answer to the first will do
	}
	if first.rcode >= 0 {
		return answer(first.rcode)
	}
	rcode := a.apply(ctx, r, zone)
	a.replays.finish(first, rcode)
	return answer(rcode)
}

// apply makes the commit for an UPDATE. While others push, the UPDATE is applied anew to what
// they have made, prerequisites and all.
func (a *Authority) apply(ctx context.Context, r *dns.Request, zone string) int {
	a.write.Lock()
	defer a.write.Unlock()
	for {
		w := a.now.Load()
		f := w.files[zone]
		if f == nil || !w.keys.allows(r.Key.Name, zone, RightUpdate) {
			return dns.RcodeNotAuth
		}
		if f.stale {
			a.Log.Error("authority: an UPDATE cannot be made while the file of its zone is broken", "zone", zone, "key", r.Key.Name)
			return dns.RcodeServerFailure
		}
		c, rcode := a.plan(w, f, r)
		if c == nil {
			return rcode
		}
		s, err := a.Repo.Commit(ctx, w.snapshot, *c)
		if err == nil {
			a.install(s)
			return dns.RcodeSuccess
		}
		a.Log.Warn("authority: commit failed", "zone", zone, "key", r.Key.Name, "err", err)
		moved := errors.Is(err, repo.ErrMoved)
		if err := a.pull(ctx); err != nil || !moved || ctx.Err() != nil {
			return dns.RcodeServerFailure
		}
	}
}

// plan returns the commit for an UPDATE, or nil and the code to answer with.
func (a *Authority) plan(w *world, f *servedFile, r *dns.Request) (*repo.Change, int) {
	d, serial, rcode := update(f.zone, r.Msg, func(name string, t uint16) bool {
		return w.grants.allows(r.Key.Name, name, t)
	})
	if rcode != dns.RcodeSuccess || d.empty() {
		return nil, rcode
	}
	if serial == 0 {
		serial = nextSerial(f.zone.Serial(), a.clock())
	}
	after, err := f.parsed.after(d, serial)
	if err == nil {
		err = after.aliasesAlone()
	}
	if err == nil {
		err = worse(f.zone, after)
	}
	if err != nil {
		a.Log.Warn("authority: an UPDATE that would break the zone was refused", "zone", f.zone.Name, "key", r.Key.Name, "err", err)
		return nil, dns.RcodeRefused
	}
	text, err := f.parsed.edit(d, serial)
	if err != nil {
		a.Log.Error("authority: UPDATE", "err", err)
		return nil, dns.RcodeServerFailure
	}
	return &repo.Change{
		Files:   map[string][]byte{f.name: []byte(text)},
		Message: message(r, f.zone.Name, d),
		Name:    dns.Host(r.Key.Name),
		Email:   "authority@" + dns.Host(f.zone.Name),
		When:    a.clock(),
	}, dns.RcodeSuccess
}

// message is "ADDRESS changed ZONE" with the records below it.
func message(r *dns.Request, zone string, d delta) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s changed %s\n\n", r.Peer.Addr(), dns.Host(zone))
	for _, rr := range d.gone {
		fmt.Fprintf(&b, "-%s\n", rr)
	}
	for _, rr := range d.come {
		fmt.Fprintf(&b, "+%s\n", rr)
	}
	return b.String()
}

// nextSerial is the time, or one more than the last where that is more (RFC 1982).
func nextSerial(last uint32, now time.Time) uint32 {
	if t := uint32(now.Unix()); dns.SerialNewer(t, last) {
		return t
	}
	if last+1 == 0 {
		return 1 // 0 is unlucky with some secondaries
	}
	return last + 1
}
