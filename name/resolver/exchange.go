package resolver

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net/netip"
	"syscall"
	"time"

	"stagecoach/rfc/dns"
)

var (
	errBusy   = errors.New("too many queries are under way")
	errSilent = errors.New("no answer")
	errForged = errors.New("the response is not to the question")
)

// exchange asks one server one question: over UDP, with a fresh socket, port, ID and spelling
// of the name, by which a forger would have to guess some 50 bits or more; over TCP where the
// answer does not fit, where forgers are at work, or where the server does not keep the spelling.
func (r *Resolver) exchange(a netip.AddrPort, k key) (*reply, error) {
	h := r.hosts.get(a)
	if !h.enter(r.Limits.Server) {
		r.count.overload.Add(1)
		return nil, errBusy
	}
	defer h.leave()
	ctx, cancel := context.WithTimeout(context.Background(), 3*maxTimeout)
	defer cancel()
	select {
	case r.flying <- struct{}{}:
		defer func() { <-r.flying }()
	case <-ctx.Done():
		return nil, errBusy
	}
	for range 3 {
		x, began := r.attempt(a, h, k), time.Now()
		again, err := x.run(ctx)
		if err != nil {
			if errors.Is(err, syscall.ENETUNREACH) && a.Addr().Is6() {
				r.hosts.mu.Lock()
				r.hosts.noSix = time.Now().Add(time.Minute)
				r.hosts.mu.Unlock()
			}
			h.silent(began)
			r.count.silent.Add(1)
			return nil, err
		}
		if !again {
			return &reply{x.got}, nil
		}
	}
	return nil, fail(dns.ExtendedOther, "the server does not settle on a way to be asked")
}

// An attempt is one query to one server, on UDP and perhaps on TCP.
type attempt struct {
	r      *Resolver
	h      *host
	addr   netip.AddrPort
	q      *dns.Msg
	name   string // as it is spelled in q
	mixed  bool
	edns   bool
	cookie []byte // ours
	wrong  int    // datagrams that were no answer
	folded bool   // one was, but for the case of the name
	got    *dns.Msg
}

func (r *Resolver) attempt(a netip.AddrPort, h *host, k key) *attempt {
	x := &attempt{r: r, h: h, addr: a}
	var cookie []byte
	x.edns, x.mixed, cookie = h.ways()
	x.name = k.name
	if x.mixed {
		x.name = mixCase(k.name)
	}
	x.q = dns.NewQuery(k.name, k.t)
	x.q.Question[0].Name = x.name
	x.q.RecursionDesired, x.q.AuthenticatedData = false, false
	x.q.Extra = nil
	if x.edns {
		x.q.SetEdns0(dns.UDPSize, true)
		x.cookie = r.clientCookie(a.Addr())
		if len(cookie) < 16 || !bytes.Equal(cookie[:8], x.cookie) {
			cookie = x.cookie
		}
		dns.SetCookie(x.q, cookie)
	}
	return x
}

// run asks. again means that the server wants to be asked in another way, which is known now.
func (x *attempt) run(ctx context.Context) (again bool, err error) {
	if !x.mixed {
		if err := x.tcp(ctx); err == nil {
			return x.settle()
		}
	}
	if err := x.udp(ctx); err != nil {
		return false, err
	}
	if x.got == nil || x.got.Truncated {
		if err := x.tcp(ctx); err != nil {
			return false, err
		}
	}
	return x.settle()
}

func (x *attempt) udp(ctx context.Context) error {
	wire, err := x.q.Pack()
	if err != nil {
		return err
	}
	timeout := x.h.timeout()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	x.r.count.queries.Add(1)
	start := time.Now()
	err = x.r.Network.UDP(ctx, x.addr, wire, x.accept)
	switch {
	case x.got != nil:
		x.h.answered(time.Since(start))
		return nil
	case x.folded:
		x.h.set(func(h *host) { h.caseless = time.Now().Add(flawTime) })
		return nil
	case x.wrong > maxMismatches:
		return nil
	case ctx.Err() != nil:
		return errSilent
	}
	return err
}

