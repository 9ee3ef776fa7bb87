package check

import (
	"context"
	"crypto/tls"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"stagecoach/rfc/dns"
)

func smtpChecks() []Check {
	return []Check{
		{
			ID: "port-25-in", Title: "Port 25 in", run: checkIn,
			Why: "Without an answer on port 25 no mail can come in.",
			Fix: "Start the service, and open TCP port 25 in every firewall, that of the hoster too.",
		},
		{
			ID: "port-25-out", Title: "Port 25 out", run: checkOut,
			Why: "Many hosters close port 25 outwards; then no mail can be sent.",
			Fix: "Ask the hoster to open port 25 outwards, or send over a relay (route in [relay]).",
		},
		{
			ID: "starttls", Title: "STARTTLS", run: checkStartTLS,
			Why: "Without TLS mail goes over the wire for everyone to read, and some senders do not send at all.",
			Fix: "Give the service a certificate, see docs/certificates.md.",
		},
		{
			ID: "certificate", Title: "Certificate of the MX hosts", run: checkCertificate,
			Why: "Senders that are asked to check it (MTA-STS) refuse a mail server whose certificate is not good.",
			Fix: "Get a certificate for the name in the MX record, see docs/certificates.md.",
		},
		{
			ID: "postmaster", Title: "Mail for postmaster", run: checkPostmaster,
			Why: "Every domain has to take mail for postmaster, without a sender too (RFC 5321 section 4.5.1).",
			Fix: "Make a user or an alias postmaster, or set postmaster in the configuration.",
		},
		{
			ID: "open-relay", Title: "No open relay", run: checkRelay,
			Why: "A server that carries anybody's mail to anybody is found within hours, used for spam, and blocked everywhere.",
			Fix: "Have the server take mail from strangers for its own domains only.",
		},
	}
}

func checkIn(_ context.Context, l *look, f *findings) {
	doors := l.doors()
	for _, d := range doors {
		switch {
		case d.err == nil && d.code == 220:
			f.ok(d.String(), "it greets: %s", d.greeting)
		case d.code >= 500:
			f.wrong(d.String(), "Look into the log of the service why it refuses this machine.", "it refuses: %d %s", d.code, d.greeting)
		case isNoRoute(d.err):
			f.skip(d.String(), "this machine has no way to such addresses")
		case isRefused(d.err):
			f.wrong(d.String(), "", "nothing listens there")
		case isSilence(d.err) && l.outside().works(d.ip.Is4()):
			f.wrong(d.String(), "", "nobody answers, though others do on port 25: a firewall is closed, or the machine is off")
		case d.code != 0 && d.err == nil:
			f.unknown(d.String(), "it does not serve now: %d %s", d.code, d.greeting)
		default:
			f.silent(d.String(), "no conversation: %v", d.err)
		}
	}
	away := slices.ContainsFunc(doors, func(d *door) bool { return !isNoRoute(d.err) })
	if len(doors) > 0 && !away {
		f.unknown("", "no MX host has an address that can be reached from here")
	}
	if len(doors) == 0 {
		f.rest("mx", "", "no MX host has an address")
	}
}

// outside is what came of connecting to large receivers, by family.
type outside struct {
	err        error // nobody could be tried
	four, six  bool  // is wanted
	done       [2]bool
	silent     [2]int // how many did not answer
	refusals   [2][]string
	noRoute    [2]bool
	other      [2]error
	connection [2]string // who answered
}

func family(four bool) int {
	if four {
		return 0
	}
	return 1
}

func (o *outside) works(four bool) bool { return o.done[family(four)] }

// lookOut connects to the first MX host of each receiver, over the families of the addresses
// that mail is sent from.
func (l *look) lookOut(ctx context.Context) *outside {
	o := &outside{}
	ips, _ := l.sending() //nolint:errcheck // then IPv4 will do
	o.four = len(ips) == 0 || slices.ContainsFunc(ips, netip.Addr.Is4)
	o.six = slices.ContainsFunc(ips, netip.Addr.Is6)
	var all sync.WaitGroup
	var mu sync.Mutex
	for _, domain := range l.target.Receivers {
		all.Go(func() {
			servers, err := dns.MX(ctx, l.env.Names, domain)
			var h host
			if err == nil {
				h = l.findHost(ctx, servers[0].Host)
				err = h.err
			}
			if err != nil {
				mu.Lock()
				o.err = err
				mu.Unlock()
				return
			}
			for _, four := range []bool{true, false} {
				i := slices.IndexFunc(h.ips, func(ip netip.Addr) bool { return ip.Is4() == four })
				if wanted := four && o.four || !four && o.six; !wanted || i < 0 {
					continue
				}
				all.Go(func() {
					d := &door{host: h.name, ip: h.ips[i]}
					d.err = inTime(ctx, l.visit(ctx, d))
					mu.Lock()
					defer mu.Unlock()
					o.note(family(four), d)
				})
			}
		})
	}
	all.Wait()
	return o
}

