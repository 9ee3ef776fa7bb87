package dns

import (
	"context"
	"errors"
	"time"
)

// maxChain bounds the CNAMEs that a look-up follows, in one answer or over several.
const maxChain = 12

// An Answer is what a look-up found.
type Answer struct {
	Name   string        // the owner of the records, at the end of the CNAMEs, without a final dot
	RRs    []RR          // at least one, all of the type that was asked for
	TTL    time.Duration // the smallest of the records and of the CNAMEs on the way
	Secure bool          // a validating resolver vouches for all of it (the AD bit)
}

// Records returns those records of a that are of type T, as in Records[*MXRecord](a).
func Records[T RR](a *Answer) []T {
	var out []T
	for _, rr := range a.RRs {
		if t, ok := rr.(T); ok {
			out = append(out, t)
		}
	}
	return out
}

// Lookup asks x for the records of type t at name and follows CNAMEs, those that stand in the
// answer and, where the answer stops half way, by asking again. An error is an *Error.
// Whether Secure can be believed depends on the way to x; see Client.Trust.
func Lookup(ctx context.Context, x Exchanger, name string, t uint16) (*Answer, error) {
	w := walk{name: Canonical(name), t: t, secure: true, ttl: -1}
	for {
		q := NewQuery(w.name, t)
		r, err := x.Exchange(ctx, q)
		if err == nil {
			err = checkResponse(q, r)
		}
		if err != nil {
			return nil, w.fail(name, 0, err)
		}
		a, err := w.step(r)
		if err != nil {
			return nil, w.fail(name, r.Rcode, err)
		}
		if a != nil {
			return a, nil
		}
	}
}

// A walk is a look-up on its way along CNAMEs.
type walk struct {
	name   string // where we are
	t      uint16
	hops   int
	ttl    int64 // seconds, -1 as long as nothing was seen
	secure bool
}

// step reads one response. It returns neither an answer nor an error when the question is to
// be asked again at w.name.
func (w *walk) step(r *Msg) (*Answer, error) {
	w.secure = w.secure && r.AuthenticatedData
	if r.Rcode != RcodeSuccess && r.Rcode != RcodeNameError {
		return nil, refusal(r)
	}
	start := w.name
	for {
		rrs, next := pick(r.Answer, w.name, w.t)
		if len(rrs) > 0 && r.Rcode == RcodeSuccess {
			return w.arrive(rrs), nil
		}
		if next == nil {
			break
		}
		w.see(next.Hdr.Ttl)
		if w.hops++; w.hops > maxChain {
			return nil, errors.New("too many CNAMEs, or a loop of them")
		}
		w.name = Canonical(next.Target)
	}
	return nil, w.negative(r, start)
}

func (w *walk) arrive(rrs []RR) *Answer {
	for _, rr := range rrs {
		w.see(rr.Header().Ttl)
	}
	return &Answer{
		Name:   Host(w.name),
		RRs:    rrs,
		TTL:    time.Duration(w.ttl) * time.Second,
		Secure: w.secure,
	}
}

func (w *walk) see(ttl uint32) {
	if w.ttl < 0 || int64(ttl) < w.ttl {
		w.ttl = int64(ttl)
	}
}

// negative says what a response means that has no record for us at w.name: nil is "ask again
// there". RFC 2308 section 2 has the forms; a referral is not one of them.
func (w *walk) negative(r *Msg, start string) error {
	soa := authoritySOA(r, w.name)
	if soa != nil {
		w.see(min(soa.Hdr.Ttl, soa.Minttl))
	}
	if r.Rcode == RcodeNameError {
		return ErrNotExist
	}
	if soa != nil {
		return ErrNoData
	}
	if w.name != start {
		return nil
	}
	for _, rr := range r.Ns {
		if rr.Header().Rrtype == TypeNS && !r.RecursionAvailable {
			return errors.New("the server sent a referral")
		}
	}
	return ErrNoData
}

func (w *walk) fail(name string, rcode int, cause error) error {
	e := &Error{Name: Host(name), Type: w.t, Rcode: rcode, Cause: cause}
	if IsNegative(e) {
		e.Secure = w.secure
		e.TTL = time.Duration(max(w.ttl, 0)) * time.Second
	}
	return e
}

// pick returns the records of type t at name, and the CNAME that stands there.
func pick(rrs []RR, name string, t uint16) (found []RR, alias *CNAMERecord) {
	for _, rr := range rrs {
		h := rr.Header()
		if h.Class != ClassINET || Canonical(h.Name) != name {
			continue
		}
		if h.Rrtype == t {
			found = append(found, rr)
		}
		if c, ok := rr.(*CNAMERecord); ok && t != TypeCNAME && alias == nil {
			alias = c
		}
	}
	return found, alias
}

func authoritySOA(r *Msg, name string) *SOARecord {
	for _, rr := range r.Ns {
		if soa, ok := rr.(*SOARecord); ok && IsSubdomain(soa.Hdr.Name, name) {
			return soa
		}
	}
	return nil
}

// checkResponse holds an Exchanger to its contract before anything in r is believed.
func checkResponse(q, r *Msg) error {
	switch {
	case r == nil:
		return errors.New("no response")
	case !r.Response:
		return errors.New("the response is a query")
	case r.Truncated:
		return errors.New("the response is truncated")
	case len(r.Question) == 1 && !sameQuestion(q.Question[0], r.Question[0]):
		return errors.New("the response is to another question")
	case len(r.Question) > 1 || len(r.Question) == 0 && r.Rcode == RcodeSuccess:
		return errors.New("the response has no proper question")
	}
	return nil
}

func sameQuestion(a, b Question) bool {
	return a.Qtype == b.Qtype && a.Qclass == b.Qclass && Canonical(a.Name) == Canonical(b.Name)
}
