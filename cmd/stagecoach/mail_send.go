package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	our "stagecoach/mail"
	"stagecoach/rfc/dns"
	"stagecoach/rfc/smtp"
	"stagecoach/stage/relay"
	toolmime "stagecoach/tool/mime"
)

// envelopeOptions say from whom to whom.
type envelopeOptions struct {
	Sender    string   `short:"s" help:"Address for MAIL FROM, <> for none (default: the author)." placeholder:"ADDRESS"`
	Recipient []string `short:"r" help:"Address for RCPT TO; may be repeated (default: those of To, Cc and Bcc)." placeholder:"ADDRESS" sep:"none"`
	Hostname  string   `help:"What to say in EHLO (default: this machine's name)." placeholder:"NAME"`
}

// mail makes what is sent: Bcc is struck out, which is for the sender alone (RFC 5322
// section 3.6.3).
func (o envelopeOptions) mail(l *letter) (*our.Mail, error) {
	crlf := bytes.Count(l.raw, []byte("\r\n"))
	if bytes.Count(l.raw, []byte("\n")) != crlf || bytes.Count(l.raw, []byte("\r")) != crlf {
		return nil, errors.New("the mail has lone CR or LF, which no server takes; --newline lf makes CRLF of each LF")
	}
	m := &our.Mail{Message: l.message()}
	if err := o.sender(m); err != nil {
		return nil, err
	}
	if err := o.recipients(m); err != nil {
		return nil, err
	}
	m.Message.Header.Strike(func(f our.Field) bool { return f.Is("Bcc") })
	for f := range m.Message.Header.All() {
		m.Envelope.UTF8 = m.Envelope.UTF8 || !isASCII(f.Raw())
	}
	if !isASCII(string(l.raw)) {
		m.Envelope.Body = our.Body8BitMIME
	}
	return m, nil
}

func (o envelopeOptions) sender(m *our.Mail) error {
	var err error
	switch o.Sender {
	case "<>":
	case "":
		m.Envelope.From, err = m.Message.Header.Author()
		if err != nil {
			return fmt.Errorf("who sends? give --sender: %w", err)
		}
	default:
		m.Envelope.From, err = our.ParseAddress(strings.Trim(o.Sender, "<>"))
	}
	m.Envelope.UTF8 = !m.Envelope.From.IsASCII()
	return err
}

