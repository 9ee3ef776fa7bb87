package dns

import (
	"github.com/miekg/dns"
)

type cookieReply struct {
	state  cookieState
	option *dns.EDNS0_COOKIE
}

// checkEDNS reads the OPT record of a request, and returns the response to one that is wrong
// (RFC 6891 section 6.1.1 and 6.1.3, RFC 7873 section 5.2.2).
func (t *task) checkEDNS() *Msg {
	count := 0
	for _, rr := range t.r.Msg.Extra {
		if opt, ok := rr.(*EDNS); ok {
			t.opt = opt
			count++
		}
	}
	switch {
	case t.opt == nil:
		return nil
	case count > 1 || t.opt.Hdr.Name != ".":
		t.opt = nil
		return NewResponse(t.r.Msg, RcodeFormatError)
	case t.opt.Version() != 0:
		return NewResponse(t.r.Msg, RcodeBadVers)
	}
	if t.r.Transport == UDP {
		t.limit = int(min(max(t.opt.UDPSize(), 512), UDPSize))
	}
	t.cookie.state, t.cookie.option = t.s.Cookies.check(t.opt, t.r.Peer.Addr(), t.s.now())
	if t.cookie.state == badCookie {
		return NewResponse(t.r.Msg, RcodeFormatError)
	}
	return nil
}

// trusted reports whether the peer has shown that it is where it says.
func (t *task) trusted() bool {
	return t.r.Transport != UDP || t.cookie.state == goodCookie || !t.r.Key.IsZero()
}

// pack finishes a response: EDNS as the request had it, no more than the limit, signed where
// the request was. The Msg may be changed.
func (t *task) pack(m *Msg) []byte {
	t.setEDNS(m)
	limit := t.limit
	if t.sess != nil {
		limit -= (&tsig{name: t.sess.key.Name, algorithm: t.sess.key.Algorithm, mac: make([]byte, 64)}).size()
	}
	m.Compress = true
	wire, err := m.Pack()
	if err == nil && len(wire) > limit {
		m.Truncate(limit)
		wire, err = m.Pack()
	}
	if err != nil || len(wire) > limit {
		f := NewResponse(t.r.Msg, RcodeServerFailure)
		f.Truncated = err == nil
		wire, err = f.Pack()
		if err != nil {
			return nil
		}
	}
	if t.sess != nil {
		wire = t.sess.sign(wire, t.s.now())
	}
	return wire
}

// setEDNS replaces whatever OPT record the response has by ours, keeping its extended errors.
func (t *task) setEDNS(m *Msg) {
	var keep []dns.EDNS0
	extra := m.Extra[:0:0]
	for _, rr := range m.Extra {
		opt, ok := rr.(*EDNS)
		if !ok {
			extra = append(extra, rr)
			continue
		}
		for _, o := range opt.Option {
			if o.Option() == dns.EDNS0EDE {
				keep = append(keep, o)
			}
		}
	}
	m.Extra = extra
	if t.opt == nil {
		if m.Rcode > 15 {
			m.Rcode = RcodeServerFailure
		}
		return
	}
	opt := &EDNS{Hdr: Header{Name: ".", Rrtype: TypeOPT}, Option: keep}
	opt.SetUDPSize(UDPSize)
	opt.SetDo(t.opt.Do())
	if t.cookie.option != nil {
		opt.Option = append(opt.Option, t.cookie.option)
	}
	m.Extra = append(m.Extra, opt)
}

// slip is the small response by which a client that the rate limit holds up can tell who it
// is: it comes again with the cookie (RFC 7873 section 5.2.3), or over TCP.
func (t *task) slip() []byte {
	m := NewResponse(t.r.Msg, RcodeSuccess)
	if t.cookie.state == newCookie {
		m.Rcode = RcodeBadCookie
	} else {
		m.Truncated = true
	}
	return t.pack(m)
}
