package lab

import (
	"context"
	"fmt"
	"sync"

	"stagecoach/rfc/dns"
)

// An authority answers from its zones and from nothing else: it refers to the servers of
// zones below, and refuses names that are not its own.
type authority struct {
	mu    sync.RWMutex
	zones map[string]*zone
}

var _ dns.Exchanger = (*authority)(nil)

func newAuthority(zones ...*zone) *authority {
	a := &authority{zones: make(map[string]*zone)}
	for _, z := range zones {
		a.zones[z.apex] = z
	}
	return a
}

func (a *authority) put(z *zone) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.zones[z.apex] != nil {
		return fmt.Errorf("zone %s is already there", z.apex)
	}
	a.zones[z.apex] = z
	return nil
}

// zoneOf returns the closest zone that holds name, nil for none.
func (a *authority) zoneOf(name string) *zone {
	a.mu.RLock()
	defer a.mu.RUnlock()
	var best *zone
	for apex, z := range a.zones {
		if dns.IsSubdomain(apex, name) && (best == nil || len(apex) > len(best.apex)) {
			best = z
		}
	}
	return best
}

// Exchange answers one question of class IN.
func (a *authority) Exchange(_ context.Context, q *dns.Msg) (*dns.Msg, error) {
	if len(q.Question) != 1 || q.Opcode != dns.OpcodeQuery || q.Question[0].Qclass != dns.ClassINET {
		return dns.NewResponse(q, dns.RcodeNotImplemented), nil
	}
	r := dns.NewResponse(q, dns.RcodeSuccess)
	name, t := dns.Canonical(q.Question[0].Name), q.Question[0].Qtype
	for range 8 {
		z := a.zoneOf(name)
		if z == nil {
			if len(r.Answer) == 0 {
				r.Rcode = dns.RcodeRefused
			}
			return r, nil
		}
		r.Authoritative = true
		if name = z.answer(r, name, t); name == "" {
			return r, nil
		}
	}
	return dns.NewResponse(q, dns.RcodeServerFailure), nil
}