func (o envelopeOptions) recipients(m *our.Mail) error {
	list := o.Recipient
	if len(list) == 0 {
		for _, name := range []string{"To", "Cc", "Bcc"} {
			for f := range m.Message.Header.Fields(name) {
				boxes, _ := toolmime.ParseMailboxes(f.Value())
				for _, b := range boxes {
					list = append(list, b.Addr)
				}
			}
		}
	}
	for _, text := range list {
		a, err := our.ParseAddress(strings.Trim(text, "<>"))
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(m.Envelope.To, func(r our.Recipient) bool { return r.Address == a }) {
			m.Envelope.To = append(m.Envelope.To, our.Recipient{Address: a})
		}
		m.Envelope.UTF8 = m.Envelope.UTF8 || !a.IsASCII()
	}
	if len(m.Envelope.To) == 0 {
		return errors.New("to whom? give --recipient")
	}
	return nil
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

func (o envelopeOptions) name() string {
	if o.Hostname != "" {
		return o.Hostname
	}
	name, err := os.Hostname()
	if err != nil || !strings.Contains(name, ".") {
		return "" // NextHop says the address literal of our end
	}
	return name
}

type mailSendCmd struct {
	mailGiven       `embed:""`
	Server          string `arg:"" optional:"" help:"IP[:PORT], HOST:PORT, unix:PATH, or a domain whose mail servers are asked for; - prints the dialogue and sends nothing; without it each recipient's domain is asked for." placeholder:"SERVER"`
	envelopeOptions `embed:""`
	namesOptions    `embed:""`
	Port            uint16 `name:"mx-port" help:"Port of the mail servers that are found by name." default:"25"`
	AllowLoopback   bool   `help:"Deliver to mail servers on loopback and private addresses, for tests."`
}

// Help shows examples.
func (mailSendCmd) Help() string {
	return `One line says what became of each recipient. A mail with LF is sent with CRLF; Bcc fields are struck out.
Exit status: 0 all have it, 2 somebody was refused for good, 75 try again later, 1 other trouble.

Examples:

  stagecoach mail make --from ann@example.org --to bob@example.net body.txt | stagecoach mail send - 127.0.0.1:2525
  stagecoach mail send --sender foo@example.org -r bar@example.net hello.eml example.net
  stagecoach mail send -s ann@example.org -r bob@example.net hello.eml -`
}

// Run sends the mail.
func (c mailSendCmd) Run(ctx context.Context) error {
	l, err := c.read()
	if err != nil {
		return err
	}
	m, err := c.mail(l)
	if err != nil {
		return err
	}
	if c.Server == "-" {
		return dialogue(ctx, os.Stdout, c.name(), m)
	}
	hop, done, err := c.courier(ctx)
	if err != nil {
		return err
	}
	defer done()
	return fates(m, hop.Carry(ctx, m))
}

// fates says what became of each recipient; the worst of it is the error.
func fates(m *our.Mail, results []error) error {
	var permanent, temporary error
	for i, err := range results {
		to := m.Envelope.To[i].Address
		var sent smtp.Unreported
		switch {
		case err == nil || errors.As(err, &sent):
			fmt.Printf("%s: sent\n", to)
			continue
		case our.IsPermanent(err):
			permanent = err
		default:
			temporary = err
		}
		fmt.Printf("%s: %s\n", to, printable(err.Error()))
	}
	if permanent != nil {
		return no("refused for good")
	}
	if temporary != nil {
		return later("not sent, try again later")
	}
	return nil
}

// courier chooses how the mail goes.
func (c mailSendCmd) courier(ctx context.Context) (courier, func() error, error) {
	ask, err := c.open()
	if err != nil {
		return nil, nil, err
	}
	if c.Server == "" {
		name := c.name()
		if name == "" {
			return nil, nil, errors.New("this machine has no full name; the world's servers want one: give --hostname")
		}
		r := &relay.Relay{Name: name, Names: ask, Port: c.Port}
		if c.AllowLoopback {
			r.Allow = privateNetworks()
		}
		return r, r.Close, nil
	}
	hosts := []string{c.Server}
	if isDomain(c.Server) {
		if hosts, err = c.exchangers(ctx, ask); err != nil {
			return nil, nil, err
		}
	}
	var hops inTurn
	for _, host := range hosts {
		dial, err := dialer(unixPath(host))
		if err != nil {
			return nil, nil, err
		}
		hops = append(hops, &smtp.NextHop{Name: c.name(), Host: host, Dial: dial, MaxIdle: -1})
	}
	return hops, hops.Close, nil
}

func unixPath(s string) string {
	if strings.Contains(s, "/") && !strings.HasPrefix(s, "unix:") {
		return "unix:" + s
	}
	return s
}

// isDomain reports whether the text names a domain, not a host with a port, an address or a
// socket.
func isDomain(s string) bool {
	if _, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil || strings.ContainsAny(s, ":/") {
		return false
	}
	_, err := our.CanonicalDomain(s)
	return err == nil && strings.Contains(s, ".")
}

// exchangers returns the addresses of a domain's mail servers, the most preferred first; a
// domain without MX is its own (RFC 5321 section 5.1).
func (c mailSendCmd) exchangers(ctx context.Context, ask dns.Exchanger) ([]string, error) {
	servers, err := dns.MX(ctx, ask, c.Server)
	switch {
	case errors.Is(err, dns.ErrNoData):
		servers = []dns.MailServer{{Host: c.Server}}
	case errors.Is(err, dns.ErrNotExist):
		return nil, no("%s: %w", c.Server, err)
	case err != nil:
		return nil, later("%s: %w", c.Server, err)
	}
	var out []string
	var trouble error
	for _, s := range servers {
		if s.Host == "" {
			return nil, no("%s takes no mail (RFC 7505)", c.Server)
		}
		ips, err := dns.Addrs(ctx, ask, s.Host)
		if err != nil {
			trouble = errors.Join(trouble, fmt.Errorf("%s: %w", s.Host, err))
		}
		for _, ip := range ips {
			out = append(out, netip.AddrPortFrom(ip, c.Port).String())
		}
	}
	if len(out) == 0 {
		return nil, later("no mail server of %s has an address: %w", c.Server, trouble)
	}
	return out, nil
}

// inTurn tries servers until one of them judges the mail.
type inTurn []*smtp.NextHop

// Carry returns one result for each recipient.
func (t inTurn) Carry(ctx context.Context, m *our.Mail) []error {
	var results []error
	for _, hop := range t {
		results = hop.Carry(ctx, m.Clone())
		if !slices.ContainsFunc(results, elsewhere) {
			break
		}
	}
	return results
}

func elsewhere(err error) bool {
	var at *smtp.HopError
	return errors.As(err, &at) && at.Elsewhere
}

// Close ends the connections.
func (t inTurn) Close() error {
	var err error
	for _, hop := range t {
		err = errors.Join(err, hop.Close())
	}
	return err
}
