package check

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"stagecoach/rfc/dns"
)

// A zone is what its parent and its own servers say of the zone that holds the domain.
type zone struct {
	apex, parent string
	err          error // of the DNS: nothing can be told
	missing      bool  // the domain does not exist

	handedErr error // no server of the parent told
	handed    []string
	glue      map[string][]netip.Addr
	ds        []*dns.DSRecord
	dsErr     error
	same      bool // the parent's servers are its own too, and give no referral

	hosts   []host    // the name servers, by either side
	servers []*server // one an address
}

// A server is one address of a name server, and what came from there.
type server struct {
	host string
	ip   netip.Addr

	udp, tcp error // no answer, or none of an authority
	lame     bool  // it answered that the zone is not its
	noRoute  bool  // this machine cannot reach the family
	soa      *dns.SOARecord
	ns       []string // nil when it did not tell
	keys     []*dns.DNSKEYRecord
	keysErr  error
	sigs     []*dns.RRSIGRecord // of the SOA
}

func (s *server) String() string { return fmt.Sprintf("%s (%s)", s.host, s.ip) }

var errLame = errors.New("not the answer of an authority")

func (l *look) findZone(ctx context.Context) *zone {
	z := &zone{glue: map[string][]netip.Addr{}}
	if z.apex, z.missing, z.err = l.apexOf(ctx, l.target.Domain); z.err != nil || z.missing {
		return z
	}
	if above := dns.Labels(z.apex); len(above) > 0 {
		var missing bool
		if z.parent, missing, z.err = l.apexOf(ctx, strings.Join(above[1:], ".")); z.err != nil || missing {
			return z
		}
	}
	l.askParent(ctx, z)
	own, err := dns.NS(ctx, l.env.Names, z.apex)
	if err != nil && len(z.handed) == 0 {
		z.err = err
		return z
	}
	names := slices.Clone(z.handed)
	for _, n := range own {
		if !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	z.hosts = l.findHosts(ctx, names[:min(len(names), maxHosts)])
	l.askServers(ctx, z)
	return z
}

// apexOf returns the zone that holds name: whose SOA is the answer, or stands for its absence.
func (l *look) apexOf(ctx context.Context, name string) (apex string, missing bool, err error) {
	q := dns.NewQuery(name, dns.TypeSOA)
	r, err := l.env.Names.Exchange(ctx, q)
	if err != nil {
		return "", false, err
	}
	if r.Rcode != dns.RcodeSuccess && r.Rcode != dns.RcodeNameError {
		return "", false, fmt.Errorf("%s SOA: %s%s", name, dns.RcodeName(r.Rcode), extended(r))
	}
	for _, rr := range slices.Concat(r.Answer, r.Ns) {
		if soa, ok := rr.(*dns.SOARecord); ok && dns.IsSubdomain(dns.Canonical(soa.Hdr.Name), dns.Canonical(name)) {
			return dns.Host(soa.Hdr.Name), r.Rcode == dns.RcodeNameError, nil
		}
	}
	return "", false, fmt.Errorf("%s SOA: the answer names no zone", name)
}

// extended tells the extended errors of a response.
func extended(r *dns.Msg) string {
	var out []string
	for _, e := range dns.ExtendedErrors(r) {
		text := e.Name()
		if e.Text != "" {
			text += ": " + e.Text
		}
		out = append(out, text)
	}
	if len(out) == 0 {
		return ""
	}
	return " (" + strings.Join(out, "; ") + ")"
}

// direct is a question for a server that is not to do our work.
func direct(name string, t uint16) *dns.Msg {
	q := dns.NewQuery(name, t)
	q.RecursionDesired, q.AuthenticatedData = false, false
	return q
}

// askParent asks the parent's servers, until one tells, for the delegation.
func (l *look) askParent(ctx context.Context, z *zone) {
	names, err := dns.NS(ctx, l.env.Names, z.parent)
	if err != nil {
		z.handedErr = err
		return
	}
	z.handedErr = errors.New("no server of the parent zone has an address")
	for _, h := range l.findHosts(ctx, names[:min(len(names), 4)]) {
		for _, ip := range h.ips {
			x := l.env.Server(ip, false)
			r, err := x.Exchange(ctx, direct(z.apex, dns.TypeNS))
			if err == nil && r.Rcode != dns.RcodeSuccess && r.Rcode != dns.RcodeNameError {
				err = errors.New(dns.RcodeName(r.Rcode))
			}
			if err != nil {
				z.handedErr = fmt.Errorf("%s (%s): %w", h.name, ip, err)
				continue
			}
			z.handedErr = nil
			z.readReferral(r)
			z.ds, z.dsErr = askDS(ctx, x, z.apex)
			return
		}
	}
}

func (z *zone) readReferral(r *dns.Msg) {
	for _, rr := range slices.Concat(r.Answer, r.Ns) {
		ns, ok := rr.(*dns.NSRecord)
		if ok && dns.Host(ns.Hdr.Name) == z.apex && !slices.Contains(z.handed, dns.Host(ns.Ns)) {
			z.handed = append(z.handed, dns.Host(ns.Ns))
		}
	}
	z.same = len(r.Answer) > 0
	for _, rr := range r.Extra {
		name := dns.Host(rr.Header().Name)
		z.glue[name] = append(z.glue[name], dns.Addresses(&dns.Answer{RRs: []dns.RR{rr}})...)
	}
}

func askDS(ctx context.Context, x dns.Exchanger, apex string) ([]*dns.DSRecord, error) {
	r, err := x.Exchange(ctx, direct(apex, dns.TypeDS))
	if err != nil {
		return nil, err
	}
	if r.Rcode != dns.RcodeSuccess {
		return nil, errors.New(dns.RcodeName(r.Rcode))
	}
	return dns.Records[*dns.DSRecord](&dns.Answer{RRs: r.Answer}), nil
}

// askServers asks every address of every name server, also those that only the glue has.
func (l *look) askServers(ctx context.Context, z *zone) {
	for _, h := range z.hosts {
		ips := slices.Clone(h.ips)
		for _, ip := range z.glue[h.name] {
			if !slices.Contains(ips, ip) && len(ips) < 2*maxAddresses {
				ips = append(ips, ip)
			}
		}
		for _, ip := range ips {
			z.servers = append(z.servers, &server{host: h.name, ip: ip})
		}
	}
	var all sync.WaitGroup
	for _, s := range z.servers {
		all.Go(func() { s.ask(ctx, l.env, z.apex) })
	}
	all.Wait()
}

func (s *server) ask(ctx context.Context, env *Env, apex string) {
	udp, tcp := env.Server(s.ip, false), env.Server(s.ip, true)
	var all sync.WaitGroup
	all.Go(func() {
		var rrs []dns.RR
		if rrs, s.udp = s.answer(ctx, udp, apex, dns.TypeSOA); s.udp != nil {
			return
		}
		for _, rr := range rrs {
			switch rr := rr.(type) {
			case *dns.SOARecord:
				s.soa = rr
			case *dns.RRSIGRecord:
				s.sigs = append(s.sigs, rr)
			}
		}
		if rrs, err := s.answer(ctx, udp, apex, dns.TypeNS); err == nil {
			s.ns = []string{}
			for _, ns := range dns.Records[*dns.NSRecord](&dns.Answer{RRs: rrs}) {
				s.ns = append(s.ns, dns.Host(ns.Ns))
			}
			slices.Sort(s.ns)
		}
		rrs, s.keysErr = s.answer(ctx, udp, apex, dns.TypeDNSKEY)
		s.keys = dns.Records[*dns.DNSKEYRecord](&dns.Answer{RRs: rrs})
	})
	var over server
	all.Go(func() { _, s.tcp = over.answer(ctx, tcp, apex, dns.TypeSOA) })
	all.Wait()
	s.udp, s.tcp = inTime(ctx, s.udp), inTime(ctx, s.tcp)
	s.lame = s.lame || over.lame
	s.noRoute = isNoRoute(s.udp) && isNoRoute(s.tcp)
}

// answer asks with DNSSEC, and takes only what an authority says.
func (s *server) answer(ctx context.Context, x dns.Exchanger, apex string, t uint16) ([]dns.RR, error) {
	q := direct(apex, t)
	if e := q.IsEdns0(); e != nil {
		e.SetDo()
	}
	r, err := x.Exchange(ctx, q)
	switch {
	case err != nil:
		return nil, err
	case r.Rcode == dns.RcodeServerFailure:
		return nil, errors.New("SERVFAIL")
	case r.Rcode != dns.RcodeSuccess:
		s.lame = true
		return nil, fmt.Errorf("%s, %w", dns.RcodeName(r.Rcode), errLame)
	case !r.Authoritative:
		s.lame = true
		return nil, errLame
	}
	return r.Answer, nil
}
