package relay

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"sync"
	"time"

	"stagecoach/rfc/smtp"
)

// A target is one address to connect to.
type target struct {
	host string // name of the server
	addr netip.AddrPort
	path string // of a unix socket, instead of addr
}

func (t target) String() string {
	if t.path != "" {
		return "unix:" + t.path
	}
	return t.addr.String()
}

// hops keeps one NextHop an address and protection, so that mails share connections.
type hops struct {
	mu    sync.Mutex
	hops  map[hopKey]*hop
	swept time.Time
}

type hopKey struct {
	target
	protection string
	security   smtp.Security
}

type hop struct {
	*smtp.NextHop
	users int
	used  time.Time
}

// How long a hop is kept that nobody uses, and how many may be kept at the most.
const (
	hopLife = 2 * time.Minute
	maxHops = 2000
)

// take returns the hop for a key, made by build if there is none. It is given back with give.
func (h *hops) take(k hopKey, build func() *smtp.NextHop) *hop {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.hops == nil {
		h.hops = map[hopKey]*hop{}
	}
	one := h.hops[k]
	if one == nil {
		h.sweep()
		one = &hop{NextHop: build()}
		h.hops[k] = one
	}
	one.users++
	return one
}

func (h *hops) give(one *hop) {
	h.mu.Lock()
	defer h.mu.Unlock()
	one.users--
	one.used = time.Now()
}

// sweep forgets hops that were not used for a while, or all idle ones when there are many.
func (h *hops) sweep() {
	now := time.Now()
	full := len(h.hops) >= maxHops
	if !full && now.Sub(h.swept) < hopLife {
		return
	}
	h.swept = now
	for k, one := range h.hops {
		if one.users == 0 && (full || now.Sub(one.used) > hopLife) {
			delete(h.hops, k)
			go one.Close() //nolint:errcheck // it says QUIT, which may take a second
		}
	}
}

func (h *hops) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for k, one := range h.hops {
		delete(h.hops, k)
		one.Close()
	}
}

// build makes the NextHop for a target.
func (r *Relay) build(t target, p Protection) *smtp.NextHop {
	idle := r.IdleTimeout
	if idle == 0 {
		idle = 10 * time.Second
	}
	return &smtp.NextHop{
		Name:          r.Name,
		Host:          t.host,
		Dial:          func(ctx context.Context) (net.Conn, error) { return r.dial(ctx, t) },
		Security:      p.Security,
		ClearFallback: p.Security == smtp.TLSOpportunistic,
		TLS:           r.tlsFor(p),
		MaxConns:      r.MaxConns,
		IdleTimeout:   idle,
		Timeouts:      r.Timeouts,
	}
}

func (r *Relay) tlsFor(p Protection) *tls.Config {
	if p.TLS != nil {
		return p.TLS
	}
	return r.TLS
}

func (r *Relay) dial(ctx context.Context, t target) (net.Conn, error) {
	var d net.Dialer
	if t.path != "" {
		return d.DialContext(ctx, "unix", t.path)
	}
	for _, ip := range r.Source {
		if ip.Is4() == t.addr.Addr().Is4() {
			d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, 0))
		}
	}
	return d.DialContext(ctx, "tcp", t.addr.String())
}
