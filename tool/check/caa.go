package check

import (
	"context"
	"slices"
	"strings"

	"stagecoach/rfc/dns"
)

// checkCAA looks at the names that need certificates: the MX hosts and the domain.
func checkCAA(ctx context.Context, l *look, f *findings) {
	names := []string{l.target.Domain}
	for _, h := range l.mx().hosts {
		if dns.IsSubdomain(dns.Canonical(l.target.Domain), dns.Canonical(h.name)) {
			names = append(names, h.name)
		}
	}
	var allowed []string
	for _, name := range names {
		at, records, err := l.relevantCAA(ctx, name)
		switch {
		case err != nil:
			f.unknown(name, "the records could not be looked up: %v", err)
		case len(records) == 0:
			f.note(name, "", "there is no CAA record")
		default:
			allowed = append(allowed, l.judgeCAA(f, name, at, records)...)
		}
	}
	if !f.bad() {
		slices.Sort(allowed)
		f.ok(l.target.Domain, "certificates are issued by %s", list(slices.Compact(allowed)))
	}
}

// relevantCAA climbs to the first name that has records (RFC 8659 section 3).
func (l *look) relevantCAA(ctx context.Context, name string) (at string, records []*dns.CAARecord, err error) {
	for labels := dns.Labels(name); len(labels) > 0; labels = labels[1:] {
		at = strings.Join(labels, ".")
		records, err = dns.CAA(ctx, l.env.Names, at)
		if len(records) > 0 {
			return at, records, nil
		}
		if err != nil && !dns.IsNegative(err) {
			return at, nil, err
		}
	}
	return "", nil, nil
}

// judgeCAA returns the authorities that may issue for a name.
func (l *look) judgeCAA(f *findings, name, at string, records []*dns.CAARecord) []string {
	var issuers []string
	restricted := false
	for _, r := range records {
		tag := strings.ToLower(r.Tag)
		known := slices.Contains([]string{"issue", "issuewild", "iodef", "issuemail", "issuevmc", "contactemail", "contactphone"}, tag)
		if !known && r.Flag&128 != 0 {
			f.wrong(name, "Remove it.", "the CAA record at %s has the critical tag %q, which no authority understands", at, clean(r.Tag))
		}
		if tag != "issue" {
			continue
		}
		restricted = true
		if issuer, _, _ := strings.Cut(r.Value, ";"); strings.TrimSpace(issuer) != "" {
			issuers = append(issuers, strings.ToLower(strings.TrimSpace(issuer)))
		}
	}
	if restricted && l.target.CA != "" && !slices.Contains(issuers, l.target.CA) {
		f.wrong(name, "Add CAA 0 issue \""+l.target.CA+"\".", "the CAA records at %s allow %s, and not %s, where our certificates come from", at, list(issuers), l.target.CA)
	}
	if !restricted {
		issuers = append(issuers, "anybody")
	}
	return issuers
}
