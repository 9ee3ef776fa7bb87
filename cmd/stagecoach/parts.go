package main

import (
	"cmp"
	"context"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"stagecoach/account"
	"stagecoach/mail"
	"stagecoach/repo"
	"stagecoach/rfc/dns"
	"stagecoach/rfc/fortuna"
	"stagecoach/rfc/smtp"
	"stagecoach/rfc/srs"
	"stagecoach/stage/forward"
	"stagecoach/stage/queue"
	"stagecoach/stage/relay"
	"stagecoach/stage/sign"
	"stagecoach/stage/submit"
	"stagecoach/stage/verify"
)

// The parts of the service: one function makes one, from its options. "serve" and the single
// stages put the same parts together.

// accounts opens the users repository and keeps it fresh.
func (p *process) accounts(id identityOptions, o userOptions) (*account.Directory, error) {
	o.SSHKey.warn(p.log, "--ssh-key")
	if err := o.check(); err != nil {
		return nil, err
	}
	source, err := repo.Open(o.Remote, repo.Options{
		Key:      o.SSHKey.Text(),
		HostKeys: o.SSHAuthenticator,
		RSA:      func(seed string) (*rsa.PrivateKey, error) { return fortuna.RSA([]byte(seed), 4096) },
	})
	if err != nil {
		return nil, fmt.Errorf("users repository: %w", err)
	}
	postmaster, err := id.postmaster()
	if err != nil {
		return nil, fmt.Errorf("postmaster: %w", err)
	}
	ctx, cancel := context.WithTimeout(p.front, time.Minute)
	defer cancel()
	d, err := account.Open(ctx, source, account.Settings{Domain: id.Domain, Postmaster: postmaster, Separator: o.Separator, Trust: !o.Confirm})
	if err != nil {
		return nil, fmt.Errorf("users repository: %w", err)
	}
	d.Poll, d.Log = time.Duration(o.Poll), p.log
	for u := range d.Book().Weak() {
		p.log.Warn("the password is kept in a weak form (BLAKE2b without salt): hash it anew", "user", u.Address().String())
	}
	p.behind("accounts", func(ctx context.Context) error { d.Run(ctx); return nil })
	p.hangup("users", d.Refresh)
	return d, nil
}

// certificate loads what the servers show, and loads it again on SIGHUP.
func (p *process) certificate(o tlsOptions, names ...string) (*certificate, error) {
	c, err := loadCertificate(o.Certificate, o.Key, names...)
	if err != nil {
		return nil, err
	}
	if c.SelfSigned() {
		p.log.Warn("no certificate is configured: a self-made one is shown, which mail programs will not trust", "names", strings.Join(names, " "))
	}
	p.hangup("certificate", func(context.Context) error { return c.Reload() })
	return c, nil
}

// names asks the name servers of the options, or the machine's own, and remembers.
func names(o []string) (dns.Exchanger, error) {
	if len(o) == 0 {
		return &dns.Cache{Next: dns.System()}, nil
	}
	c := &dns.Client{}
	for _, text := range o {
		n, err := dns.ParseNameserver(text)
		if err != nil {
			return nil, fmt.Errorf("nameserver: %w", err)
		}
		c.Servers = append(c.Servers, n)
	}
	return &dns.Cache{Next: c}, nil
}

// nextHop speaks to the stage behind us.
func nextHop(name, destination string) (mail.Handler, error) {
	if destination == "" {
		return nil, errors.New("no --destination: where does the mail go from here?")
	}
	dial, err := dialer(destination)
	if err != nil {
		return nil, err
	}
	return &smtp.NextHop{Name: name, Host: destination, Dial: dial, Inner: true, MaxConns: 100}, nil
}

func (p *process) submitter(accounts *account.Directory, o submitOptions, cert *certificate, next mail.Handler) *submit.Submitter {
	return &submit.Submitter{
		Accounts:    accounts,
		Certificate: func(*tls.ConnectionState) *x509.Certificate { return cert.Leaf() },
		Rates:       submit.Rates{MessagesPerMinute: o.PerMinute, RecipientsPerDay: o.PerDay},
		Log:         p.log,
		Next:        next,
	}
}

