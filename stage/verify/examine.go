package verify

import (
	"context"
	"fmt"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	"stagecoach/mail"
	"stagecoach/rfc/arc"
	"stagecoach/rfc/dkim"
	"stagecoach/rfc/dmarc"
	"stagecoach/rfc/dns"
	"stagecoach/rfc/spf"
)

// How many queries each method may cost for one mail. Those of one method never take from
// those of another, so that a hostile record cannot keep DMARC from its answer.
const (
	iprevQueries = 12
	spfQueries   = 30
	dkimQueries  = 20
	arcQueries   = 20
	dmarcQueries = 60
)

// maxSignatures bounds the DKIM signatures that are looked at.
const maxSignatures = 10

// findings is what was found out about a mail.
type findings struct {
	ip       netip.Addr
	author   mail.Address
	sender   mail.Address // MAIL FROM
	iprev    iprev
	helo     spf.Outcome
	mailFrom spf.Outcome
	dkim     []dkim.Result
	arc      arc.Result // says who handed the mail on; no verdict rests on it
	dmarc    dmarc.Result

	// What vouches for the domain in From and in MAIL FROM; nil where it is not ours. From is
	// ours too when it is so near that our own forwarding would vouch for it.
	ourAuthor, ourSender *dmarc.Result
}

// examine asks all that there is to ask, at the same time and within one time limit.
func (v *Verifier) examine(ctx context.Context, m *mail.Mail, author mail.Address) (*findings, error) {
	timeout := v.Timeout
	if timeout == 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	x := newMemory(v.Resolver)
	ip := m.Peer.Addr.Unmap().WithZone("")
	f := &findings{ip: ip, author: author, sender: m.Envelope.From}
	options := dmarc.Options{PublicSuffixes: v.PublicSuffixes}
	policy := limit(x, dmarcQueries)

	var wait team
	wait.Go(func() { f.iprev = checkReverse(ctx, limit(x, iprevQueries), ip) })
	wait.Go(func() { f.helo = spf.CheckHELO(ctx, limit(x, spfQueries), ip, m.Peer.Hello) })
	wait.Go(func() { f.mailFrom = spf.Check(ctx, limit(x, spfQueries), ip, m.Peer.Hello, f.sender) })
	wait.Go(func() {
		f.dkim = dkim.Verify(ctx, m.Message, limit(x, dkimQueries), dkim.Options{Now: v.now(), MaxSignatures: maxSignatures})
	})
	wait.Go(func() { f.arc = arc.Verify(ctx, m.Message, limit(x, arcQueries)) })
	if v.Beside != nil && ip.IsValid() {
		wait.Go(func() { v.Beside(ctx, ip) })
	}
	// The policy does not hang on the others, so its look-ups need not wait for them.
	wait.Go(func() { dmarc.Check(ctx, policy, author.Domain(), dmarc.Evidence{}, options) })
	if err := wait.Wait(); err != nil {
		return nil, err
	}

	evidence := f.evidence()
	f.dmarc = dmarc.Check(ctx, policy, author.Domain(), evidence, options)
	switch {
	case v.hosts(author.Domain()):
		f.ourAuthor = &f.dmarc
	default:
		f.ourAuthor = v.related(ctx, limit(x, dmarcQueries), f.dmarc, options)
	}
	if d := f.sender.Domain(); v.hosts(d) && d != author.Domain() {
		r := dmarc.Check(ctx, limit(x, dmarcQueries), d, evidence, options)
		f.ourSender = &r
	} else if v.hosts(d) {
		f.ourSender = f.ourAuthor
	}
	return f, nil
}

// A team is goroutines of which a panic ends the work on one mail, not the process.
type team struct {
	wait sync.WaitGroup
	mu   sync.Mutex
	err  error
}

func (t *team) Go(do func()) {
	t.wait.Go(func() {
		defer func() {
			if p := recover(); p != nil {
				t.mu.Lock()
				defer t.mu.Unlock()
				t.err = fmt.Errorf("verify: panic: %v\n%s", p, debug.Stack())
			}
		}()
		do()
	})
}

// Wait returns the last panic as an error.
func (t *team) Wait() error {
	t.wait.Wait()
	return t.err
}

func (v *Verifier) now() time.Time {
	if v.Now != nil {
		return v.Now()
	}
	return time.Now()
}

// evidence is what DMARC builds on.
func (f *findings) evidence() dmarc.Evidence {
	ev := dmarc.Evidence{SPF: dmarc.Identifier{
		Domain:    f.mailFrom.Domain,
		Pass:      f.mailFrom.Result == spf.Pass,
		Temporary: f.mailFrom.Result == spf.TempError,
	}}
	for _, r := range f.dkim {
		if r.Domain != "" {
			ev.DKIM = append(ev.DKIM, dmarc.Identifier{
				Domain:    r.Domain,
				Pass:      r.Status == dkim.Pass,
				Temporary: r.Status == dkim.TempError,
			})
		}
	}
	return ev
}

// iprev is the outcome of the reverse look-up (RFC 8601 section 2.7.3).
type iprev struct {
	value string // "" when there is no address to ask about
	name  string // of a pass
}

// maxNames bounds how many names of a client are looked at.
const maxNames = 10

// checkReverse looks whether a client has a name that leads back to it.
func checkReverse(ctx context.Context, x dns.Exchanger, ip netip.Addr) iprev {
	if !ip.IsValid() {
		return iprev{}
	}
	names, err := dns.PTR(ctx, x, ip)
	switch {
	case dns.IsNegative(err):
		return iprev{value: "permerror"}
	case err != nil:
		return iprev{value: "temperror"}
	}
	kind := uint16(dns.TypeAAAA)
	if ip.Is4() {
		kind = dns.TypeA
	}
	value := "fail"
	for _, name := range names[:min(len(names), maxNames)] {
		a, err := dns.Lookup(ctx, x, name, kind)
		if err != nil {
			if !dns.IsNegative(err) {
				value = "temperror"
			}
			continue
		}
		for _, found := range dns.Addresses(a) {
			if found == ip {
				return iprev{"pass", name}
			}
		}
	}
	return iprev{value: value}
}