// visit reads a greeting, and goes.
func (l *look) visit(ctx context.Context, d *door) error {
	conn, err := l.env.dial(ctx, d.ip, l.env.Ports.SMTP)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	t := newTalk(conn, l.env.Patience)
	g, err := t.read()
	if err != nil {
		return err
	}
	d.code, d.greeting = g.code, strings.Join(g.lines, " / ")
	t.say("QUIT") //nolint:errcheck // out of politeness
	return nil
}

func (o *outside) note(i int, d *door) {
	switch {
	case d.err == nil && d.code == 220:
		o.done[i], o.connection[i] = true, d.String()
	case d.err == nil && d.code >= 500:
		o.refusals[i] = append(o.refusals[i], d.String()+" says "+d.greeting)
	case isSilence(d.err):
		o.silent[i]++
	case isNoRoute(d.err):
		o.noRoute[i] = true
	default:
		o.other[i] = d.err
	}
}

func checkOut(_ context.Context, l *look, f *findings) {
	if len(l.target.Receivers) == 0 {
		f.skip("", "no receiver was named to be tried")
		return
	}
	o := l.outside()
	for _, four := range []bool{true, false} {
		i, name := family(four), "IPv4"
		if !four {
			name = "IPv6"
		}
		switch {
		case four && !o.four || !four && !o.six:
		case o.done[i]:
			f.ok(name, "%s answers", o.connection[i])
		case !l.here():
			f.skip(name, "this machine is not the domain's mail server: run the check there")
		case len(o.refusals[i]) > 0 && o.silent[i] == 0:
			f.wrong(name, "Do what the text says; the address may be on a block list.", "the large receivers refuse us: %s", strings.Join(o.refusals[i], "; "))
		case o.silent[i] > 1:
			f.wrong(name, "", "the mail servers of %s do not answer on port 25", strings.Join(l.target.Receivers, ", "))
		case o.noRoute[i]:
			f.wrong(name, "Set the address of this machine and a default route, or take the address from the DNS.", "this machine has no way to addresses of this family, though mail is to be sent from one")
		case o.other[i] != nil:
			f.silent(name, "no conversation: %v", o.other[i])
		default:
			f.unknown(name, "no mail server of %s could be tried: %v", strings.Join(l.target.Receivers, ", "), o.err)
		}
	}
}

// talked returns the doors where a conversation came about. The check has spoken where there
// is none.
func (l *look) talked(f *findings) []*door {
	var out []*door
	for _, d := range l.doors() {
		if d.err == nil && d.code == 220 {
			out = append(out, d)
		}
	}
	if len(out) == 0 {
		f.rest("port-25-in", "", "no MX host talks to us")
	}
	return out
}

func checkStartTLS(_ context.Context, l *look, f *findings) {
	for _, d := range l.talked(f) {
		switch {
		case !d.offers:
			f.wrong(d.String(), "", "the server offers no STARTTLS")
		case d.tlsErr != nil && mayPass(d.tlsErr):
			f.silent(d.String(), "TLS did not come about: %v", d.tlsErr)
		case d.tlsErr != nil:
			f.wrong(d.String(), "", "TLS fails: %v", d.tlsErr)
		case tooOld(d.state):
			f.wrong(d.String(), "Allow TLS 1.2 and 1.3.", "the server speaks no more than %s, which is broken (RFC 8996)", tls.VersionName(d.state.Version))
		default:
			f.ok(d.String(), "%s", tls.VersionName(d.state.Version))
		}
	}
}

func checkCertificate(_ context.Context, l *look, f *findings) {
	for _, d := range l.talked(f) {
		if d.state == nil {
			f.rest("starttls", d.String(), "no TLS, no certificate")
		} else if l.env.judge(f, d.String(), d.state, d.host) {
			f.ok(d.String(), "%s", l.env.validity(d.state))
		}
	}
}

func checkPostmaster(_ context.Context, l *look, f *findings) {
	for _, d := range l.talked(f) {
		switch r := d.postmaster; {
		case r.code/100 == 2:
			f.ok(d.String(), "postmaster@%s gets mail", l.target.Domain)
		case r.code/100 == 5:
			f.wrong(d.String(), "", "mail for postmaster@%s is refused: %s", l.target.Domain, r)
		case r.code/100 == 4:
			f.unknown(d.String(), "not now: %s", r)
		case d.tlsErr != nil:
			f.rest("starttls", d.String(), "the conversation ended before")
		default:
			f.unknown(d.String(), "the conversation ended: %v", d.talkErr)
		}
	}
}

func checkRelay(_ context.Context, l *look, f *findings) {
	for _, d := range l.talked(f) {
		switch r := d.relay; {
		case r.code/100 == 2:
			f.wrong(d.String(), "", "the server takes mail of a stranger for example.com")
		case r.code/100 == 5:
			f.ok(d.String(), "mail of a stranger for a stranger is refused")
		case r.code/100 == 4:
			f.unknown(d.String(), "the answer was: not now: %s", r)
		case d.tlsErr != nil:
			f.rest("starttls", d.String(), "the conversation ended before")
		default:
			f.unknown(d.String(), "the conversation ended: %v", d.talkErr)
		}
	}
}
