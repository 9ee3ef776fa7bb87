package queue

import (
	"strings"

	"stagecoach/mail"
	"stagecoach/rfc/authres"
)

// isVerified reports whether the envelope sender of a mail is known to be its sender, so that
// a report goes to whom it concerns and not to a victim of forgery. It is one who was
// authenticated when he submitted, or one for whom our own Authentication-Results say so:
// SPF for the sender's domain, a DKIM signature of it or of a parent, or DMARC.
func (q *Queue) isVerified(m *mail.Mail) bool {
	if m.Envelope.From.IsZero() {
		return false
	}
	if s := m.Envelope.Submitter; s != "" && s != "<>" {
		return true
	}
	domain := m.Envelope.From.Domain()
	for f := range m.Message.Header.Fields(authres.FieldName) {
		r, err := authres.Parse(f.Body())
		if err != nil || !strings.EqualFold(r.ID, q.settings.AuthServID) {
			continue
		}
		for _, result := range r.Results {
			if vouches(result, domain) {
				return true
			}
		}
		return false // only the topmost one of ours was written for this mail
	}
	return false
}

// vouches reports whether one result says that the sender of a domain is genuine.
func vouches(r authres.Result, domain string) bool {
	if r.Value != "pass" {
		return false
	}
	switch r.Method {
	case "spf":
		from := r.Prop("smtp", "mailfrom")
		return sameDomain(from[strings.LastIndexByte(from, '@')+1:], domain)
	case "dkim":
		d := r.Prop("header", "d")
		if d == "" {
			i := r.Prop("header", "i")
			d = i[strings.LastIndexByte(i, '@')+1:]
		}
		return isUnder(domain, d)
	case "dmarc":
		from := r.Prop("header", "from")
		return isUnder(domain, from[strings.LastIndexByte(from, '@')+1:])
	}
	return false
}

func sameDomain(a, b string) bool {
	c, err := mail.CanonicalDomain(a)
	return err == nil && c == b
}

// isUnder reports whether a domain is another or below it. The other way round it would
// prove nothing: who owns a.example need not own example.
func isUnder(domain, parent string) bool {
	p, err := mail.CanonicalDomain(parent)
	return err == nil && strings.Contains(p, ".") && (domain == p || strings.HasSuffix(domain, "."+p))
}
