package main

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"stagecoach/name/resolver"
	"stagecoach/rfc/dns"
	"stagecoach/tool/check"
)

// env is the Internet, as this machine reaches it; or a lab, by the hidden flags or by what the
// configuration says of resolving.
func (c checkCmd) env(cfg *config) (*check.Env, error) {
	o, err := defaultConfig()
	if err != nil {
		return nil, err
	}
	resolve := o.Resolver.resolveOptions
	if cfg != nil {
		resolve = cfg.Resolver.resolveOptions
	}
	w := c.World
	if len(w.Hints) > 0 {
		resolve.Hints = w.Hints
	}
	resolve.Port = cmp.Or(w.DNSPort, resolve.Port)
	resolve.Trust = cmp.Or(w.Trust, resolve.Trust)
	resolve.Private = w.Private || resolve.Private
	resolve.Open = append(resolve.Open, w.Open...)
	resolve.NoIPv6 = w.NoIPv6 || resolve.NoIPv6
	env := &check.Env{Private: resolve.Private, Ports: check.Ports{
		DNS: resolve.Port, SMTP: w.SMTPPort, Submissions: w.SubmissionsPort, Submission: w.SubmissionPort, HTTPS: w.HTTPSPort,
	}}
	if cfg != nil && w.SMTPPort == 0 {
		env.Ports.SMTP = uint16(cfg.Relay.Port)
	}
	if w.CAFile != "" {
		text, err := os.ReadFile(w.CAFile)
		if err != nil {
			return nil, err
		}
		env.Roots = x509.NewCertPool()
		if !env.Roots.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s: no certificate", w.CAFile)
		}
	}
	if len(c.Nameserver) > 0 {
		env.Names, err = names(c.Nameserver)
		return env, err
	}
	r, err := resolve.resolver()
	if err != nil {
		return nil, err
	}
	if len(resolve.Hints) == 0 && !resolve.NoIPv6 {
		r.NoIPv6 = !hasIPv6()
	}
	env.Names, env.Chain = r, chainOf(r)
	return env, nil
}

// hasIPv6 reports whether this machine has an IPv6 address of the world, so that the resolver
// does not lose time with servers that it cannot reach.
func hasIPv6() bool {
	ip, err := sourceTo(netip.MustParseAddr("2001:503:ba3e::2:30")) // a.root-servers.net
	return err == nil && ip.IsGlobalUnicast()
}

// chainOf has a resolver explain what it makes of the signatures.
func chainOf(r *resolver.Resolver) func(context.Context, *dns.Msg) (check.Verdict, error) {
	return func(ctx context.Context, q *dns.Msg) (check.Verdict, error) {
		e, err := r.Explain(ctx, q)
		if err != nil {
			return check.Verdict{}, err
		}
		v := check.Verdict{State: e.Security.String()}
		for _, s := range e.Steps {
			v.Steps = append(v.Steps, s.Text)
		}
		for _, x := range dns.ExtendedErrors(e.Response) {
			v.Steps = append(v.Steps, x.Name()+": "+x.Text)
		}
		if e.Response.Rcode == dns.RcodeServerFailure && e.Security != resolver.Bogus {
			return v, errors.New("SERVFAIL")
		}
		return v, nil
	}
}
