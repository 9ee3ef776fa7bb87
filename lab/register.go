package lab

import (
	"fmt"

	"stagecoach/rfc/dns"
)

// Register writes what a registrar was told about a zone into the zone above it, which is a
// top-level domain of the lab: NS, the addresses of name servers within (glue), DS. Names are
// relative to apex. What stood there of the zone before is gone; without records the zone is not
// registered.
func (l *Lab) Register(apex, records string) error {
	apex = dns.Canonical(apex)
	parent := l.tld.zoneOf(apex)
	if parent == nil || parent.apex == apex {
		return fmt.Errorf("zone %s is below no top-level domain of the lab", apex)
	}
	rrs, err := parse(records, apex)
	if err != nil {
		return err
	}
	for _, rr := range rrs {
		if !dns.IsSubdomain(apex, rr.Header().Name) {
			return fmt.Errorf("%s is not in %s", rr.Header().Name, apex)
		}
	}
	parent.replace(apex, rrs)
	l.resolver.forget()
	return nil
}

// replace takes all away that is at a name and below it, and puts records in.
func (z *zone) replace(name string, rrs []dns.RR) {
	z.mu.Lock()
	defer z.mu.Unlock()
	for have := range z.records {
		if dns.IsSubdomain(name, have) {
			delete(z.records, have)
		}
	}
	for _, rr := range rrs {
		z.add(rr)
	}
	z.serve()
}
