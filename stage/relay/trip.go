package relay

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"stagecoach/mail"
	"stagecoach/rfc/smtp"
)

// A carriage is one mail on its way through a Relay.
type carriage struct {
	*Relay
	ctx     context.Context
	mail    *mail.Mail
	results []error // one a recipient; a trip writes those of its own recipients
}

// A trip is one destination of a mail: recipients for whom one copy is sent.
type trip struct {
	domain  string // of the first of them, for the policy
	to      []int  // indexes of recipients
	foreign bool   // their domains are not ours
	route   *Route
	literal netip.Addr // of an address literal
	hosts   []Host     // else
}

// trips sorts the recipients by destination, after looking their domains up. Domains with
// the same servers share a trip, unless a policy could tell them apart. Recipients whose
// domains lead nowhere get their results here.
func (c *carriage) trips() []*trip {
	byDomain := map[string]*trip{}
	var all []*trip
	for i, r := range c.mail.Envelope.To {
		t := byDomain[r.Domain()]
		if t == nil {
			t = &trip{domain: r.Domain(), foreign: !c.isOurs(r.Domain())}
			byDomain[t.domain] = t
			all = append(all, t)
		}
		t.to = append(t.to, i)
	}
	c.plan(all)
	byKey := map[string]*trip{}
	var kept []*trip
	for _, t := range all {
		k := c.key(t)
		switch other := byKey[k]; {
		case c.results[t.to[0]] != nil:
		case other != nil:
			other.to = append(other.to, t.to...)
		default:
			byKey[k] = t
			kept = append(kept, t)
		}
	}
	return kept
}

// plan finds out where each domain's mail goes, some at a time.
func (c *carriage) plan(all []*trip) {
	places := make(chan struct{}, c.maxParallel())
	var wg sync.WaitGroup
	for _, t := range all {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			if err := c.find(t); err != nil {
				c.fail(t.to, err)
			}
		})
	}
	wg.Wait()
}

func (c *carriage) find(t *trip) (err error) {
	if r, ok := c.routeFor(t.domain); ok {
		t.route = &r
		return nil
	}
	if ip, ok := c.mail.Envelope.To[t.to[0]].Literal(); ok {
		t.literal = ip
		return nil
	}
	t.hosts, err = c.mx(c.ctx, t.domain)
	return err
}

func (c *carriage) key(t *trip) string {
	k := fmt.Sprint(t.foreign, " ")
	switch {
	case t.route != nil:
		where := *t.route
		where.Domain = "*"
		return k + where.String()
	case t.literal.IsValid():
		return k + t.domain
	case c.Policy != nil:
		return k + t.domain + " " + key(t.hosts)
	}
	return k + key(t.hosts)
}

func (c *carriage) fail(to []int, err error) {
	for _, i := range to {
		c.results[i] = err
	}
}

// travel carries the mail to one destination: from server to server, with all of the
// message each time, until nobody is left whom another server might take.
func (c *carriage) travel(t *trip) {
	from, err := c.sender(c.mail.Envelope.From, t.foreign)
	if err != nil {
		c.fail(t.to, err)
		return
	}
	j := &journey{carriage: c, trip: t, from: from, open: t.to}
	switch {
	case t.route != nil:
		j.byRoute()
	case t.literal.IsValid():
		j.visit(Host{Name: t.domain, Secure: true}, []netip.Addr{t.literal})
	default:
		j.byMX()
	}
	for _, i := range j.open {
		c.results[i] = j.verdict(i)
	}
}

// A journey is a trip under way.
type journey struct {
	*carriage
	*trip
	from  mail.Address
	open  []int // recipients whom another server may take
	tries int

	errs map[int]error // what stands for an open recipient when there is no other server
	lost error         // a host that could not be tried
}

func (j *journey) over() bool { return len(j.open) == 0 || j.tries >= maxTries || j.ctx.Err() != nil }

// byMX goes through the hosts, those of one preference after the other. Where one of them
// has an address of ours the list ends (RFC 5321 section 5.1).
func (j *journey) byMX() {
	for rest := j.hosts; len(rest) > 0 && !j.over(); {
		n := 1
		for n < len(rest) && rest[n].Preference == rest[0].Preference {
			n++
		}
		group := rest[:n]
		rest = rest[n:]
		addrs, ours := j.lookup(group)
		if ours {
			if len(j.errs) == 0 && j.lost == nil {
				j.lost = errLoop
			}
			return
		}
		for i, h := range group {
			j.visit(h, addrs[i])
		}
	}
}

// lookup returns the addresses of hosts that may be contacted, and whether one is ours.
func (j *journey) lookup(group []Host) (addrs [][]netip.Addr, ours bool) {
	addrs = make([][]netip.Addr, len(group))
	errs := make([]error, len(group))
	var wg sync.WaitGroup
	for i, h := range group {
		wg.Go(func() { addrs[i], errs[i] = j.addrs(j.ctx, h.Name) })
	}
	wg.Wait()
	for i, found := range addrs {
		if errs[i] != nil {
			j.note(hostError(errs[i]))
		}
		for _, ip := range found {
			ours = ours || j.isOurAddr(ip)
		}
	}
	return addrs, ours
}

