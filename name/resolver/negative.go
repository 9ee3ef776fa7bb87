package resolver

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"stagecoach/rfc/dns"
)

// maxUntrusted is the longest that a negative trust anchor may last that is set by order: it is
// there for a mishap (RFC 7646 section 2).
const maxUntrusted = 7 * 24 * time.Hour

// recheck is how often a zone under such an anchor is looked at, whether it validates again.
const recheck = 10 * time.Minute

// negatives are the negative trust anchors that were set while the Resolver runs.
type negatives struct {
	mu    sync.Mutex
	zones map[string]*negative
	names atomic.Pointer[[]string] // of zones, for readers
}

type negative struct {
	until time.Time
	timer *time.Timer
}

// Untrust has the names at and below zone treated as unsigned for a while, at most a week (RFC
// 7646): until then, until Trust, or until the zone validates again.
func (r *Resolver) Untrust(zone string, d time.Duration) error {
	if !dns.IsName(zone) {
		return fmt.Errorf("%q is no name", zone)
	}
	if d <= 0 || d > maxUntrusted {
		return fmt.Errorf("%v: a negative trust anchor lasts a week at most", d)
	}
	r.start()
	zone = dns.Canonical(zone)
	n := &negative{until: time.Now().Add(d)}
	r.negatives.mu.Lock()
	if old := r.negatives.zones[zone]; old != nil {
		old.timer.Stop()
	}
	if r.negatives.zones == nil {
		r.negatives.zones = map[string]*negative{}
	}
	r.negatives.zones[zone] = n
	n.timer = time.AfterFunc(min(d, recheck), func() { r.reconsider(zone, n) })
	r.negatives.publish()
	r.negatives.mu.Unlock()
	r.Flush(zone, true)
	r.tell("negative trust anchor set", zone, "until", n.until.UTC().Format(time.RFC3339))
	return nil
}

// publish shows the zones to readers. The lock is held.
func (n *negatives) publish() {
	names := slices.Sorted(maps.Keys(n.zones))
	n.names.Store(&names)
}

// Trust ends what Untrust began. It reports whether there was anything to end.
func (r *Resolver) Trust(zone string) bool {
	r.start()
	zone = dns.Canonical(zone)
	r.negatives.mu.Lock()
	old := r.negatives.zones[zone]
	if old != nil {
		old.timer.Stop()
		delete(r.negatives.zones, zone)
		r.negatives.publish()
	}
	r.negatives.mu.Unlock()
	if old == nil {
		return false
	}
	r.Flush(zone, true)
	r.tell("negative trust anchor removed", zone)
	return true
}

// reconsider ends a negative trust anchor whose time is over, or whose zone is well again.
func (r *Resolver) reconsider(zone string, n *negative) {
	left := time.Until(n.until)
	well := left > 0 && r.validates(zone)
	r.negatives.mu.Lock()
	current := r.negatives.zones[zone] == n
	if current && left > 0 && !well {
		n.timer.Reset(min(left, recheck))
	}
	r.negatives.mu.Unlock()
	if current && (left <= 0 || well) {
		r.Trust(zone)
	}
}

// validates reports whether a zone is secure by its own keys, or is not signed any more.
func (r *Resolver) validates(zone string) bool {
	j, cancel := r.background()
	defer cancel()
	j.strict = true
	k := key{zone, dns.TypeSOA}
	r.cache.remove(k)
	f, err := j.raw(k, nil)
	if err != nil || j.validate(f, k, nil) != nil {
		return false
	}
	return f.security == Secure || f.security == Insecure
}

// untrusted returns the negative trust anchor over a name, "" for none.
func (r *Resolver) untrusted(name string) string {
	for _, nta := range r.Untrusted {
		if nta = dns.Canonical(nta); under(nta, name) {
			return nta
		}
	}
	if names := r.negatives.names.Load(); names != nil {
		for _, nta := range *names {
			if under(nta, name) {
				return nta
			}
		}
	}
	return ""
}

// writeUntrusted lists the negative trust anchors.
func (r *Resolver) writeUntrusted(w io.Writer) error {
	for _, nta := range r.Untrusted {
		if _, err := fmt.Fprintf(w, "%s by configuration\n", dns.Canonical(nta)); err != nil {
			return err
		}
	}
	r.negatives.mu.Lock()
	defer r.negatives.mu.Unlock()
	for _, zone := range slices.Sorted(maps.Keys(r.negatives.zones)) {
		if _, err := fmt.Fprintf(w, "%s until %s\n", zone, r.negatives.zones[zone].until.UTC().Format(time.RFC3339)); err != nil {
			return err
		}
	}
	return nil
}

func (r *Resolver) tell(what, zone string, more ...any) {
	if r.Log != nil {
		r.Log.Info("resolver: "+what, append([]any{"zone", zone}, more...)...)
	}
}