func (x *attempt) tcp(ctx context.Context) error {
	x.got = nil
	wire, err := x.q.Pack()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, maxTimeout)
	defer cancel()
	x.r.count.queries.Add(1)
	x.r.count.tcp.Add(1)
	start := time.Now()
	raw, err := x.r.Network.TCP(ctx, x.addr, wire)
	if err != nil {
		if ctx.Err() != nil {
			return errSilent
		}
		return err
	}
	m := new(dns.Msg)
	if err := m.Unpack(raw); err != nil {
		return errForged
	}
	if m.Id != x.q.Id || !m.Response || m.Truncated || !x.asked(m, false) {
		return errForged
	}
	x.got = m
	x.h.answered(time.Since(start))
	return nil
}

// accept looks at a datagram. It returns true when there is no use in waiting for another.
func (x *attempt) accept(raw []byte) bool {
	if len(raw) < 12 || binary.BigEndian.Uint16(raw) != x.q.Id || raw[2]&0x80 == 0 {
		return x.mismatch()
	}
	m := new(dns.Msg)
	if err := m.Unpack(raw); err != nil && !m.Truncated {
		return x.mismatch()
	}
	if !x.asked(m, true) {
		if x.asked(m, false) {
			x.folded = true // or a forger who guessed all the rest; TCP will tell
			return true
		}
		return x.mismatch()
	}
	if c := dns.CookieOf(m); c != nil && (x.cookie == nil || !bytes.Equal(c[:8], x.cookie)) {
		x.h.set(func(h *host) { h.edns = true }) // no reason to ask without, and so without cookies
		return x.mismatch()                      // RFC 7873 section 5.3
	}
	x.got = m
	return true
}

func (x *attempt) mismatch() bool {
	x.r.count.mismatches.Add(1)
	x.wrong++
	return x.wrong > maxMismatches
}

// asked reports whether m is a response to the question, exactly as it was spelled. Those that
// say that the question could not be read may leave it out.
func (x *attempt) asked(m *dns.Msg, exactly bool) bool {
	if m.Opcode != dns.OpcodeQuery {
		return false
	}
	if len(m.Question) == 0 {
		return m.Rcode == dns.RcodeFormatError || m.Rcode == dns.RcodeNotImplemented
	}
	if len(m.Question) != 1 {
		return false
	}
	have, want := m.Question[0], x.q.Question[0]
	if have.Qtype != want.Qtype || have.Qclass != want.Qclass {
		return false
	}
	return have.Name == want.Name || !exactly && dns.Canonical(have.Name) == dns.Canonical(want.Name)
}

// settle draws conclusions about the server from its response.
func (x *attempt) settle() (again bool, err error) {
	hasEDNS := x.got.IsEdns0() != nil
	switch {
	case x.edns && !hasEDNS && (x.got.Rcode == dns.RcodeFormatError || x.got.Rcode == dns.RcodeNotImplemented),
		x.edns && x.got.Rcode == dns.RcodeBadVers:
		x.h.set(func(h *host) { h.plain = time.Now().Add(flawTime) })
		return true, nil
	case x.edns && hasEDNS:
		c := dns.CookieOf(x.got)
		x.h.set(func(h *host) {
			h.edns = true
			if len(c) >= 16 {
				h.cookie = c
			}
		})
		if x.got.Rcode == dns.RcodeBadCookie {
			return true, nil
		}
	case !x.edns:
		x.h.set(func(h *host) {
			if !h.edns {
				h.plain = time.Now().Add(flawTime)
			}
		})
	}
	return false, nil
}

// mixCase spells a name at random (draft-vixie-dnsext-dns0x20): a bit for each letter that a
// forger has to guess.
func mixCase(name string) string {
	b := []byte(name)
	coins := make([]byte, len(b)/8+1)
	rand.Read(coins) //nolint:errcheck // never fails since Go 1.24
	for i, c := range b {
		if c == '\\' {
			break // escapes hold no letters, and names with them are rare
		}
		if 'a' <= c && c <= 'z' && coins[i/8]>>(i%8)&1 == 1 {
			b[i] = c - 'a' + 'A'
		}
	}
	return string(b)
}
