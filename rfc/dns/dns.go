// Package dns speaks the Domain Name System: messages and zone text (RFC 1034, RFC 1035),
// EDNS (RFC 6891), cookies (RFC 7873, RFC 9018), TSIG (RFC 8945), UPDATE (RFC 2136), NOTIFY
// (RFC 1996), AXFR (RFC 5936) and IXFR (RFC 1995), with look-ups, a client, a cache and a
// server around one interface, Exchanger.
//
// A Server has two ways. The long one reads a request with the wire library, has the Handler
// answer it, and packs the response. The short one is for the shape that nearly all queries
// have (Plain), where the Handler remembers responses as they are sent (RecallingHandler):
// they are copied, get the ID and the spelling of the question, and what EDNS asks for. Whatever
// is odd takes the long way, and the short way says nothing that the long one would not.
//
// The wire format is the work of github.com/miekg/dns, which nothing else imports: its types
// are known to the rest of the house by the names of this package.
package dns

import "context"

// An Exchanger answers queries: a set of zones, a resolver, a cache, or a server at the far
// end of a wire. A response that says no, as NXDOMAIN or SERVFAIL do, is a response; an error
// means that none came.
//
// Exchange neither changes nor keeps q. The response has the ID and the question of q, is
// never nil without an error, and belongs to the caller. An Exchanger is safe for concurrent
// use, and returns soon after ctx ends.
type Exchanger interface {
	Exchange(ctx context.Context, q *Msg) (*Msg, error)
}

// ExchangerFunc lets a function be an Exchanger.
type ExchangerFunc func(ctx context.Context, q *Msg) (*Msg, error)

// Exchange calls f.
func (f ExchangerFunc) Exchange(ctx context.Context, q *Msg) (*Msg, error) { return f(ctx, q) }

var _ Exchanger = ExchangerFunc(nil)
