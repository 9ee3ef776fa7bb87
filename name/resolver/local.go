package resolver

import (
	"fmt"
	"strings"
	"time"

	"stagecoach/rfc/dns"
)

// A localZone is answered here: what leaves the machine for such names can only be a leak.
type localZone struct {
	name   string
	exists bool // the zone's own name; otherwise all of it is NXDOMAIN
	data   map[key][]dns.RR
}

// localNames are the zones without data of RFC 6303 (reverse names of private and special
// addresses), RFC 6761 (invalid, test), RFC 7686 (onion), RFC 8375 (home.arpa), RFC 9462
// (resolver.arpa), RFC 9476 (alt), RFC 6762 (local) and RFC 7793 (100.64.0.0/10).
const localNames = `
invalid test onion alt local home.arpa resolver.arpa
10.in-addr.arpa 168.192.in-addr.arpa 0.in-addr.arpa 127.in-addr.arpa 254.169.in-addr.arpa
2.0.192.in-addr.arpa 100.51.198.in-addr.arpa 113.0.203.in-addr.arpa 255.255.255.255.in-addr.arpa
0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa
1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa
d.f.ip6.arpa 8.e.f.ip6.arpa 9.e.f.ip6.arpa a.e.f.ip6.arpa b.e.f.ip6.arpa 8.b.d.0.1.0.0.2.ip6.arpa
`

func localZones(open []string) map[string]*localZone {
	zones := map[string]*localZone{}
	for _, name := range strings.Fields(localNames) {
		name = dns.Canonical(name)
		zones[name] = &localZone{name: name, exists: strings.HasSuffix(name, "arpa.")}
	}
	for i := 16; i < 32; i++ {
		name := fmt.Sprintf("%d.172.in-addr.arpa.", i)
		zones[name] = &localZone{name: name, exists: true}
	}
	for i := 64; i < 128; i++ {
		name := fmt.Sprintf("%d.100.in-addr.arpa.", i)
		zones[name] = &localZone{name: name, exists: true}
	}
	host := &localZone{name: "localhost.", exists: true, data: map[key][]dns.RR{}}
	host.add("localhost. 10800 A 127.0.0.1", "localhost. 10800 AAAA ::1")
	zones[host.name] = host
	loop := zones["127.in-addr.arpa."]
	loop.data = map[key][]dns.RR{}
	loop.add("1.0.0.127.in-addr.arpa. 10800 PTR localhost.")
	loop6 := zones["1."+strings.Repeat("0.", 31)+"ip6.arpa."]
	loop6.data = map[key][]dns.RR{}
	loop6.add(loop6.name + " 10800 PTR localhost.")
	for _, name := range open {
		delete(zones, dns.Canonical(name))
	}
	return zones
}

func (z *localZone) add(texts ...string) {
	for _, text := range texts {
		rr := dns.MustParseRR(text)
		k := key{owner(rr), rr.Header().Rrtype}
		z.data[k] = append(z.data[k], rr)
	}
}

// localAnswer returns the answer of a local zone, nil where the name is in none, or in a
// Route's zone within it.
func (r *Resolver) localAnswer(k key, now time.Time) *found {
	var z *localZone
	for name := k.name; name != "."; name = parent(name) {
		if z = r.local[name]; z != nil {
			break
		}
	}
	if z == nil {
		return nil
	}
	if route := r.routeOf(k.name); route != nil && under(z.name, dns.Canonical(route.Zone)) {
		return nil
	}
	f := &found{key: k, kind: noName, zone: z.name, security: Insecure, stored: now, ttl: 3 * time.Hour}
	at := k
	if z.name == "localhost." {
		at.name = z.name // RFC 6761 section 6.3: names below it too
	}
	if rrs := z.data[at]; len(rrs) > 0 {
		f.kind = records
		for _, rr := range rrs {
			c := dns.Copy(rr)
			c.Header().Name = k.name
			f.answer = append(f.answer, c)
		}
		return f
	}
	if at.name == z.name && z.exists || z.has(at.name) {
		f.kind = noData
	}
	soa := &dns.SOARecord{Ns: "localhost.", Mbox: "nobody.invalid.", Serial: 1, Refresh: 3600, Retry: 1200, Expire: 604800, Minttl: 10800}
	soa.Hdr = dns.Header{Name: z.name, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 10800}
	f.authority = []dns.RR{soa}
	return f
}

func (z *localZone) has(name string) bool {
	for k := range z.data {
		if under(name, k.name) {
			return true
		}
	}
	return false
}

// routeOf returns the Route with the lowest zone over name, nil for none.
func (r *Resolver) routeOf(name string) *Route {
	var best *Route
	for i := range r.Routes {
		zone := dns.Canonical(r.Routes[i].Zone)
		if under(zone, name) && (best == nil || len(zone) > len(dns.Canonical(best.Zone))) {
			best = &r.Routes[i]
		}
	}
	return best
}
