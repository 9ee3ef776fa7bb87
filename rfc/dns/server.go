package dns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"
)

// A Request is a query, UPDATE or NOTIFY as a Server got it.
type Request struct {
	Msg       *Msg // without its TSIG record; exactly one question; not to be changed
	Peer      netip.AddrPort
	Transport Transport
	Key       Key       // whose signature was good; the zero Key for none
	MAC       []byte    // of that signature, and
	Signed    time.Time // when it was made: by both a replay is known
	Stream    *Stream   // the connection, nil for UDP
}

// A Handler answers requests. It calls send with the response, once, or over a stream as often
// as a transfer needs; the Server adds EDNS, cookies and the signature. An error before the
// first send becomes a SERVFAIL. Nothing is answered where it returns nil without a send.
type Handler interface {
	Serve(ctx context.Context, r *Request, send func(*Msg) error) error
}

// A QuickHandler knows some answers without waiting for anything. Quick returns nil for those
// that it does not.
type QuickHandler interface {
	Handler
	Quick(r *Request) *Msg
}

// Serving puts an Exchanger behind a Server: queries are answered by x, all else is NOTIMP.
func Serving(x Exchanger) Handler { return exchangeHandler{x} }

type exchangeHandler struct{ x Exchanger }

func (h exchangeHandler) Serve(ctx context.Context, r *Request, send func(*Msg) error) error {
	if r.Msg.Opcode != OpcodeQuery {
		return send(NewResponse(r.Msg, RcodeNotImplemented))
	}
	m, err := h.x.Exchange(ctx, r.Msg)
	if err != nil {
		return err
	}
	return send(m)
}

// Limits of a Server. A zero field means the default that stands behind it.
type Limits struct {
	Pending  int           // requests over UDP that wait for an answer; above, they are dropped: 1000
	Conns    int           // connections in all: 4000
	PerAddr  int           // connections from one IPv4 address or IPv6 /64: 200
	Parallel int           // requests of one connection in work at once: 1, which keeps their order
	Idle     time.Duration // silence on a connection: 10 s
	Held     time.Duration // silence on one that Stream.Hold was called for: 24 h
	Write    time.Duration // for one message to be taken by the peer: 10 s
	Answer   time.Duration // for the Handler; transfers have Held: 30 s
}

func (l Limits) orDefault() Limits {
	positive := func(n *int, d int) {
		if *n <= 0 {
			*n = d
		}
	}
	patience := func(n *time.Duration, d time.Duration) {
		if *n <= 0 {
			*n = d
		}
	}
	positive(&l.Pending, 1000)
	positive(&l.Conns, 4000)
	positive(&l.PerAddr, 200)
	positive(&l.Parallel, 1)
	patience(&l.Idle, 10*time.Second)
	patience(&l.Held, 24*time.Hour)
	patience(&l.Write, 10*time.Second)
	patience(&l.Answer, 30*time.Second)
	return l
}

// A Server reads requests off sockets and has a Handler answer them. The fields are set before
// the first Serve.
type Server struct {
	Handler Handler
	// Keys finds the key by which a request is signed, by its canonical name. nil: none is known.
	Keys func(name string) (Key, bool)
	// Cookies makes server cookies; nil: a random secret.
	Cookies *CookieSecret
	// Rate limits responses over UDP; nil: no limit.
	Rate   *RateLimit
	Limits Limits
	Log    *slog.Logger     // for panics and failures of the Handler; nil is silence
	Now    func() time.Time // nil is time.Now

	once     sync.Once
	limits   Limits
	pending  chan struct{}
	quick    QuickHandler
	recaller RecallingHandler
	conns    connTable
}

func (s *Server) start() {
	s.once.Do(func() {
		s.limits = s.Limits.orDefault()
		s.pending = make(chan struct{}, s.limits.Pending)
		s.quick, _ = s.Handler.(QuickHandler)
		s.recaller, _ = s.Handler.(RecallingHandler)
		s.conns.open = map[netip.Prefix]int{}
		if s.Cookies == nil {
			c := NewCookieSecret()
			s.Cookies = &c
		}
	})
}

func (s *Server) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

