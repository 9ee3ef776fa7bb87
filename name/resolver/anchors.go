package resolver

import (
	"sync"

	"stagecoach/rfc/dns"
)

// anchorSet is what is trusted to begin with: digests of keys, by zone.
type anchorSet struct {
	mu    sync.Mutex
	zones map[string][]*dns.DSRecord
}

func (a *anchorSet) start(r *Resolver) {
	rrs := r.Anchors
	if rrs == nil {
		rrs = RootAnchors()
	}
	a.zones = map[string][]*dns.DSRecord{}
	for _, rr := range rrs {
		switch rr := rr.(type) {
		case *dns.DSRecord:
			a.zones[owner(rr)] = append(a.zones[owner(rr)], rr)
		case *dns.DNSKEYRecord:
			if rr.Flags&dns.KeyRevoke == 0 {
				a.zones[owner(rr)] = append(a.zones[owner(rr)], dns.DigestSHA256(rr))
			}
		}
	}
	if r.AnchorFile != "" {
		if err := r.loadAnchors(); err != nil {
			r.warn("trust anchors cannot be read; those built in count", err)
		}
	}
}

// over returns the closest anchor over a name, nil for none.
func (a *anchorSet) over(name string) (zone string, digests []*dns.DSRecord) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for ; ; name = parent(name) {
		if d := a.zones[name]; len(d) > 0 {
			return name, d
		}
		if name == "." {
			return ".", nil
		}
	}
}

// at reports whether there is an anchor of the zone itself.
func (a *anchorSet) at(zone string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.zones[zone]) > 0
}

func (a *anchorSet) set(zone string, digests []*dns.DSRecord) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.zones[zone] = digests
}

func (r *Resolver) warn(what string, err error) {
	if r.Log != nil {
		r.Log.Warn("resolver: "+what, "err", err)
	}
}