// submission opens the edge for our users.
func (p *process) submission(id identityOptions, o submitOptions, l limitOptions, spool string, cert *certificate, s *submit.Submitter) error {
	edge := func() *smtp.Server {
		return &smtp.Server{
			Name: id.Name, Domain: id.Domain, TLS: cert.Config(), Auth: s, RequireAuth: true, Gate: s,
			Next: p.obs.stage("submit", true, s), HideClient: !o.ShowClient,
			Limits: l.limits(), Proxy: len(l.Proxy) > 0, ProxyFrom: l.Proxy, Spool: spool,
		}
	}
	implicit := func(l net.Listener) net.Listener { return tls.NewListener(l, smtp.ServerTLS(cert.Config())) }
	if err := p.server("submissions", edge(), o.TLSListen, implicit); err != nil {
		return err
	}
	return p.server("submission", edge(), o.StartTLSListen, nil)
}

// limits leaves files for deliveries, look-ups and the spool: each edge gets a third of those that
// the process may have open.
func (l limitOptions) limits() smtp.Limits {
	connections := l.MaxConnections
	var files syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files) == nil && files.Cur/3 < uint64(connections) {
		connections = max(int(files.Cur/3), 1)
	}
	return smtp.Limits{
		Connections: connections, PerAddress: l.PerAddress, PerNetwork: l.PerNetwork,
		Recipients: l.MaxRecipients, Message: mail.Limits{Size: int64(l.MaxSize)},
	}
}

// inner opens the way in for the stage before us.
func (p *process) inner(name string, id identityOptions, o innerOptions, l limitOptions, spool string, h mail.Handler) error {
	return p.server(name, &smtp.Server{
		Name: id.Name, Domain: id.Domain, Inner: true, AcceptData: o.AcceptData, From: p.trusted(o.From),
		Next: p.obs.stage(name, true, h), Limits: smtp.Limits{Message: mail.Limits{Size: int64(l.MaxSize)}}, Spool: spool,
	}, o.Listen, nil)
}

// signer makes the stage that signs for every domain that is hosted, and seals under our own what
// the verifier of this name has let in.
func (p *process) signer(domain, verifier string, domains []string, o signOptions, folder string, all string, next mail.Handler) (*sign.Signer, error) {
	o.PrivateKey.warn(p.log, "--private-key")
	keys, err := signingKeys(o, folder)
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, errors.New("no DKIM key is given (--private-key @FILE, or --dkim-key SELECTOR=FILE)")
	}
	s := &sign.Signer{Keys: map[string][]sign.Key{}, All: all, Lifetime: time.Duration(o.Expire), Next: next}
	if o.Fields != "" {
		s.Fields = strings.Split(o.Fields, ":")
	}
	if o.Seal {
		s.Seal = p.seal(domain, verifier, keys)
	}
	for _, d := range domains {
		s.Keys[d] = keys
		for _, k := range keys {
			record, err := recordOf(k, d)
			if err != nil {
				return nil, err
			}
			if !o.publishes() {
				p.log.Info("DKIM record to publish", "record", record)
			}
		}
	}
	return s, s.Check()
}

// seal returns the seal with the first RSA key, as receivers know no other kind in ARC.
func (p *process) seal(domain, verifier string, keys []sign.Key) *sign.Seal {
	for _, k := range keys {
		if _, ok := k.Private.Public().(*rsa.PublicKey); ok {
			return &sign.Seal{AuthServID: verifier, Domain: domain, Selector: k.Selector, Key: k.Private}
		}
	}
	p.log.Warn("forwarded mail is not sealed with ARC: there is no RSA key")
	return nil
}

// newReturnPath makes what rewrites senders for forwarding, and finds them again. Without a
// key nothing can be found.
func newReturnPath(domain string, key []byte) (*srs.Rewriter, error) {
	if len(key) > 0 && len(key) < srs.MinKey {
		return nil, fmt.Errorf("--srs-key: a key has at least %d octets", srs.MinKey)
	}
	return &srs.Rewriter{Domain: domain, Keys: [][]byte{key}}, nil
}

// leadsBack reports whether an address leads back to a sender.
func leadsBack(back *srs.Rewriter) func(mail.Address) bool {
	return func(a mail.Address) bool {
		_, err := back.Reverse(a, time.Now())
		return err == nil
	}
}

