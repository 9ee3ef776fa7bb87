package authority

import (
	"context"
	"iter"

	"stagecoach/rfc/dns"
)

// transfer answers AXFR (RFC 5936) and IXFR (RFC 1995). A request that was answered before gets
// nothing, as somebody else may have sent it again; but for one over UDP from where it came the
// first time.
func (a *Authority) transfer(ctx context.Context, r *dns.Request, send func(*dns.Msg) error) error {
	w := a.now.Load()
	zone := dns.Canonical(r.Msg.Question[0].Name)
	answer := func(rcode int) error { return send(dns.NewResponse(r.Msg, rcode)) }
	z := w.zones[zone]
	switch {
	case !a.OpenTransfers && r.Key.IsZero():
		return answer(dns.RcodeRefused)
	case z == nil:
		return answer(dns.RcodeNotAuth)
	case !a.OpenTransfers && !w.keys.allows(r.Key.Name, zone, RightTransfer):
		return answer(dns.RcodeNotAuth)
	}
	if !r.Key.IsZero() {
		if first, _ := a.replays.enter(r, a.clock()); first == nil {
			a.Log.Warn("authority: a replayed transfer was refused", "peer", r.Peer, "key", r.Key.Name, "zone", zone)
			return answer(dns.RcodeRefused)
		}
	}
	if r.Msg.Question[0].Qtype == dns.TypeAXFR {
		if r.Stream == nil {
			return answer(dns.RcodeRefused)
		}
		return a.sendWhole(ctx, r, z, send)
	}
	have, ok := clientSerial(r.Msg)
	switch {
	case !ok:
		return answer(dns.RcodeFormatError)
	case have == z.Serial() || dns.SerialNewer(have, z.Serial()) || r.Stream == nil:
		return dns.SendRecords(r, func(yield func(dns.RR) bool) { yield(z.soa) }, send)
	}
	if changes := since(w.journal[zone], have, z.Serial()); changes != nil {
		return dns.SendRecords(r, increment(z, changes), send)
	}
	return a.sendWhole(ctx, r, z, send)
}

// sendWhole sends a zone when its turn has come; SERVFAIL has a client that wants too much come
// again later.
func (a *Authority) sendWhole(ctx context.Context, r *dns.Request, z *Zone, send func(*dns.Msg) error) error {
	done := a.transfers.enter(ctx, a.Transfers, r, z.Name, a.clock())
	if done == nil {
		a.Log.Warn("authority: too many transfers", "peer", r.Peer, "key", r.Key.Name, "zone", z.Name)
		return send(dns.NewResponse(r.Msg, dns.RcodeServerFailure))
	}
	defer done()
	return dns.SendRecords(r, whole(z), send)
}

// clientSerial returns the serial of the SOA in the authority section of an IXFR.
func clientSerial(m *dns.Msg) (uint32, bool) {
	if len(m.Ns) != 1 {
		return 0, false
	}
	soa, ok := m.Ns[0].(*dns.SOARecord)
	if !ok {
		return 0, false
	}
	return soa.Serial, true
}

func whole(z *Zone) iter.Seq[dns.RR] {
	return func(yield func(dns.RR) bool) {
		for rr := range z.each {
			if !yield(rr) {
				return
			}
		}
		yield(z.soa)
	}
}

// since returns the changes that lead from one serial to another, nil if they are not known.
func since(journal []change, from, to uint32) []change {
	for i, c := range journal {
		if c.from.Serial == from {
			if journal[len(journal)-1].to.Serial == to {
				return journal[i:]
			}
			return nil
		}
	}
	return nil
}

func increment(z *Zone, changes []change) iter.Seq[dns.RR] {
	return func(yield func(dns.RR) bool) {
		ok := yield(z.soa)
		for _, c := range changes {
			ok = ok && yield(c.from)
			for _, rr := range c.gone {
				ok = ok && yield(rr)
			}
			ok = ok && yield(c.to)
			for _, rr := range c.come {
				ok = ok && yield(rr)
			}
		}
		if ok {
			yield(z.soa)
		}
	}
}
