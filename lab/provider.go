package lab

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"

	"stagecoach/mail"
	"stagecoach/rfc/dkim"
	"stagecoach/rfc/dns"
	"stagecoach/rfc/smtp"
)

// A Policy is what a provider does and publishes.
type Policy struct {
	Rules Rules
	DMARC string // p= of its DMARC record: "none", "quarantine", "reject"; "" publishes none
}

// A Provider is a domain with users: it receives for them, by its rules, and sends for them,
// signed. Its MX record, addresses, SPF, DKIM and DMARC records stand in the lab's DNS.
type Provider struct {
	Domain string
	MX     string     // its one host
	Addr   netip.Addr // of that host, from which it sends as well

	lab    *Lab
	policy Policy
	names  dns.Exchanger
	keys   func() ([]dkim.Signer, error)
	log    *slog.Logger

	mu    sync.Mutex
	users map[string]*User
	bulk  map[string]bool
}

// NewProvider adds a domain below example. or test., with its zone and its running MX host.
func (l *Lab) NewProvider(domain string, policy Policy) (*Provider, error) {
	p := &Provider{
		Domain: domain, MX: "mx." + domain, lab: l, policy: policy, names: l.Names(),
		log: l.log.With("host", "mx."+domain), users: make(map[string]*User), bulk: make(map[string]bool),
	}
	p.keys = sync.OnceValues(p.makeKeys)
	var err error
	if p.Addr, err = l.net.next(); err != nil {
		return nil, err
	}
	if err := p.publish(); err != nil {
		return nil, fmt.Errorf("%s: %w", domain, err)
	}
	cert, err := l.CA.Issue(p.MX)
	if err != nil {
		return nil, err
	}
	listener, err := l.net.listenSMTP(l.ctx, p.Addr)
	if err != nil {
		return nil, err
	}
	s := &smtp.Server{
		Name: p.MX, Domain: domain,
		TLS:  &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12},
		Gate: p, Next: p, Log: p.log,
		Limits: smtp.Limits{PerAddress: -1, PerNetwork: -1, Rate: -1, Unknown: -1},
	}
	l.run(p.MX, func(ctx context.Context) error { return s.Serve(ctx, listener) })
	return p, nil
}

// publish makes the zone of the domain. Its keys come later, see sign.
func (p *Provider) publish() error {
	zone := fmt.Sprintf("@ MX 10 mx\n@ TXT \"v=spf1 ip4:%s -all\"\nmx A %s\nmx TXT \"v=spf1 a -all\"\n", p.Addr, p.Addr)
	if p.policy.DMARC != "" {
		zone += fmt.Sprintf("_dmarc TXT \"v=DMARC1; p=%s\"\n", p.policy.DMARC)
	}
	if err := p.lab.AddZone(p.Domain, zone); err != nil {
		return err
	}
	return p.lab.SetPTR(p.Addr, p.MX)
}

// makeKeys makes and publishes an RSA and an Ed25519 key. It waits for the first mail to be
// signed, as an RSA key takes longer to make than all the rest of a lab.
func (p *Provider) makeKeys() ([]dkim.Signer, error) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	keys := []dkim.Signer{
		{Domain: p.Domain, Selector: "rsa", Key: rsaKey},
		{Domain: p.Domain, Selector: "ed", Key: edKey},
	}
	for _, k := range keys {
		rr, err := dkim.Record(k.Selector, k.Domain, k.Key.Public())
		if err != nil {
			return nil, err
		}
		if err := p.lab.SetRecords(rr); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// sign returns the signatures of the domain.
func (p *Provider) sign(m *mail.Message) ([]mail.Field, error) {
	keys, err := p.keys()
	if err != nil {
		return nil, err
	}
	return dkim.Sign(m, keys...)
}

// Bulk says whether the mail of an author's domain is judged by the rules for bulk senders.
func (p *Provider) Bulk(domain string, yes bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bulk[domain] = yes
}

func (p *Provider) isBulk(domain string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bulk[domain]
}

// A User is a mailbox at a provider.
type User struct {
	*Inbox
	Address mail.Address

	mu      sync.Mutex
	state   State
	forward mail.Address
	failed  []error
}

// State says whether a mailbox takes mail.
type State int

// The states of a mailbox.
const (
	Open State = iota
	Full
	Gone // the user was deleted: unknown
)

// AddUser adds a mailbox, or returns the one that is there. It panics when local is no local
// part of an address.
func (p *Provider) AddUser(local string) *User {
	a := mail.MustParseAddress(local + "@" + p.Domain)
	p.mu.Lock()
	defer p.mu.Unlock()
	key := strings.ToLower(a.Local())
	if p.users[key] == nil {
		p.users[key] = &User{Inbox: newInbox(), Address: a}
	}
	return p.users[key]
}

// User returns a mailbox, nil when nobody has that name.
func (p *Provider) User(local string) *User {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.users[strings.ToLower(local)]
}

// Set changes the state of the mailbox.
func (u *User) Set(s State) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.state = s
}

// Forward has every mail sent on to another address as well, as a user sets it up in the web
// page of the provider; the zero Address ends it.
func (u *User) Forward(to mail.Address) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.forward = to
}

// Failures returns what went wrong with forwarding.
func (u *User) Failures() []error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]error(nil), u.failed...)
}

// Admit answers RCPT.
func (p *Provider) Admit(_ context.Context, _ *mail.Mail, to mail.Address) error {
	if to.Domain() != p.Domain {
		return p.policy.Rules.NotOurs
	}
	u := p.User(to.Local())
	if u == nil && strings.EqualFold(to.Local(), "postmaster") {
		u = p.AddUser("postmaster")
	}
	if u == nil {
		return p.policy.Rules.Unknown
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	switch u.state {
	case Full:
		return p.policy.Rules.Full
	case Gone:
		return p.policy.Rules.Unknown
	}
	return nil
}

// Handle judges a mail and puts it into the mailboxes of its recipients.
func (p *Provider) Handle(ctx context.Context, m *mail.Mail) error {
	e := p.gather(ctx, m)
	spam := false
	if p.policy.Rules.Judge != nil {
		var err error
		if spam, err = p.policy.Rules.Judge(e); err != nil {
			p.log.Info("refused", "from", m.Envelope.From, "error", err)
			return err
		}
	}
	r := e.received(p.MX, m)
	r.Spam = spam
	var failed error
	for _, to := range m.Envelope.To {
		u := p.User(to.Local())
		if u == nil {
			failed = errors.Join(failed, p.policy.Rules.Unknown)
			continue
		}
		if err := u.put(r); err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		p.log.Info("received", "from", m.Envelope.From, "to", to.Address, "evidence", e.Error())
		p.passOn(u, r)
	}
	return failed
}

var (
	_ mail.Handler = (*Provider)(nil)
	_ smtp.Gate    = (*Provider)(nil)
)
