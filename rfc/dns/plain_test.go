package dns

import (
	"bytes"
	"context"
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// A smallWorld answers out of a few records, on both ways.
type smallWorld []RR

func (w smallWorld) Quick(r *Request) *Msg {
	q := r.Msg.Question[0]
	m := NewResponse(r.Msg, RcodeSuccess)
	m.Authoritative = true
	for _, rr := range w {
		if h := rr.Header(); h.Name == Canonical(q.Name) && h.Rrtype == q.Qtype {
			m.Answer = append(m.Answer, rr)
		}
	}
	if len(m.Answer) == 0 {
		m.Rcode = RcodeNameError
		m.Ns = []RR{w[0]}
	}
	if q.Qtype == TypeNS {
		Extend(m, ExtendedError{Code: ExtendedOther, Text: "takes the long way"})
	}
	return m
}

func (w smallWorld) Serve(_ context.Context, r *Request, send func(*Msg) error) error {
	return send(NewResponse(r.Msg, RcodeNotImplemented))
}

func (w smallWorld) Recall(q *Plain, out []byte) []byte {
	return append(out, PackPlain(w.Quick(&Request{Msg: q.Query()}))...)
}

func newSmallWorld(t testing.TB) smallWorld {
	rrs, err := ParseZone(strings.NewReader(`
@ 60 SOA ns root 7 1 1 1 60
@ 60 NS ns
a 60 A 192.0.2.1
a 60 TXT "some" "text"
mx 60 MX 10 a
_x._tcp 60 SRV 1 2 3 a
big 60 TXT "`+strings.Repeat("x", 250)+`" "`+strings.Repeat("y", 250)+`"
`), "example.")
	if err != nil {
		t.Fatal(err)
	}
	return rrs
}

// bothWays returns what a server says to a datagram out of memory, if it does, and what it says
// on the long way.
func bothWays(s *Server, wire []byte, peer netip.Addr) (short []byte, known bool, long []byte) {
	s.start()
	short, known = s.recall(wire, peer, new(Plain), nil)
	r := &Request{Peer: netip.AddrPortFrom(peer, 4242), Transport: UDP}
	t, refusal := s.parse(wire, r)
	if t == nil {
		return short, known, refusal
	}
	m := s.quick.Quick(r)
	return short, known, t.pack(m)
}

func smallServer(t testing.TB) *Server {
	now := time.Unix(1_700_000_000, 0)
	return &Server{Handler: newSmallWorld(t), Cookies: &CookieSecret{1, 2, 3}, Now: func() time.Time { return now }}
}

// plainSeeds are queries of the plain shape and near it.
func plainSeeds(t testing.TB) map[string][]byte {
	seeds := map[string][]byte{}
	add := func(what, name string, qtype uint16, set func(*Msg)) {
		q := NewQuery(name, qtype)
		q.Id = 0x4242
		set(q)
		wire, err := q.Pack()
		if err != nil {
			t.Fatal(err)
		}
		seeds[what] = wire
	}
	nothing := func(*Msg) {}
	add("records", "a.example", TypeTXT, nothing)
	add("bare", "a.example", TypeA, func(q *Msg) { q.Extra = nil })
	add("no recursion", "a.example", TypeA, func(q *Msg) { q.RecursionDesired = false })
	add("no checking", "a.example", TypeA, func(q *Msg) { q.CheckingDisabled = true })
	add("signatures", "mx.example", TypeMX, func(q *Msg) { q.IsEdns0().SetDo() })
	add("underscores", "_x._tcp.example", TypeSRV, nothing)
	add("no such name", "no.example", TypeA, nothing)
	add("capitals", "a.example", TypeTXT, func(q *Msg) { q.Question[0].Name = "A.eXample." })
	add("root", ".", TypeSOA, nothing)
	add("cookie", "a.example", TypeA, func(q *Msg) { SetCookie(q, []byte("clientco")) })
	add("server cookie", "a.example", TypeA, func(q *Msg) { SetCookie(q, []byte("clientcoserverco")) })
	add("small", "big.example", TypeTXT, func(q *Msg) { q.Extra = nil })
	add("large", "big.example", TypeTXT, nothing)
	add("tiny EDNS", "a.example", TypeA, func(q *Msg) { q.IsEdns0().SetUDPSize(1) })
	return seeds
}

// TestPlain takes the short way with all that is plain, with the same octets as on the long one.
func TestPlain(t *testing.T) {
	s := smallServer(t)
	for what, wire := range plainSeeds(t) {
		short, known, long := bothWays(s, wire, netip.MustParseAddr("192.0.2.1"))
		if known == (what == "small") {
			t.Errorf("%s: known is %v", what, known)
		}
		if known && what != "capitals" && !bytes.Equal(short, long) {
			t.Errorf("%s:\n%x\n%x", what, short, long)
		}
	}
	wire := plainSeeds(t)["capitals"]
	short, _, _ := bothWays(s, wire, netip.MustParseAddr("192.0.2.1"))
	if !bytes.Contains(short, []byte("\x01A\x07eXample\x00")) {
		t.Errorf("the question's spelling is lost: %x", short)
	}
}

// TestNotPlain leaves to the long way what differs from the plain shape by a bit.
func TestNotPlain(t *testing.T) {
	wire := plainSeeds(t)["cookie"]
	end := 12 + len("\x01a\x07example\x00") + 4
	for what, change := range map[string]func([]byte) []byte{
		"a response":            func(b []byte) []byte { b[2] |= 0x80; return b },
		"another opcode":        func(b []byte) []byte { b[2] |= 0x28; return b },
		"truncated":             func(b []byte) []byte { b[2] |= 0x02; return b },
		"Z":                     func(b []byte) []byte { b[3] |= 0x40; return b },
		"a code":                func(b []byte) []byte { b[3] |= 1; return b },
		"no question":           func(b []byte) []byte { b[5] = 0; return b },
		"two questions":         func(b []byte) []byte { b[5] = 2; return b },
		"an answer":             func(b []byte) []byte { b[7] = 1; return b },
		"an authority":          func(b []byte) []byte { b[9] = 1; return b },
		"two additional":        func(b []byte) []byte { b[11] = 2; return b },
		"256 additional":        func(b []byte) []byte { b[10] = 1; return b },
		"a pointer":             func(b []byte) []byte { b[12] = 0xc0; return b },
		"a long label":          func(b []byte) []byte { b[12] = 0x40; return b },
		"an octet of 0":         func(b []byte) []byte { b[13] = 0; return b },
		"a dot in a label":      func(b []byte) []byte { b[13] = '.'; return b },
		"a backslash":           func(b []byte) []byte { b[13] = '\\'; return b },
		"eight bits":            func(b []byte) []byte { b[13] = 0xe4; return b },
		"class CHAOS":           func(b []byte) []byte { b[end-1] = 3; return b },
		"class ANY":             func(b []byte) []byte { b[end-1] = 255; return b },
		"OPT below a name":      func(b []byte) []byte { b[end] = 1; return b },
		"no OPT":                func(b []byte) []byte { b[end+2] = 42; return b },
		"an extended code":      func(b []byte) []byte { b[end+5] = 1; return b },
		"EDNS version 1":        func(b []byte) []byte { b[end+6] = 1; return b },
		"EDNS flags":            func(b []byte) []byte { b[end+7] = 0x40; return b },
		"more EDNS flags":       func(b []byte) []byte { b[end+8] = 1; return b },
		"another option":        func(b []byte) []byte { b[end+12] = 3; return b },
		"a cookie of 9 octets":  func(b []byte) []byte { b[end+10]++; b[end+14]++; return append(b, 0) },
		"a wrong option length": func(b []byte) []byte { b[end+14]--; return b },
		"octets behind":         func(b []byte) []byte { return append(b, 0) },
		"an octet missing":      func(b []byte) []byte { return b[:len(b)-1] },
		"nothing but a header":  func(b []byte) []byte { return b[:12] },
		"nothing":               func(b []byte) []byte { return nil },
	} {
		if ReadPlain(change(bytes.Clone(wire)), new(Plain)) {
			t.Errorf("%s is taken for plain", what)
		}
	}
	if !ReadPlain(wire, new(Plain)) {
		t.Error("a query with a cookie is not plain")
	}
	name := strings.Repeat("\x3f"+strings.Repeat("x", 63), 3)
	for tail, ok := range map[int]bool{61: true, 62: false, 63: false} {
		long := append(bytes.Clone(wire[:12]), name+string(rune(tail))+strings.Repeat("y", tail)+"\x00\x00\x01\x00\x01"...)
		long[11] = 0
		q := new(Plain)
		if ReadPlain(long, q) != ok {
			t.Errorf("a name of %d octets: %v", 3*64+tail+2, !ok)
		}
		if ok && (q.Name() != Canonical(q.Name()) || len(q.Name()) != 254) {
			t.Errorf("%s", q.Name())
		}
	}
}

// TestPlainRateLimit holds the short way to the limit: a client without a cookie gets the hint to
// come with it, one with a good cookie gets answers.
func TestPlainRateLimit(t *testing.T) {
	s := smallServer(t)
	s.Rate = &RateLimit{Same: 2, Slip: 1}
	peer := netip.MustParseAddr("192.0.2.1")
	s.start()
	ask := func(what string) (rcode int, truncated bool, answers uint16, cookie []byte) {
		out, known := s.recall(plainSeeds(t)[what], peer, new(Plain), nil)
		m := new(Msg)
		if err := m.Unpack(out); err != nil || !known {
			t.Fatal(err, known)
		}
		return m.Rcode, m.Truncated, binary.BigEndian.Uint16(out[6:]), CookieOf(m)
	}
	for range 2 {
		if _, truncated, answers, _ := ask("bare"); truncated || answers != 1 {
			t.Error("no answer below the limit")
		}
	}
	if rcode, truncated, answers, _ := ask("bare"); rcode != 0 || !truncated || answers != 0 {
		t.Errorf("above the limit: %d, %v, %d answers", rcode, truncated, answers)
	}
	rcode, truncated, answers, cookie := ask("cookie")
	if rcode != RcodeBadCookie || truncated || answers != 0 || len(cookie) != 24 {
		t.Errorf("above the limit, with half a cookie: %d, %v, %d answers, %x", rcode, truncated, answers, cookie)
	}
	q := NewQuery("a.example", TypeA)
	SetCookie(q, cookie)
	wire, _ := q.Pack()
	if out, known := s.recall(wire, peer, new(Plain), nil); !known || out[3]&15 != 0 || out[7] != 1 {
		t.Errorf("a good cookie gets %x", out)
	}
}

// What is plain gets the same answer on both ways.
func FuzzPlain(f *testing.F) {
	for _, wire := range plainSeeds(f) {
		f.Add(wire)
	}
	s := smallServer(f)
	peer := netip.MustParseAddr("2001:db8::1")
	f.Fuzz(func(t *testing.T, wire []byte) {
		short, known, long := bothWays(s, wire, peer)
		if !known || bytes.Equal(short, long) {
			return
		}
		var a, b Msg
		if err := a.Unpack(short); err != nil {
			t.Fatalf("%x gets %x: %v", wire, short, err)
		}
		if err := b.Unpack(long); err != nil {
			t.Fatalf("%x gets %x: %v", wire, long, err)
		}
		// The short way lets owners point to the question, in whatever spelling that is.
		if !strings.EqualFold(a.String(), b.String()) || len(short) > len(long) || a.Question[0] != b.Question[0] {
			t.Errorf("%x gets\n%s\n%s", wire, &a, &b)
		}
	})
}
