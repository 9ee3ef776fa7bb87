package resolver

import (
	"context"
	"net/netip"
	"sync"

	"stagecoach/rfc/dns"
)

// A Service puts a Resolver behind a dns.Server: for clients on this machine and in the
// networks that it knows, each with a limit on what it has in work at once.
type Service struct {
	Resolver *Resolver
	// Allow are the networks that are answered, besides this machine; others are REFUSED.
	Allow []netip.Prefix
	// PerClient bounds the questions in work for one IPv4 address or IPv6 /64; 0 is 100. What
	// is known is answered in any case.
	PerClient int

	mu   sync.Mutex
	busy map[netip.Prefix]int
}

var _ dns.RecallingHandler = (*Service)(nil)

// allows reports whether a client is answered. The address is that of the connection: nothing
// that the client says, as a cookie, counts.
func (s *Service) allows(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if a.IsLoopback() {
		return true
	}
	for _, p := range s.Allow {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// Quick answers from memory, and refuses strangers.
func (s *Service) Quick(q *dns.Request) *dns.Msg {
	if !s.allows(q.Peer.Addr()) {
		s.Resolver.count.strangers.Add(1)
		m := dns.NewResponse(q.Msg, dns.RcodeRefused)
		dns.Extend(m, dns.ExtendedError{Code: dns.ExtendedProhibited})
		return m
	}
	r := s.Resolver
	r.start()
	if m := r.refuse(q.Msg); m != nil {
		r.count.questions.Add(1)
		return m
	}
	w := wantOf(q.Msg)
	res := r.known(w)
	if res == nil {
		return nil
	}
	r.count.questions.Add(1)
	r.count.hits.Add(1)
	return r.reply(q.Msg, w, res)
}

// Serve answers what Quick could not.
func (s *Service) Serve(ctx context.Context, q *dns.Request, send func(*dns.Msg) error) error {
	if !s.allows(q.Peer.Addr()) {
		return send(dns.NewResponse(q.Msg, dns.RcodeRefused))
	}
	client := networkOf(q.Peer.Addr())
	if !s.enter(client) {
		s.Resolver.count.overload.Add(1)
		m := dns.NewResponse(q.Msg, dns.RcodeServerFailure)
		dns.Extend(m, dns.ExtendedError{Code: dns.ExtendedProhibited, Text: "too many questions at once"})
		return send(m)
	}
	defer s.leave(client)
	m, err := s.Resolver.Exchange(ctx, q.Msg)
	if err != nil {
		return err
	}
	return send(m)
}

func networkOf(a netip.Addr) netip.Prefix {
	bits := 32
	if a = a.Unmap().WithZone(""); a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) //nolint:errcheck // bits are right
	return p
}

func (s *Service) enter(client netip.Prefix) bool {
	limit := s.PerClient
	if limit <= 0 {
		limit = 100
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy == nil {
		s.busy = map[netip.Prefix]int{}
	}
	if s.busy[client] >= limit {
		return false
	}
	s.busy[client]++
	return true
}

func (s *Service) leave(client netip.Prefix) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy[client]--; s.busy[client] <= 0 {
		delete(s.busy, client)
	}
}
