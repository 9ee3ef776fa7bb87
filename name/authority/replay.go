package authority

import (
	"net/netip"
	"sync"
	"time"

	"stagecoach/rfc/dns"
)

// replays remembers the signed UPDATEs of the last minutes by their MACs, so that none is
// taken twice as long as its time would let it (RFC 8945 section 10 leaves that open). The same
// client that sends its datagram again, as it does when the answer is lost, gets the answer
// again.
type replays struct {
	mu   sync.Mutex
	seen map[string]*replay
	last time.Time // of the sweep
}

type replay struct {
	peer    netip.AddrPort
	expires time.Time
	rcode   int // -1 while in work
}

// enter returns nil for a replay. done tells that the request is either new, then its rcode is
// -1, or answered before.
func (p *replays) enter(r *dns.Request, now time.Time) (e *replay, done bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sweep(now)
	id := r.Key.Name + "\x00" + string(r.MAC)
	if e := p.seen[id]; e != nil {
		if e.peer != r.Peer || r.Transport != dns.UDP {
			return nil, false
		}
		return e, e.rcode >= 0
	}
	if p.seen == nil {
		p.seen = map[string]*replay{}
	}
	e = &replay{peer: r.Peer, expires: now.Add(2 * dns.Fudge), rcode: -1}
	p.seen[id] = e
	return e, true
}

func (p *replays) finish(e *replay, rcode int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e.rcode = rcode
}

// sweep forgets what has expired. Only who has a key can make this grow.
func (p *replays) sweep(now time.Time) {
	if now.Sub(p.last) < time.Second {
		return
	}
	p.last = now
	for id, e := range p.seen {
		if now.After(e.expires) {
			delete(p.seen, id)
		}
	}
}