func (s *Server) report(what string, r *Request, err error) {
	if s.Log == nil {
		return
	}
	q := Question{}
	if len(r.Msg.Question) == 1 {
		q = r.Msg.Question[0]
	}
	s.Log.Warn("dns: "+what, "peer", r.Peer, "name", printable(q.Name), "type", TypeName(q.Qtype), "err", err)
}

// A task is one request on its way through the Server.
type task struct {
	r      *Request
	s      *Server
	sess   *session // of a signed request
	asked  *tsig
	opt    *EDNS // of the request
	cookie cookieReply
	limit  int // size of the response
}

// parse reads a request. It returns the response where the request does not get as far as the
// Handler, and neither where it deserves none.
func (s *Server) parse(wire []byte, r *Request) (*task, []byte) {
	if len(wire) < 12 || wire[2]&0x80 != 0 {
		return nil, nil // too short for a header, or a response
	}
	t := &task{r: r, s: s, limit: 512}
	if r.Transport != UDP {
		t.limit = 65535
	}
	body, asked, err := cutTSIG(wire)
	r.Msg = new(Msg)
	if err != nil || r.Msg.Unpack(body) != nil || len(r.Msg.Question) != 1 {
		return nil, headerOnly(wire, RcodeFormatError)
	}
	t.asked = asked
	if refusal := t.checkEDNS(); refusal != nil {
		return nil, t.pack(refusal)
	}
	if asked == nil {
		return t, nil
	}
	if code := t.checkTSIG(body); code != 0 {
		return nil, t.packError(code)
	}
	return t, nil
}

func headerOnly(wire []byte, rcode int) []byte {
	out := make([]byte, 12)
	copy(out, wire[:4])
	out[2] = out[2]&0x79 | 0x80 // QR; opcode and RD stay
	out[3] = byte(rcode)
	return out
}

// checkTSIG returns 0 for a good signature.
func (t *task) checkTSIG(body []byte) TSIGError {
	key, ok := Key{}, false
	if t.s.Keys != nil {
		key, ok = t.s.Keys(t.asked.name)
	}
	t.sess = &session{key: key}
	if !ok || key.Algorithm != t.asked.algorithm {
		return TSIGError(RcodeBadKey)
	}
	err := t.sess.verifyRequest(body, t.asked, t.s.now())
	if err == nil {
		t.r.Key, t.r.MAC, t.r.Signed = key, t.asked.mac, time.Unix(int64(t.asked.time), 0)
		return 0
	}
	var code TSIGError
	if !errors.As(err, &code) {
		code = TSIGError(RcodeBadSig)
	}
	return code
}

func (t *task) packError(code TSIGError) []byte {
	if int(code) == RcodeFormatError {
		t.sess = nil
		return t.pack(NewResponse(t.r.Msg, RcodeFormatError))
	}
	sess := t.sess
	t.sess = nil
	wire := t.pack(NewResponse(t.r.Msg, RcodeNotAuth))
	return sess.signError(wire, code, t.asked, t.s.now())
}

// run has the Handler answer, and contains it. send gets packed messages.
func (t *task) run(ctx context.Context, send func(*Msg, []byte) error) {
	sent := false
	deliver := func(m *Msg) error {
		sent = true
		return send(m, t.pack(m))
	}
	err := t.serve(ctx, deliver)
	if err == nil {
		return
	}
	t.s.report("request failed", t.r, err)
	if !sent {
		deliver(NewResponse(t.r.Msg, RcodeServerFailure)) //nolint:errcheck // the peer is gone
	}
}

func (t *task) serve(ctx context.Context, deliver func(*Msg) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	if t.s.quick != nil {
		if m := t.s.quick.Quick(t.r); m != nil {
			return deliver(m)
		}
	}
	patience := t.s.limits.Answer
	if q := t.r.Msg.Question[0].Qtype; q == TypeAXFR || q == TypeIXFR {
		patience = t.s.limits.Held
	} else {
		ctx = context.WithoutCancel(ctx) // what has begun is finished, an UPDATE above all
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return t.s.Handler.Serve(ctx, t.r, deliver)
}
