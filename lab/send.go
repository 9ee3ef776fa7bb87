package lab

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"stagecoach/mail"
	"stagecoach/rfc/dns"
	"stagecoach/rfc/smtp"
)

// Outgoing is a mail that a provider sends. From and To are needed.
type Outgoing struct {
	From    string   // address in the From field
	Sender  string   // MAIL FROM; "" is From, "<>" is the null path
	To      []string // RCPT TO, and the To field
	Subject string
	Text    string // LF line ends will do
	Header  string // more fields, complete lines
	Raw     []byte // the whole message with CRLF, in place of Subject, Text and Header

	Unsigned bool       // without DKIM
	Clear    bool       // without TLS
	Via      netip.Addr // from this address of the lab instead of the provider's host: for spoofs
	Hello    string     // in EHLO; "" is the name of the provider's host
	UTF8     bool       // SMTPUTF8
}

// Send delivers a mail to the MX hosts of its recipients, found in the lab's DNS, at once and
// without a queue. The error joins those of all recipients who do not have it; a
// *mail.Refusal in it is the receiver's answer.
func (p *Provider) Send(ctx context.Context, o Outgoing) error {
	m, err := p.write(o)
	if err != nil {
		return fmt.Errorf("%s: %w", p.Domain, err)
	}
	return p.deliver(ctx, m, o)
}

// write makes the mail, and signs it.
func (p *Provider) write(o Outgoing) (*mail.Mail, error) {
	m := &mail.Mail{Envelope: mail.Envelope{Body: mail.Body8BitMIME, UTF8: o.UTF8}}
	if sender := cmp.Or(o.Sender, o.From); sender != "<>" {
		a, err := mail.ParseAddress(sender)
		if err != nil {
			return nil, err
		}
		m.Envelope.From = a
	}
	for _, to := range o.To {
		a, err := mail.ParseAddress(to)
		if err != nil {
			return nil, err
		}
		m.Envelope.To = append(m.Envelope.To, mail.Recipient{Address: a})
	}
	if len(o.To) == 0 {
		return nil, errors.New("a mail needs a recipient")
	}
	raw := o.Raw
	if raw == nil {
		raw = o.text(p.Domain)
	}
	m.Message = mail.NewMessage(raw)
	if o.Unsigned {
		return m, nil
	}
	fields, err := p.sign(m.Message)
	if err != nil {
		return nil, err
	}
	m.Message.Header.Prepend(fields...)
	return m, nil
}

func (o *Outgoing) text(domain string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "From: %s\nTo: %s\nSubject: %s\n", o.From, strings.Join(o.To, ", "), o.Subject)
	fmt.Fprintf(&b, "Date: %s\nMessage-ID: <%s@%s>\n", time.Now().Format(time.RFC1123Z), strings.ToLower(rand.Text()), domain)
	b.WriteString("MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n")
	if o.Header != "" {
		b.WriteString(strings.TrimRight(o.Header, "\r\n") + "\n")
	}
	b.WriteString("\n" + o.Text)
	if !strings.HasSuffix(o.Text, "\n") {
		b.WriteString("\n")
	}
	return []byte(strings.ReplaceAll(strings.ReplaceAll(b.String(), "\r\n", "\n"), "\n", "\r\n"))
}

// deliver carries one copy to each domain.
func (p *Provider) deliver(ctx context.Context, m *mail.Mail, o Outgoing) error {
	byDomain := make(map[string][]mail.Recipient)
	for _, to := range m.Envelope.To {
		byDomain[to.Domain()] = append(byDomain[to.Domain()], to)
	}
	var failed []error
	for domain, to := range byDomain {
		c := m.Clone()
		c.Envelope.To = to
		if err := p.carry(ctx, c, domain, o); err != nil {
			failed = append(failed, fmt.Errorf("%s to %s: %w", p.Domain, domain, err))
		}
	}
	return errors.Join(failed...)
}

// carry tries the MX hosts of a domain in their order until one answers.
func (p *Provider) carry(ctx context.Context, m *mail.Mail, domain string, o Outgoing) error {
	hosts, err := dns.MX(ctx, p.names, domain)
	if errors.Is(err, dns.ErrNoData) {
		hosts, err = []dns.MailServer{{Host: domain}}, nil // RFC 5321 section 5.1
	}
	if err != nil {
		return err
	}
	failed := fmt.Errorf("no MX host of %s has an address", domain)
	for _, host := range hosts {
		found, err := dns.Addrs(ctx, p.names, host.Host)
		if err != nil {
			failed = err
			continue
		}
		for _, a := range found {
			if !p.lab.net.holds(a) {
				continue
			}
			if failed = errors.Join(p.hop(host.Host, a, o).Carry(ctx, m)...); !unreached(failed) {
				return failed
			}
		}
	}
	return failed
}

// unreached reports whether another host is worth a try: this one has not judged the mail.
func unreached(err error) bool {
	var h *smtp.HopError
	return errors.As(err, &h) && h.Elsewhere
}

// hop is a connection to one host, from the provider's own address, which is closed after
// its mail.
func (p *Provider) hop(host string, to netip.Addr, o Outgoing) *smtp.NextHop {
	from := p.Addr
	if o.Via.IsValid() {
		from = o.Via
	}
	h := &smtp.NextHop{
		Name: cmp.Or(o.Hello, p.MX), Host: host, MaxIdle: -1,
		Timeouts: smtp.Timeouts{Connect: 5 * time.Second, Greeting: 30 * time.Second, Command: 30 * time.Second},
		Dial: func(ctx context.Context) (net.Conn, error) {
			d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
			return d.DialContext(ctx, "tcp4", netip.AddrPortFrom(to, p.lab.net.smtpPort).String())
		},
	}
	if o.Clear {
		h.Security = smtp.TLSNone
	}
	return h
}

// passOn sends a received mail on for a user who wants that, as Gmail does it: the message as
// it came, with an envelope sender of the provider's own that names user and target.
func (p *Provider) passOn(u *User, r *Received) {
	u.mu.Lock()
	to := u.forward
	u.mu.Unlock()
	if to.IsZero() {
		return
	}
	sender, err := mail.NewAddress(fmt.Sprintf("%s+caf_=%s=%s", u.Address.Local(), to.Local(), to.Domain()), p.Domain)
	if err != nil {
		sender = u.Address
	}
	m := &mail.Mail{
		Envelope: mail.Envelope{From: sender, To: []mail.Recipient{{Address: to}}, Body: r.Envelope.Body, UTF8: r.Envelope.UTF8},
		Message:  r.Message(),
	}
	m.Message.Header.Prepend(mail.NewField("X-Forwarded-To", to.String()), mail.NewField("X-Forwarded-For", u.Address.String()+" "+to.String()))
	p.lab.run("forwarding by "+p.MX, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		if err := p.deliver(ctx, m, Outgoing{}); err != nil {
			u.mu.Lock()
			defer u.mu.Unlock()
			u.failed = append(u.failed, err)
		}
		return nil
	})
}
