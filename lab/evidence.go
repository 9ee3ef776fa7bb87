package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"stagecoach/mail"
	"stagecoach/rfc/authres"
	"stagecoach/rfc/dkim"
	"stagecoach/rfc/dmarc"
	"stagecoach/rfc/dns"
	"stagecoach/rfc/spf"
)

// Evidence is what a receiver has found out about a mail. As an error it says what, for the
// log of a refusal.
type Evidence struct {
	Own         string // the receiver's domain
	IP          netip.Addr
	TLS         bool
	IPRev       string   // RFC 8601 section 2.7.3: "pass", "fail", "temperror"
	Host        string   // the name of IP, when IPRev is "pass"
	SPF         string   // of MAIL FROM
	SPFDomain   string   // what was looked at
	DKIM        []string // of each signature; "none" when there is none
	DMARC       string   // "pass", "fail", "none", "temperror", "permerror"
	Disposition string   // what the author's domain asks for: "none", "quarantine", "reject"
	FromFields  int
	Author      string // domain of the one author, "" when there is not exactly one
	ARC         int    // ARC sets: they are counted, not verified
	Bulk        bool   // the author's domain is taken for a bulk sender

	results []authres.Result
}

// DKIMPass reports whether a signature has verified.
func (e *Evidence) DKIMPass() bool { return slices.Contains(e.DKIM, "pass") }

// Error tells the evidence in one line.
func (e *Evidence) Error() string {
	return fmt.Sprintf("ip=%s iprev=%s tls=%t spf=%s (%s) dkim=%s dmarc=%s (%s, p=%s) from-fields=%d arc=%d bulk=%t",
		e.IP, e.IPRev, e.TLS, e.SPF, e.SPFDomain, strings.Join(e.DKIM, ","), e.DMARC, e.Author, e.Disposition, e.FromFields, e.ARC, e.Bulk)
}

// gather looks at a mail from all sides.
func (p *Provider) gather(ctx context.Context, m *mail.Mail) *Evidence {
	h := &m.Message.Header
	e := &Evidence{Own: p.Domain, IP: m.Peer.Addr, TLS: m.Peer.TLS != nil,
		FromFields: h.Count("From"), ARC: h.Count("ARC-Seal"), Disposition: "none", DMARC: "none"}
	if a, err := h.Author(); err == nil {
		e.Author = a.Domain()
		e.Bulk = p.isBulk(e.Author)
	}
	e.lookBack(ctx, p.names)
	s := spf.Check(ctx, p.names, m.Peer.Addr, m.Peer.Hello, m.Envelope.From)
	e.SPF, e.SPFDomain = string(s.Result), s.Domain
	e.note("spf", e.SPF, "", authres.Prop{Type: "smtp", Name: "mailfrom", Value: s.Sender})
	signatures := dkim.Verify(ctx, m.Message, p.names, dkim.Options{})
	for _, d := range signatures {
		e.DKIM = append(e.DKIM, string(d.Status))
		if d.Status == dkim.None {
			e.note("dkim", "none", "")
			continue
		}
		e.note("dkim", string(d.Status), d.Reason, authres.Prop{Type: "header", Name: "d", Value: d.Domain},
			authres.Prop{Type: "header", Name: "s", Value: d.Selector}, authres.Prop{Type: "header", Name: "b", Value: d.Prefix})
	}
	if e.Author != "" {
		e.evaluate(ctx, p.names, s, signatures)
	}
	if e.ARC == 0 {
		e.note("arc", "none", "")
	}
	return e
}

// evaluate holds what SPF and DKIM vouch for against the author.
func (e *Evidence) evaluate(ctx context.Context, x dns.Exchanger, s spf.Outcome, signatures []dkim.Result) {
	ev := dmarc.Evidence{SPF: dmarc.Identifier{Domain: s.Domain, Pass: s.Result == spf.Pass, Temporary: s.Result == spf.TempError}}
	for _, d := range signatures {
		ev.DKIM = append(ev.DKIM, dmarc.Identifier{Domain: d.Domain, Pass: d.Status == dkim.Pass, Temporary: d.Status == dkim.TempError})
	}
	d := dmarc.Check(ctx, x, e.Author, ev, dmarc.Options{})
	e.DMARC, e.Disposition = string(d.Value), string(d.Disposition)
	comment := ""
	if d.Record != nil {
		comment = fmt.Sprintf("p=%s dis=%s", d.Policy, d.Disposition)
	}
	e.note("dmarc", e.DMARC, comment, authres.Prop{Type: "header", Name: "from", Value: e.Author})
}

func (e *Evidence) note(method, value, comment string, props ...authres.Prop) {
	e.results = append(e.results, authres.Result{Method: method, Value: value, Comment: comment, Props: props})
}

// lookBack checks that a name of the address leads back to it (RFC 8601 section 3).
func (e *Evidence) lookBack(ctx context.Context, x dns.Exchanger) {
	e.IPRev = "fail"
	names, err := dns.PTR(ctx, x, e.IP)
	if err != nil && !errors.Is(err, dns.ErrNotExist) && !errors.Is(err, dns.ErrNoData) {
		e.IPRev = "temperror"
	}
	for _, name := range names[:min(len(names), 10)] {
		found, err := dns.Addrs(ctx, x, name)
		if err == nil && slices.Contains(found, e.IP) {
			e.IPRev, e.Host = "pass", dns.Host(name)
			break
		}
	}
	e.note("iprev", e.IPRev, e.Host, authres.Prop{Type: "policy", Name: "iprev", Value: e.IP.String()})
}

// received makes the mail as it stands in the mailbox.
func (e *Evidence) received(mx string, m *mail.Mail) *Received {
	r := &Received{At: time.Now(), Peer: m.Peer, Envelope: m.Envelope.Clone(), Results: authres.Results{ID: mx, Results: e.results}}
	m.Message.Header.Strike(func(f mail.Field) bool { return f.Is("Return-Path") })
	m.Message.Header.Prepend(r.Results.Field(), mail.NewField("Return-Path", "<"+m.Envelope.From.String()+">"))
	var raw bytes.Buffer
	m.Message.WriteTo(&raw) //nolint:errcheck // memory takes all of it, a short body shows
	r.Raw = raw.Bytes()
	return r
}
