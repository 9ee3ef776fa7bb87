// Package relay carries mail to the servers of its recipients: by MX (RFC 5321 section 5.1),
// or by routes that the operator set. It answers for each recipient, and so stands behind
// the queue; it satisfies queue.Courier by shape.
package relay

import (
	"cmp"
	"context"
	"crypto/tls"
	"net/netip"
	"sync"
	"time"

	"stagecoach/mail"
	"stagecoach/rfc/dns"
	"stagecoach/rfc/smtp"
	"stagecoach/rfc/srs"
)

// A Relay carries mail. It is safe for concurrent use; its fields are not to be changed once
// it was used.
type Relay struct {
	Name   string        // our host name: said in EHLO, and a reason to stop when it stands in an MX list
	Names  dns.Exchanger // what looks names up
	Routes []Route       // tried before DNS
	Policy Policy        // how connections are to be protected; nil: opportunistic TLS for all
	TLS    *tls.Config   // trusted roots and the like, for connections on which the server is verified; may be nil

	// SRS rewrites the sender of mail that leaves for a domain that is not ours and whose
	// sender's domain is not ours either; nil leaves all senders as they are. OurDomains is
	// asked with canonical domains; nil knows only the domain of SRS.
	SRS        *srs.Rewriter
	OurDomains func(domain string) bool

	Port     uint16         // of the world's servers; default 25
	Source   []netip.Addr   // local addresses to connect from, at most one of IPv4 and one of IPv6
	NoIPv6   bool           // use IPv4 alone
	OurAddrs []netip.Addr   // our public addresses: an MX list is cut where one of them stands
	Allow    []netip.Prefix // addresses that may be contacted although they are loopback, private or the like

	MaxConns    int           // to one address at a time; default 20
	MaxParallel int           // destinations of one mail at a time; default 10
	IdleTimeout time.Duration // of connections that wait for the next mail; default 10 s
	Timeouts    smtp.Timeouts
	Now         func() time.Time // for SRS; nil: time.Now

	hops hops
}

// Carry carries m to its recipients, and returns one result for each, in order: nil or an
// smtp.Unreported for those whose server has it, a *mail.Refusal for the others. A failure
// of DNS or of a connection is never permanent. A recipient whose ORCPT= names another address
// is confidential: his server is not asked to report success.
func (r *Relay) Carry(ctx context.Context, m *mail.Mail) []error {
	c := &carriage{Relay: r, ctx: ctx, mail: m, results: make([]error, len(m.Envelope.To))}
	trips := c.trips()
	places := make(chan struct{}, r.maxParallel())
	var wg sync.WaitGroup
	for _, t := range trips {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			c.travel(t)
		})
	}
	wg.Wait()
	return c.results
}

// Close ends the connections that wait for the next mail.
func (r *Relay) Close() error {
	r.hops.close()
	return nil
}

func (r *Relay) port() uint16     { return cmp.Or(r.Port, 25) }
func (r *Relay) maxParallel() int { return cmp.Or(r.MaxParallel, 10) }

func (r *Relay) now() time.Time {
	if r.Now != nil {
		return r.Now()
	}
	return time.Now()
}

func (r *Relay) isOurs(domain string) bool {
	if r.SRS != nil && domain == r.SRS.Domain {
		return true
	}
	return r.OurDomains != nil && r.OurDomains(domain)
}

// sender returns the reverse-path for a destination: rewritten if and only if neither its
// domain nor that of the recipients is ours. The null path stays null.
func (r *Relay) sender(from mail.Address, foreign bool) (mail.Address, error) {
	if r.SRS == nil || !foreign || from.IsZero() || r.isOurs(from.Domain()) {
		return from, nil
	}
	a, err := r.SRS.Forward(from, r.now())
	if err != nil {
		return a, mail.Defer(451, "4.3.5", "the sender cannot be rewritten").Because(err)
	}
	return a, nil
}
