package check

import (
	"context"
	"net/netip"
	"strings"

	"stagecoach/mail"
	"stagecoach/rfc/dns"
	"stagecoach/rfc/spf"
)

// strangers are addresses that nobody sends from (RFC 5737, RFC 3849): a record that lets
// them pass lets everybody pass.
var strangers = []netip.Addr{netip.MustParseAddr("198.51.100.77"), netip.MustParseAddr("2001:db8:bad::77")}

// maxTerms is the limit of RFC 7208 section 4.6.4.
const maxTerms = 10

func checkSPF(ctx context.Context, l *look, f *findings) {
	texts, err := dns.TXT(ctx, l.env.Names, l.target.Domain)
	if err != nil && !dns.IsNegative(err) {
		f.unknown(l.target.Domain, "the record could not be looked up: %v", err)
		return
	}
	var records []string
	for _, t := range texts {
		if isSPF(t) {
			records = append(records, t)
		}
	}
	switch len(records) {
	case 0:
		f.wrong(l.target.Domain, "", "there is no SPF record")
		return
	case 1:
	default:
		f.wrong(l.target.Domain, "Join them into one.", "there are %d SPF records, which makes all of them void", len(records))
		return
	}
	sender, err := mail.NewAddress("postmaster", l.target.Domain)
	if err != nil {
		f.unknown(l.target.Domain, "%v", err)
		return
	}
	if !l.askStrangers(ctx, f, sender) {
		return
	}
	count := &termCount{ctx: ctx, x: l.env.Names}
	count.record(records[0], l.target.Domain, 0)
	if count.terms > maxTerms {
		f.note(l.target.Domain, "Replace includes by the addresses behind them.", "the record has %d terms that look something up; a receiver stops at %d", count.terms, maxTerms)
	}
	l.askOurs(ctx, f, sender)
	if !f.bad() {
		f.ok(l.target.Domain, "%s, %d of %d look-ups", records[0], count.terms, maxTerms)
	}
}

func isSPF(text string) bool {
	return strings.EqualFold(text, "v=spf1") || len(text) > 6 && strings.EqualFold(text[:7], "v=spf1 ")
}

// askStrangers judges the record by what it says of those who may not send, and returns
// whether it works at all.
func (l *look) askStrangers(ctx context.Context, f *findings, sender mail.Address) bool {
	for i, ip := range strangers {
		o := spf.Check(ctx, l.env.Names, ip, "stranger.invalid", sender)
		switch o.Result {
		case spf.PermError:
			f.wrong(l.target.Domain, "", "the record is broken: %v", o.Problem)
			return false
		case spf.TempError:
			f.unknown(l.target.Domain, "the record could not be evaluated: %v", o.Problem)
			return false
		case spf.Pass:
			f.wrong(l.target.Domain, "End the record with \"-all\" or \"~all\", and name your own addresses only.", "everybody may send for the domain (%s)", o.Mechanism)
			return false
		case spf.Neutral:
			if i == 0 {
				f.note(l.target.Domain, "End the record with \"-all\" or \"~all\".", "the record does not say that others may not send")
			}
		}
	}
	return true
}

func (l *look) askOurs(ctx context.Context, f *findings, sender mail.Address) {
	ips, _ := l.sending() //nolint:errcheck // ptr and mx tell
	for _, ip := range ips {
		o := spf.Check(ctx, l.env.Names, ip, l.ourName(), sender)
		switch o.Result {
		case spf.Pass:
		case spf.TempError:
			f.unknown(ip.String(), "the record could not be evaluated: %v", o.Problem)
		case spf.PermError:
			f.wrong(ip.String(), "", "the record is broken: %v", o.Problem)
		default:
			f.wrong(ip.String(), "", "our own address may not send: the result is %s", o.Result)
		}
		if l.target.Name == "" || l.target.Name == l.target.Domain {
			continue
		}
		if o := spf.CheckHELO(ctx, l.env.Names, ip, l.target.Name); o.Result == spf.Fail || o.Result == spf.PermError {
			f.wrong(l.target.Name, "Publish \"v=spf1 a -all\" there, or no SPF record.", "the record of the EHLO name, which counts for reports without a sender, says %s for %s", o.Result, ip)
		}
	}
}

// A termCount counts the terms of a record, with those of the records that it includes, that
// look something up (RFC 7208 section 4.6.4).
type termCount struct {
	ctx   context.Context //nolint:containedctx // of one count
	x     dns.Exchanger
	terms int
}

func (c *termCount) record(text, domain string, depth int) {
	for _, term := range strings.Fields(text)[1:] {
		term = strings.ToLower(strings.TrimLeft(term, "+-~?"))
		name, arg, _ := strings.Cut(term, ":")
		if i := strings.IndexAny(name, "/="); i >= 0 {
			name, arg = term[:i], term[i+1:]
		}
		switch name {
		case "a", "mx", "ptr", "exists":
			c.terms++
		case "include", "redirect":
			c.terms++
			if !strings.Contains(arg, "%") && arg != domain && depth < maxTerms && c.terms <= 3*maxTerms {
				c.include(arg, depth)
			}
		}
	}
}

func (c *termCount) include(domain string, depth int) {
	texts, err := dns.TXT(c.ctx, c.x, domain)
	if err != nil {
		return // the evaluation tells
	}
	for _, t := range texts {
		if isSPF(t) {
			c.record(t, domain, depth+1)
			return
		}
	}
}
