package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	our "stagecoach/mail"
	"stagecoach/rfc/dns"
	"stagecoach/rfc/dns/dnstest"
	"stagecoach/tool/trace"
)

// namesOptions say who answers questions about names.
type namesOptions struct {
	Nameserver []string `short:"n" help:"Where to ask for names: udp:IP[:PORT], tcp:IP[:PORT] or tls:IP[:PORT][!NAME] (default: this machine's resolver)." placeholder:"NS"`
	DNSStatic  string   `name:"dns-static" env:"STAGECOACH_DNS_STATIC" help:"Ask nobody: answer from the zone files in this folder, each named after its zone. What is in none does not exist." placeholder:"DIR"`
}

func (o namesOptions) open() (dns.Exchanger, error) {
	if o.DNSStatic == "" {
		return names(o.Nameserver)
	}
	return staticNames(o.DNSStatic)
}

// staticNames reads a folder of zone files. Names in a file are relative to its name,
// without ".zone" where it ends so; a file whose name is no domain has names relative to
// the root.
func staticNames(dir string) (dns.Exchanger, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	world, err := dnstest.New(". 300 SOA localhost. root.localhost. 1 7200 900 1209600 300")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		origin := "$ORIGIN .\n"
		if d, err := our.CanonicalDomain(strings.TrimSuffix(e.Name(), ".zone")); err == nil && strings.Contains(d, ".") {
			origin = "$ORIGIN " + d + ".\n"
		}
		if err := world.Add(origin + string(text)); err != nil {
			return nil, fmt.Errorf("%s: %w", e.Name(), err)
		}
	}
	return world, nil
}

// withKeys answers for DKIM keys that were given on the command line, each as
// SELECTOR:DOMAIN:KEY, and passes other questions on.
func withKeys(x dns.Exchanger, keys []string) (dns.Exchanger, error) {
	if len(keys) == 0 {
		return x, nil
	}
	own, err := dnstest.New(". 300 SOA localhost. root.localhost. 1 7200 900 1209600 300")
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, k := range keys {
		name, record, err := givenKey(k)
		if err != nil {
			return nil, err
		}
		if err := own.Add(record); err != nil {
			return nil, err
		}
		known[dns.Canonical(name)] = true
	}
	return exchangeFunc(func(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
		if len(q.Question) == 1 && known[dns.Canonical(q.Question[0].Name)] {
			return own.Exchange(ctx, q)
		}
		return x.Exchange(ctx, q)
	}), nil
}

type exchangeFunc func(ctx context.Context, q *dns.Msg) (*dns.Msg, error)

// Exchange calls f.
func (f exchangeFunc) Exchange(ctx context.Context, q *dns.Msg) (*dns.Msg, error) { return f(ctx, q) }

// clientOptions say whose mail it was. What is not given is taken from the mail.
type clientOptions struct {
	IP     netip.Addr `name:"ip" help:"Address of the client that handed the mail in (default: of Received-SPF, or of the topmost Received that has one)." placeholder:"IP"`
	Helo   string     `help:"What the client said in HELO or EHLO (default: as for --ip)." placeholder:"NAME"`
	Sender string     `short:"s" help:"Address in MAIL FROM (default: of Received-SPF, or of Return-Path); <> for none." placeholder:"ADDRESS"`
}

// A client is who handed a mail in.
type client struct {
	ip     netip.Addr
	helo   string
	sender our.Address
	source string // where that is known from
}

var errNoClient = errors.New("nobody knows which client handed the mail in: give --ip, and --sender or --helo")

func (o clientOptions) find(h *our.Header) (client, error) {
	c := client{ip: o.IP.Unmap(), helo: o.Helo, source: "the command line"}
	sender := o.Sender
	if h != nil {
		sender = c.fill(h, sender)
	}
	if !c.ip.IsValid() {
		return c, errNoClient
	}
	sender = strings.Trim(sender, "<> ")
	if sender == "" {
		if c.helo == "" {
			return c, errNoClient
		}
		return c, nil
	}
	var err error
	c.sender, err = our.ParseAddress(sender)
	return c, err
}

// fill takes what is missing from the header, and returns the sender.
func (c *client) fill(h *our.Header, sender string) string {
	ip, helo, from := receivedSPF(h.Value("Received-SPF"))
	source := "Received-SPF"
	if !ip.IsValid() {
		for f := range h.Fields("Received") {
			if hop := trace.Parse(f.Value()); hop.IP.IsValid() {
				ip, helo, source = hop.IP, hop.From, "the Received field of "+hop.By
				break
			}
		}
	}
	if !c.ip.IsValid() && ip.IsValid() {
		c.ip, c.source = ip, source
	}
	if c.helo == "" {
		c.helo = helo
	}
	if sender != "" {
		return sender
	}
	if from == "" {
		from = h.Value("Return-Path")
	}
	return from
}

// receivedSPF reads the pairs of a Received-SPF field (RFC 7208 section 9.1).
func receivedSPF(body string) (ip netip.Addr, helo, from string) {
	if i := strings.LastIndexByte(body, ')'); i >= 0 {
		body = body[i+1:]
	}
	for pair := range strings.FieldsFuncSeq(body, func(r rune) bool { return r == ';' || r == ' ' || r == '\t' }) {
		key, value, _ := strings.Cut(pair, "=")
		value = strings.Trim(value, `"`)
		switch key {
		case "client-ip":
			ip, _ = netip.ParseAddr(value)
		case "helo":
			helo = value
		case "envelope-from":
			from = value
		}
	}
	return ip.Unmap(), helo, from
}

// moment is when a mail is judged.
type moment struct {
	At string `help:"Judge as of this time (RFC 3339), not as of now: of signatures that have expired since." placeholder:"TIME"`
}

func (m moment) time() (time.Time, error) {
	if m.At == "" {
		return time.Time{}, nil
	}
	return time.Parse(time.RFC3339, m.At)
}
