package lab

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"stagecoach/rfc/dns"
)

// A zone is the data of one zone, which may change while it is served.
type zone struct {
	apex string

	mu      sync.RWMutex
	records map[string]map[uint16][]dns.RR
}

// newZone reads zone text with names relative to apex. A SOA and an NS record are added
// where there is none.
func newZone(apex, text string) (*zone, error) {
	z := &zone{apex: dns.Canonical(apex), records: make(map[string]map[uint16][]dns.RR)}
	rrs, err := parse(text, z.apex)
	if err != nil {
		return nil, fmt.Errorf("zone %s: %w", apex, err)
	}
	for _, rr := range rrs {
		if !dns.IsSubdomain(z.apex, rr.Header().Name) {
			return nil, fmt.Errorf("zone %s: %s is outside of it", apex, rr.Header().Name)
		}
		z.add(rr)
	}
	if z.records[z.apex][dns.TypeNS] == nil {
		z.add(dns.MustParseRR(z.apex + " 300 NS " + hostingName))
	}
	if z.records[z.apex][dns.TypeSOA] == nil {
		z.add(dns.MustParseRR(z.apex + " 300 SOA " + hostingName + " hostmaster.hosting.example. 1 3600 600 86400 60"))
	}
	return z, nil
}

// parse reads records, 300 seconds the default of their TTL.
func parse(text, origin string) ([]dns.RR, error) {
	return dns.ParseZone(strings.NewReader("$TTL 300\n"+text+"\n"), origin)
}

func (z *zone) add(rr dns.RR) {
	name, t := dns.Canonical(rr.Header().Name), rr.Header().Rrtype
	if z.records[name] == nil {
		z.records[name] = make(map[uint16][]dns.RR)
	}
	for _, have := range z.records[name][t] {
		if dns.Equal(have, rr) {
			return
		}
	}
	z.records[name][t] = append(z.records[name][t], rr)
}

// set replaces the sets of records that rrs name.
func (z *zone) set(rrs []dns.RR) {
	z.mu.Lock()
	defer z.mu.Unlock()
	for _, rr := range rrs {
		delete(z.records[dns.Canonical(rr.Header().Name)], rr.Header().Rrtype)
	}
	for _, rr := range rrs {
		z.add(rr)
	}
	z.serve()
}

// remove takes the given types away from a name, or without types all of it.
func (z *zone) remove(name string, types ...uint16) {
	z.mu.Lock()
	defer z.mu.Unlock()
	name = dns.Canonical(name)
	for _, t := range types {
		delete(z.records[name], t)
	}
	if len(types) == 0 || len(z.records[name]) == 0 {
		delete(z.records, name)
	}
	z.serve()
}

// serve counts the serial number up (RFC 1912 section 2.2).
func (z *zone) serve() {
	for _, rr := range z.records[z.apex][dns.TypeSOA] {
		rr.(*dns.SOARecord).Serial++
	}
}

// answer fills r for a name in the zone (RFC 1034 section 4.3.2). It returns the target of a
// CNAME that was added last, "" for none.
func (z *zone) answer(r *dns.Msg, name string, t uint16) (alias string) {
	z.mu.RLock()
	defer z.mu.RUnlock()
	if cut := z.cut(name); cut != "" && !(cut == name && t == dns.TypeDS) {
		r.Authoritative = false
		r.Ns = append(r.Ns, copies(z.records[cut][dns.TypeNS], cut)...)
		r.Extra = append(r.Extra, z.glue(cut)...)
		return ""
	}
	source, ok := z.source(name)
	if !ok {
		r.Rcode = dns.RcodeNameError
		r.Ns = append(r.Ns, copies(z.records[z.apex][dns.TypeSOA], z.apex)...)
		return ""
	}
	sets := z.records[source]
	found := sets[t]
	if t == dns.TypeANY {
		for _, set := range sets {
			found = append(slices.Clip(found), set...)
		}
	}
	if len(found) > 0 {
		r.Answer = append(r.Answer, copies(found, name)...)
		return ""
	}
	if c := sets[dns.TypeCNAME]; len(c) > 0 {
		r.Answer = append(r.Answer, copies(c[:1], name)...)
		return dns.Canonical(c[0].(*dns.CNAMERecord).Target)
	}
	r.Ns = append(r.Ns, copies(z.records[z.apex][dns.TypeSOA], z.apex)...)
	return ""
}

// cut returns the highest delegation at or above name, below the apex; "" for none.
func (z *zone) cut(name string) string {
	labels := dns.Labels(name)
	for i := len(labels) - len(dns.Labels(z.apex)) - 1; i >= 0; i-- {
		at := strings.Join(labels[i:], ".") + "."
		if z.records[at][dns.TypeNS] != nil {
			return at
		}
	}
	return ""
}

func (z *zone) glue(cut string) []dns.RR {
	var out []dns.RR
	for _, rr := range z.records[cut][dns.TypeNS] {
		host := dns.Canonical(rr.(*dns.NSRecord).Ns)
		out = append(out, copies(z.records[host][dns.TypeA], host)...)
	}
	return out
}

// source returns the name whose records stand for name: itself, or a wildcard at the closest
// name that exists (RFC 4592 section 3.3.1).
func (z *zone) source(name string) (string, bool) {
	if z.exists(name) {
		return name, true
	}
	for labels := dns.Labels(name); len(labels) > 0; {
		labels = labels[1:]
		closest := strings.Join(labels, ".") + "."
		if z.exists(closest) {
			wildcard := "*." + strings.TrimPrefix(closest, ".")
			_, ok := z.records[wildcard]
			return wildcard, ok
		}
	}
	return "", false
}

// exists reports whether a name has records, or stands above one that has (RFC 8020).
func (z *zone) exists(name string) bool {
	if _, ok := z.records[name]; ok {
		return true
	}
	for have := range z.records {
		if dns.IsSubdomain(name, have) {
			return true
		}
	}
	return false
}

// copies returns records as records of name that share nothing with the zone.
func copies(rrs []dns.RR, name string) []dns.RR {
	out := make([]dns.RR, len(rrs))
	for i, rr := range rrs {
		out[i] = dns.Copy(rr)
		out[i].Header().Name = name
	}
	return out
}