// hostError is lookupError for a host of an MX list: that it does not exist is a fault of
// the list, not of the domain.
func hostError(err error) error {
	err = lookupError(err)
	if mail.IsPermanent(err) {
		return errNoServer.Because(err)
	}
	return err
}

// note remembers why a host could not be tried; what may pass outweighs what will not.
func (j *journey) note(err error) {
	if j.lost == nil || !mail.IsPermanent(err) {
		j.lost = err
	}
}

// visit tries the addresses of one host.
func (j *journey) visit(h Host, addrs []netip.Addr) {
	p, err := j.protection(h)
	if err != nil {
		j.note(err)
		return
	}
	for _, ip := range addrs {
		if j.over() {
			return
		}
		if !j.mayContact(ip) {
			j.note(errNoServer.Because(fmt.Errorf("%s has the address %s, where we do not go", h.Name, ip)))
			continue
		}
		j.try(target{host: h.Name, addr: netip.AddrPortFrom(ip, j.port())}, p)
	}
}

// protection asks the policy. A mail with REQUIRETLS needs a server whose name is known for
// sure and proven (RFC 8689 section 4.2.1).
func (j *journey) protection(h Host) (Protection, error) {
	var p Protection
	if j.Policy != nil {
		got, err := j.Policy.For(j.ctx, j.domain, h)
		if err != nil {
			return p, policyError(err)
		}
		if got != nil {
			p = *got
		}
	}
	if j.mail.Envelope.RequireTLS && p.Security == smtp.TLSOpportunistic {
		if !h.Secure {
			return p, mail.Reject(550, "5.7.30", "REQUIRETLS support required").
				Because(fmt.Errorf("neither DNSSEC nor a policy vouches for the MX host %s", h.Name))
		}
		p = Protection{ID: "requiretls", Security: smtp.TLSRequired}
	}
	return p, nil
}

func policyError(err error) error {
	var r *mail.Refusal
	if errors.As(err, &r) {
		return err
	}
	return mail.Defer(451, "4.7.5", "the way to the receiving server cannot be protected now").Because(err)
}

// byRoute goes where the operator wants, whatever address that is.
func (j *journey) byRoute() {
	r := j.route
	h := Host{Name: r.Host, Secure: true}
	if r.Path != "" {
		j.try(target{host: "localhost", path: r.Path}, Protection{Security: smtp.TLSNone})
		return
	}
	port := r.Port
	if port == 0 {
		port = j.port()
	}
	addrs, err := j.addrs(j.ctx, r.Host)
	if err != nil { // a mistake in our settings, and no fault of the mail
		j.note(mail.Defer(451, "4.4.4", "the route for the recipient's domain leads nowhere").Because(err))
		return
	}
	p, err := j.protection(h)
	if err != nil {
		j.note(err)
		return
	}
	for _, ip := range addrs {
		if j.over() {
			return
		}
		j.try(target{host: r.Host, addr: netip.AddrPortFrom(ip, port)}, p)
	}
}

// try sends the mail to one address for all who are open.
func (j *journey) try(t target, p Protection) {
	j.tries++
	one := j.Relay.hops.take(hopKey{t, p.ID, p.Security}, func() *smtp.NextHop { return j.build(t, p) })
	defer j.Relay.hops.give(one)
	m := &mail.Mail{Envelope: j.mail.Envelope, Message: j.mail.Message}
	m.Envelope.From = j.from
	m.Envelope.To = make([]mail.Recipient, len(j.open))
	for k, i := range j.open {
		m.Envelope.To[k] = j.mail.Envelope.To[i]
		m.Envelope.To[k].Notify = wishes(m.Envelope.To[k])
	}
	var open []int
	for k, err := range one.Carry(j.ctx, m) {
		i := j.open[k]
		var e *smtp.HopError
		if errors.As(err, &e) && e.Elsewhere {
			open = append(open, i)
			j.remember(i, err)
		} else {
			j.results[i] = reportable(j.mail.Envelope.To[i], t.host, err)
		}
	}
	j.open = open
}

// remember keeps the error that says most: one that may pass before one that will not, and
// of those what a server said before what we could not do.
func (j *journey) remember(i int, err error) {
	if j.errs == nil {
		j.errs = map[int]error{}
	}
	if old := j.errs[i]; old == nil || weight(err) > weight(old) {
		j.errs[i] = err
	}
}

func weight(err error) int {
	n := 0
	if !mail.IsPermanent(err) {
		n = 2
	}
	var e *smtp.HopError
	if errors.As(err, &e) && e.RemoteMTA() != "" {
		n++
	}
	return n
}

// verdict returns what became of a recipient whom no server took.
func (j *journey) verdict(i int) error {
	err := j.errs[i]
	switch {
	case j.ctx.Err() != nil && err == nil:
		return mail.Defer(451, "4.4.7", "there was no time to try").Because(context.Cause(j.ctx))
	case err == nil && j.lost == nil:
		return errNoServer
	case err == nil, mail.IsPermanent(err) && j.lost != nil && !mail.IsPermanent(j.lost):
		return j.lost
	}
	return err
}