// forwarder makes the stage that knows where our users live. Its key makes return addresses
// and loop marks; without one in the options it is kept in the folder.
func (p *process) forwarder(domain string, accounts *account.Directory, o forwardOptions, folder string, next mail.Handler) (*forward.Forwarder, *srs.Rewriter, error) {
	o.Key.warn(p.log, "--srs-key")
	key := o.Key.Bytes()
	if o.Key.IsZero() {
		var err error
		if key, err = ensureSecret(filepath.Join(folder, "srs.key")); err != nil {
			return nil, nil, err
		}
	}
	back, err := newReturnPath(domain, key)
	if err != nil {
		return nil, nil, err
	}
	return &forward.Forwarder{Accounts: accounts, SRS: back, Mark: key, Next: next}, back, nil
}

// verifier makes the edge towards the world. accounts may be nil.
func (p *process) verifier(id identityOptions, o verifyOptions, ask dns.Exchanger, accounts *account.Directory, returns func(mail.Address) bool, next mail.Handler) *verify.Verifier {
	return &verify.Verifier{
		Name: id.Name, Resolver: ask, Accounts: accounts, Domains: []string{id.Domain}, Returns: returns,
		LabelOnly: !o.HonourReject, PublicSuffixes: true, Next: next,
	}
}

// mx opens the edge towards the world.
func (p *process) mx(id identityOptions, o verifyTable, l limitOptions, spool string, cert *certificate, v *verify.Verifier) error {
	return p.server("mx", &smtp.Server{
		Name: id.Name, Domain: id.Domain, TLS: cert.Config(), Gate: v, Next: p.obs.stage("verify", true, v),
		GreetDelay: time.Duration(o.GreetDelay), Limits: l.limits(), Proxy: len(l.Proxy) > 0, ProxyFrom: l.Proxy, Spool: spool,
	}, o.Listen, nil)
}

// queue opens the spool. What it holds is delivered after p.deliver.
func (p *process) queue(id identityOptions, o queueOptions) (*queue.Queue, error) {
	q, err := queue.Open(o.Spool, queue.Settings{
		Name: id.Name, Postmaster: mail.MustParseAddress("postmaster@" + id.Domain), AuthServID: cmp.Or(o.AuthServID, id.Name),
		FirstRetry: time.Duration(o.RetryFirst), MaxRetry: time.Duration(o.RetryMax), Life: time.Duration(o.Life),
		DelayAfter: orNever(time.Duration(o.DelayNotice)), Concurrency: o.Concurrency, PerDestination: o.PerDomain, Log: p.log,
	})
	if err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	p.closing(q.Close)
	return q, nil
}

func orNever(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

// deliver starts to deliver what the queue holds.
func (p *process) deliver(q *queue.Queue, spool string, c courier, reports mail.Handler) {
	q.Courier, q.Reports = observedCourier{p.obs, c}, reports
	p.behind("queue", q.Run)
	p.behind("queue control", func(ctx context.Context) error { return q.ServeControl(ctx, queue.ControlSocket(spool)) })
}

// relay makes the courier that carries mail to the servers of the world.
func (p *process) relay(id identityOptions, o relayOptions, ask dns.Exchanger, accounts *account.Directory, back *srs.Rewriter) (*relay.Relay, error) {
	if o.Port < 1 || o.Port > 65535 {
		return nil, fmt.Errorf("relay port %d: no port", o.Port)
	}
	r := &relay.Relay{
		Name: id.Name, Names: ask, SRS: back, Port: uint16(o.Port), Source: o.Source, NoIPv6: o.NoIPv6, OurAddrs: o.Source,
		OurDomains: func(domain string) bool { return accounts.Book().Hosts(domain) },
	}
	for _, text := range o.Route {
		route, err := relay.ParseRoute(text)
		if err != nil {
			return nil, err
		}
		r.Routes = append(r.Routes, route)
	}
	if o.AllowLoopback {
		r.Allow = privateNetworks()
	}
	p.closing(r.Close)
	return r, nil
}

// privateNetworks are those where no mail server of the world is.
func privateNetworks() (out []netip.Prefix) {
	for _, text := range []string{"127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"} {
		out = append(out, netip.MustParsePrefix(text))
	}
	return out
}

// stateFolder makes a folder that is nobody else's.
func stateFolder(dir string) error {
	if dir == "" {
		return errors.New("no folder for the queue is named (--spool DIR)")
	}
	return os.MkdirAll(dir, 0o700)
}
