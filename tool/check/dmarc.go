package check

import (
	"context"
	"net/url"
	"strings"

	"stagecoach/rfc/dmarc"
	"stagecoach/rfc/dns"
)

func checkDMARC(ctx context.Context, l *look, f *findings) {
	options := dmarc.Options{PublicSuffixes: true}
	r := dmarc.Check(ctx, l.env.Names, l.target.Domain, dmarc.Evidence{}, options)
	name := "_dmarc." + l.target.Domain
	texts, err := l.dmarcTexts(ctx, l.target.Domain)
	switch {
	case r.Value == dmarc.TempError || err != nil && !dns.IsNegative(err):
		f.unknown(name, "the record could not be looked up: %v", firstError(r.Problem, err))
		return
	case len(texts) > 1:
		f.wrong(name, "Leave one.", "there are %d DMARC records, which makes all of them void", len(texts))
		return
	case r.Value == dmarc.PermError:
		f.wrong(name, "", "the record is broken: %v", r.Problem)
		return
	case r.Record == nil:
		f.wrong(name, "", "there is no DMARC record")
		return
	}
	if len(texts) == 1 {
		if p, ok := policyTag(texts[0]); ok && !isPolicy(p) {
			f.wrong(name, "Write p=none, p=quarantine or p=reject.", "p=%s is no policy", p)
		} else if !ok {
			f.wrong(name, "Write p=none, p=quarantine or p=reject.", "the record has no p=")
		}
	}
	switch {
	case r.Policy == dmarc.NoAction:
		f.note(name, "When the reports show that your own mail passes, write p=quarantine, then p=reject.", "p=none asks receivers to do nothing about mail that forges the domain")
	case r.Record.Testing:
		f.note(name, "Take t=y out of the record.", "the policy is only a test (t=y)")
	}
	l.checkReportsTo(ctx, f, name, r)
	if !f.bad() {
		f.ok(name, "%s=%s, from the record of %s", r.Tag, r.Policy, r.PolicyDomain)
	}
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *look) dmarcTexts(ctx context.Context, domain string) ([]string, error) {
	texts, err := dns.TXT(ctx, l.env.Names, "_dmarc."+domain)
	var out []string
	for _, t := range texts {
		if v, _, _ := strings.Cut(t, ";"); strings.ReplaceAll(strings.TrimSpace(v), " ", "") == "v=DMARC1" {
			out = append(out, t)
		}
	}
	return out, err
}

// policyTag returns the value of p= as it stands: a reader falls back on none where it makes
// no sense, and nobody notices.
func policyTag(text string) (string, bool) {
	for tag := range strings.SplitSeq(text, ";") {
		name, value, ok := strings.Cut(tag, "=")
		if ok && strings.EqualFold(strings.TrimSpace(name), "p") {
			return strings.ToLower(strings.TrimSpace(value)), true
		}
	}
	return "", false
}

func isPolicy(p string) bool { return p == "none" || p == "quarantine" || p == "reject" }

// checkReportsTo looks whether others agree to get our reports (RFC 9990 section 4).
func (l *look) checkReportsTo(ctx context.Context, f *findings, name string, r dmarc.Result) {
	if len(r.Record.Reports) == 0 {
		f.note(name, "Add rua=mailto:ADDRESS.", "nobody gets reports, by which forgery and mistakes are seen")
		return
	}
	for _, uri := range r.Record.Reports {
		u, err := url.Parse(uri)
		if err != nil || u.Scheme != "mailto" {
			f.note(name, "Use a mailto: address.", "reports to %s cannot be sent", uri)
			continue
		}
		_, to, _ := strings.Cut(u.Opaque, "@")
		to = strings.ToLower(to)
		if to == "" || to == r.PolicyDomain || strings.HasSuffix(to, "."+r.PolicyDomain) {
			continue
		}
		agreed := r.PolicyDomain + "._report._dmarc." + to
		if _, err := dns.TXT(ctx, l.env.Names, agreed); dns.IsNegative(err) {
			f.note(name, "Have the owner publish TXT \"v=DMARC1\" at "+agreed+".", "%s does not agree to get the reports", to)
		}
	}
}
