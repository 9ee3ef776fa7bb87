package check

import (
	"context"
	"crypto/tls"
	"slices"
	"strings"
	"sync"

	"stagecoach/rfc/dns"
)

func submissionChecks() []Check {
	return []Check{
		{
			ID: "submissions", Title: "Submission under TLS (465)", run: checkSubmissions,
			Why: "Mail programs hand mail in here, under TLS from the first byte (RFC 8314).",
			Fix: "Start the service with listen_tls in [submit] and a certificate for the name, and open TCP port 465.",
		},
		{
			ID: "submission", Title: "Submission with STARTTLS (587)", run: checkSubmission,
			Why: "Older mail programs hand mail in here; a password must never be asked for before TLS.",
			Fix: "Start the service with listen_starttls in [submit] and a certificate for the name, and open TCP port 587.",
		},
		{
			ID: "srv", Title: "SRV records for mail programs", run: checkSRV,
			Why: "Mail programs find the submission server by them (RFC 6186, RFC 8314 section 5.1).",
			Fix: "Publish _submissions._tcp SRV 0 1 465 HOST.",
		},
	}
}

// A service is where mail is handed in.
type service struct {
	err    error // temporary
	srv    bool  // SRV records name it
	closed bool  // they say that there is none
	hosts  []host
	doors  []*door
}

// findService goes by the SRV records, else by the name of the service, else by the first MX.
func (l *look) findService(ctx context.Context, prefix string, port uint16, implicit bool) *service {
	s := &service{}
	records, err := dns.SRV(ctx, l.env.Names, prefix+l.target.Domain)
	if err != nil && !dns.IsNegative(err) {
		s.err = err
		return s
	}
	var names []string
	for _, r := range records {
		s.srv = true
		if target := dns.Host(r.Target); target == "" {
			s.closed = true
		} else if !slices.Contains(names, target) && len(names) < maxHosts {
			names = append(names, target)
		}
	}
	if !s.srv {
		if names = l.usualNames(); len(names) == 0 {
			return s
		}
	}
	s.hosts = l.findHosts(ctx, names)
	l.visitAll(ctx, s, port, implicit)
	return s
}

func (l *look) usualNames() []string {
	if l.target.Name != "" {
		return []string{l.target.Name}
	}
	if x := l.mx(); len(x.hosts) > 0 {
		return []string{x.hosts[0].name}
	}
	return nil
}

func (l *look) visitAll(ctx context.Context, s *service, port uint16, implicit bool) {
	var all sync.WaitGroup
	for _, h := range s.hosts {
		if h.err != nil && !dns.IsNegative(h.err) {
			s.err = h.err
		}
		for _, ip := range h.ips[:min(len(h.ips), maxAddresses)] {
			d := &door{host: h.name, ip: ip}
			s.doors = append(s.doors, d)
			all.Go(func() {
				if t := d.open(ctx, l, port, implicit); t != nil {
					t.say("QUIT") //nolint:errcheck // out of politeness
					t.conn.Close()
				}
			})
		}
	}
	all.Wait()
}

func checkSubmissions(_ context.Context, l *look, f *findings) {
	l.checkService(f, l.submissions(), true)
}

func checkSubmission(_ context.Context, l *look, f *findings) {
	l.checkService(f, l.submission(), false)
}

func (l *look) checkService(f *findings, s *service, implicit bool) {
	switch {
	case s.closed && len(s.hosts) == 0:
		f.skip("", "the SRV records say that the domain has no such service")
		return
	case len(s.doors) == 0 && s.err != nil:
		f.unknown("", "the submission server could not be looked up: %v", s.err)
		return
	case len(s.doors) == 0:
		f.rest("mx", "", "no host is known")
		return
	}
	for _, d := range s.doors {
		switch {
		case d.err == nil && d.code == 220:
			l.checkLogin(f, d, implicit)
		case isNoRoute(d.err):
			f.skip(d.String(), "this machine has no way to such addresses")
		case isRefused(d.err) && (s.srv || l.target.Name != ""):
			f.wrong(d.String(), "", "nothing listens there")
		case isRefused(d.err):
			f.skip(d.String(), "nothing listens there, and no SRV record says that it should")
		case isSilence(d.err) && l.answers(d):
			f.wrong(d.String(), "", "nobody answers, though the machine does on port 25: a firewall is closed")
		case d.err == nil:
			f.unknown(d.String(), "it does not serve us: %d %s", d.code, d.greeting)
		case implicit && d.state == nil && !mayPass(d.err):
			f.wrong(d.String(), "", "TLS fails: %v", d.err)
		default:
			f.silent(d.String(), "no conversation: %v", d.err)
		}
	}
}

// answers reports whether the same machine talks on port 25.
func (l *look) answers(d *door) bool {
	return slices.ContainsFunc(l.doors(), func(o *door) bool { return o.ip == d.ip && o.err == nil })
}

func (l *look) checkLogin(f *findings, d *door, implicit bool) {
	early := false
	if !implicit {
		var mechanisms []string
		if mechanisms, early = d.hello.extension("AUTH"); early {
			f.wrong(d.String(), "Offer AUTH within TLS only (RFC 4954 section 4, RFC 8314).", "the server offers AUTH %s before TLS: passwords can be read on the wire", strings.Join(mechanisms, " "))
		}
		switch {
		case !d.offers:
			f.wrong(d.String(), "", "the server offers no STARTTLS")
			return
		case d.tlsErr != nil && mayPass(d.tlsErr):
			f.silent(d.String(), "TLS did not come about: %v", d.tlsErr)
			return
		case d.tlsErr != nil:
			f.wrong(d.String(), "", "TLS fails: %v", d.tlsErr)
			return
		}
	}
	if tooOld(d.state) {
		f.wrong(d.String(), "Allow TLS 1.2 and 1.3.", "the server speaks no more than %s", tls.VersionName(d.state.Version))
		return
	}
	if !l.env.judge(f, d.String(), d.state, d.host) {
		return
	}
	mechanisms, ok := d.within.extension("AUTH")
	if !ok {
		f.wrong(d.String(), "", "the server lets nobody log in: it offers no AUTH within TLS")
	} else if !early {
		f.ok(d.String(), "%s, AUTH %s", tls.VersionName(d.state.Version), strings.Join(mechanisms, " "))
	}
}

func checkSRV(_ context.Context, l *look, f *findings) {
	s, old := l.submissions(), l.submission()
	for _, one := range []*service{s, old} {
		if one.err != nil && len(one.hosts) == 0 {
			f.unknown(l.target.Domain, "the SRV records could not be looked up: %v", one.err)
			return
		}
		for _, h := range one.hosts {
			switch {
			case one.srv && h.alias != "":
				f.wrong(h.name, "Name the host itself in the SRV record.", "the SRV record names an alias (RFC 2782)")
			case one.srv && dns.IsNegative(h.err):
				f.wrong(h.name, "Give the host an address, or name another in the SRV record.", "the SRV record names a host without an address")
			}
		}
	}
	switch {
	case !s.srv && !old.srv:
		f.note(l.target.Domain, "", "there is no SRV record for submission: users have to type the name of the server")
	case !f.bad():
		f.ok(l.target.Domain, "mail programs find the submission server")
	}
}
