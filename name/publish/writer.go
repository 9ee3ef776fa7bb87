package publish

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"stagecoach/rfc/dns"
)

// TTL of the records that we write, in seconds, where a set that is there has no other.
const TTL = 3600

// A Writer changes records at a primary name server, by UPDATEs (RFC 2136) under a key.
type Writer struct {
	Server dns.Exchanger // signs what it is given; see Server
	Key    string        // the name of its key, for errors
}

// A Want is what is to stand at a name: one or more records of one name and type.
type Want struct {
	RRs []dns.RR
	// Ours picks those of the records at the name, of the type, that RRs are to replace; the
	// others stay. nil: all of them.
	Ours func(dns.RR) bool
	// Served reports whether what Ours picked is good as it is; nil: if it is the same as RRs.
	Served func(ours []dns.RR) bool
}

func (w Want) name() string { return dns.Canonical(w.RRs[0].Header().Name) }

func (w Want) rrtype() uint16 { return w.RRs[0].Header().Rrtype }

// split sorts what stands at the name.
func (w Want) split(have []dns.RR) (ours, others []dns.RR) {
	for _, rr := range have {
		if w.Ours == nil || w.Ours(rr) {
			ours = append(ours, rr)
		} else {
			others = append(others, rr)
		}
	}
	return ours, others
}

// In reports whether records that stand at the name are what is wanted.
func (w Want) In(have []dns.RR) bool {
	ours, _ := w.split(have)
	if w.Served != nil {
		return w.Served(ours)
	}
	return len(ours) == len(w.RRs) && !slices.ContainsFunc(w.RRs, func(rr dns.RR) bool {
		return !slices.ContainsFunc(ours, func(o dns.RR) bool { return dns.Equal(o, rr) })
	})
}

// ServedBy returns nil if a name server serves what is wanted, ErrBehind if it serves something
// else, and another error if it does not tell.
func (w Want) ServedBy(ctx context.Context, x dns.Exchanger) error {
	have, err := read(ctx, x, w.name(), w.rrtype())
	if err == nil && !w.In(have) {
		return ErrBehind
	}
	return err
}

// attempts is how often a set is read again that somebody else changes at the same time.
const attempts = 5

// Put compares what stands at the name with what is wanted, and changes it where it differs: all
// of it or nothing, and only if nobody else has changed it since. It returns when the server
// serves what is wanted, and what stood there before. An error may be a *Refusal.
func (w Writer) Put(ctx context.Context, want Want) (before []dns.RR, changed bool, err error) {
	name, t := want.name(), want.rrtype()
	zone := ""
	for n := range attempts + 1 {
		have, err := read(ctx, w.Server, name, t)
		if err != nil {
			return nil, false, w.explain(err, zone, want)
		}
		if n == 0 {
			before = have
		}
		if want.In(have) {
			return before, changed, nil
		}
		if n == attempts {
			break
		}
		if zone == "" {
			if zone, err = ZoneOf(ctx, w.Server, name); err != nil {
				return before, false, w.explain(err, zone, want)
			}
		}
		err = dns.Do(ctx, w.Server, change(zone, have, want))
		var code dns.RcodeError
		if errors.As(err, &code) && int(code) == dns.RcodeNXRrset || errors.As(err, &code) && int(code) == dns.RcodeYXRrset {
			continue
		}
		if err != nil {
			return before, false, w.explain(err, zone, want)
		}
		changed = true
	}
	return before, changed, fmt.Errorf("%s %s: whatever is written, something else stands there, or the zone may not have it",
		dns.Host(name), dns.TypeName(t))
}

// change returns the UPDATE that makes have what is wanted, and fails if have is not there any more.
func change(zone string, have []dns.RR, want Want) *dns.Msg {
	m := dns.NewUpdate(zone)
	if len(have) == 0 {
		m.RRsetNotUsed([]dns.RR{dns.Copy(want.RRs[0])})
	} else {
		m.Used(copies(have))
	}
	ours, others := want.split(have)
	for _, rr := range ours {
		if !slices.ContainsFunc(want.RRs, func(o dns.RR) bool { return dns.Equal(o, rr) }) {
			m.Remove([]dns.RR{dns.Copy(rr)})
		}
	}
	come := copies(want.RRs)
	for _, rr := range come {
		if len(others) > 0 { // the TTL is that of the whole set (RFC 2181 section 5.2)
			rr.Header().Ttl = others[0].Header().Ttl
		}
	}
	m.Insert(come)
	return m
}

func copies(rrs []dns.RR) []dns.RR {
	out := make([]dns.RR, len(rrs))
	for i, rr := range rrs {
		out[i] = dns.Copy(rr)
	}
	return out
}

// Read returns the records of a type at a name, as the server has them; none is no error.
func (w Writer) Read(ctx context.Context, name string, t uint16) ([]dns.RR, error) {
	return read(ctx, w.Server, dns.Canonical(name), t)
}

// read asks the server itself: it follows no alias, since what stands at its end is not ours.
func read(ctx context.Context, x dns.Exchanger, name string, t uint16) ([]dns.RR, error) {
	r, err := x.Exchange(ctx, dns.NewQuery(name, t))
	if err != nil {
		return nil, err
	}
	if r.Rcode != dns.RcodeSuccess && r.Rcode != dns.RcodeNameError {
		return nil, fmt.Errorf("reading %s: %w", dns.Host(name), dns.RcodeError(r.Rcode))
	}
	if r.Truncated {
		return nil, fmt.Errorf("reading %s: the response is truncated", dns.Host(name))
	}
	var out []dns.RR
	for _, rr := range r.Answer {
		h := rr.Header()
		if dns.Canonical(h.Name) != name {
			continue
		}
		switch h.Rrtype {
		case t:
			out = append(out, rr)
		case dns.TypeCNAME:
			return nil, fmt.Errorf("%s is an alias (CNAME), beside which nothing can stand", dns.Host(name))
		}
	}
	return out, nil
}

// ZoneOf returns the zone that a name is in, canonical, as its name server tells by the SOA record.
func ZoneOf(ctx context.Context, x dns.Exchanger, name string) (string, error) {
	r, err := x.Exchange(ctx, dns.NewQuery(name, dns.TypeSOA))
	if err != nil {
		return "", err
	}
	for _, rr := range append(slices.Clone(r.Answer), r.Ns...) {
		if soa, ok := rr.(*dns.SOARecord); ok && dns.IsSubdomain(soa.Hdr.Name, name) {
			return dns.Canonical(soa.Hdr.Name), nil
		}
	}
	if r.Rcode != dns.RcodeSuccess && r.Rcode != dns.RcodeNameError {
		return "", fmt.Errorf("asking for the zone of %s: %w", dns.Host(name), dns.RcodeError(r.Rcode))
	}
	return "", fmt.Errorf("the name server has no zone for %s", dns.Host(name))
}

// Server returns the primary name server at an address, asked over TCP and under a key. An UPDATE
// may take as long as a push to a repository far away does.
func Server(at netip.AddrPort, key dns.Key) *dns.Client {
	return &dns.Client{
		Servers: []dns.Nameserver{{Transport: dns.TCP, Addr: at}}, Key: key, Timeout: 30 * time.Second, Attempts: 1,
	}
}
