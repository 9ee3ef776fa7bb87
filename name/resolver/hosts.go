package resolver

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"stagecoach/rfc/dns"
)

// hosts is what is known of name servers: how quick they are, and what they cannot do.
type hosts struct {
	known *lru[netip.AddrPort, *host]
	mu    sync.Mutex
	noSix time.Time // until then there is no way to IPv6
}

type host struct {
	mu       sync.Mutex
	srtt     time.Duration // 0: never asked
	variance time.Duration
	failures int       // in a row, those at one time counted once
	failed   time.Time // the last of them
	down     time.Time // until then only asked where there is nobody else
	plain    time.Time // until then asked without EDNS
	caseless time.Time // until then asked over TCP, as it does not keep the case of names
	edns     bool      // has answered with EDNS
	cookie   []byte    // of the server, with ours before it
	lame     map[string]time.Time
	busy     int
}

// How long it is remembered what servers cannot do.
const (
	lameTime = time.Minute
	flawTime = time.Hour
	hostCost = 400
	maxLame  = 32
)

// Patience with one try at a server, while nothing is known of it and in general.
const (
	firstTimeout = 600 * time.Millisecond
	minTimeout   = 150 * time.Millisecond
	maxTimeout   = 2500 * time.Millisecond
)

func newHosts(limit int) *hosts { return &hosts{known: newLRU[netip.AddrPort, *host](limit)} }

func (h *hosts) get(a netip.AddrPort) *host {
	return h.known.getOrPut(a, hostCost, func() *host { return &host{} })
}

// pick returns the index of the server to ask next, -1 for none. It is the quickest, now and
// then another one, so that what has changed is found out. Servers that are down are picked only
// where desperate.
func (h *hosts) pick(addrs []netip.AddrPort, zone string, desperate bool) int {
	now := time.Now()
	h.mu.Lock()
	noSix := now.Before(h.noSix)
	h.mu.Unlock()
	best, last, usable := -1, -1, 0
	var bestRTT, lastRTT time.Duration
	explore := rand.IntN(16) == 0
	for i, a := range addrs {
		rtt, down, lame := h.get(a).standing(zone, now)
		if lame {
			continue
		}
		if down || noSix && a.Addr().Is6() {
			if last < 0 || rtt < lastRTT {
				last, lastRTT = i, rtt
			}
			continue
		}
		usable++
		if rtt == 0 { // never asked: worth a try, in any order
			rtt = time.Duration(1 + rand.IntN(int(40*time.Millisecond)))
		}
		better := best < 0 || rtt < bestRTT
		if explore {
			better = rand.IntN(usable) == 0
		}
		if better {
			best, bestRTT = i, rtt
		}
	}
	if best < 0 && desperate {
		return last
	}
	return best
}

func (h *host) standing(zone string, now time.Time) (rtt time.Duration, down, lame bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.srtt, now.Before(h.down), now.Before(h.lame[zone])
}

// lame remembers that a server is no authority of a zone, or has trouble with it.
func (h *hosts) lame(a netip.AddrPort, zone string, m *dns.Msg) {
	if m.Rcode == dns.RcodeServerFailure || m.Rcode == dns.RcodeFormatError {
		return // of one question, perhaps
	}
	x := h.get(a)
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.lame == nil || len(x.lame) >= maxLame {
		x.lame = map[string]time.Time{}
	}
	x.lame[zone] = time.Now().Add(lameTime)
}

// timeout is how long to wait for the host (RFC 6298 section 2, with other bounds).
func (h *host) timeout() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.srtt == 0 {
		return min(firstTimeout<<min(h.failures, 2), maxTimeout)
	}
	return min(max(h.srtt+4*h.variance, minTimeout)<<min(h.failures, 3), maxTimeout)
}

func (h *host) answered(rtt time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	rtt = max(rtt, 1)
	if h.srtt == 0 || h.failures > 0 {
		h.srtt, h.variance = rtt, rtt/2
	} else {
		h.variance += ((h.srtt - rtt).Abs() - h.variance) / 4
		h.srtt += (rtt - h.srtt) / 8
	}
	h.failures, h.down = 0, time.Time{}
}

// silent counts a try without an answer, unless another one has failed since it began: of many
// under way at the same time, all of which a moment's hold-up ends, the first is enough. After the
// third in a row the host is left alone for a while that doubles up to a minute (phantom domains).
func (h *host) silent(began time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if began.Before(h.failed) {
		return
	}
	h.failures++
	h.failed = time.Now()
	if h.srtt > 0 {
		h.srtt = min(2*h.srtt, 10*time.Second)
	}
	if h.failures >= 3 {
		h.down = time.Now().Add(min(time.Second<<min(h.failures-3, 10), time.Minute))
	}
}

// enter counts a query under way, up to a limit.
func (h *host) enter(limit int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.busy >= limit {
		return false
	}
	h.busy++
	return true
}

func (h *host) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.busy--
}

// ways returns how to ask the host now.
func (h *host) ways() (edns, mixed bool, cookie []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	edns = !now.Before(h.plain)
	if !h.edns && h.failures == 2 {
		edns = false // perhaps that is why it is silent
	}
	return edns, !now.Before(h.caseless), h.cookie
}

func (h *host) set(f func(h *host)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f(h)
}
