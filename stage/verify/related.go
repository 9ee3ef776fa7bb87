package verify

import (
	"context"
	"strings"

	"stagecoach/rfc/dmarc"
	"stagecoach/rfc/dns"
)

// related returns what is known of an author's domain that is not hosted here, but is so near
// to ours that our forwarding would vouch for it; nil for all others.
//
// The next receiver looks at our SPF records: at that of our domain, in which the rewritten
// sender is, and for the null sender at that of our host name. Where they are aligned with
// the author (RFC 9989 section 4.10.2), as with a neighbour or a name below or above ours,
// a forgery that we pass on would pass DMARC there.
func (v *Verifier) related(ctx context.Context, x dns.Exchanger, author dmarc.Result, options dmarc.Options) *dmarc.Result {
	for _, own := range v.lending() {
		if !sharesTail(author.Domain, own) {
			continue
		}
		lent := dmarc.Check(ctx, x, author.Domain, dmarc.Evidence{SPF: dmarc.Identifier{Domain: own, Pass: true}}, options)
		switch {
		case lent.Aligned():
			return &author
		case lent.Problem != nil && author.Problem == nil: // whether it is near is not known yet
			author.Value, author.Problem = dmarc.TempError, lent.Problem
			return &author
		}
	}
	return nil
}

// lending returns the domains that SPF finds when we forward.
func (v *Verifier) lending() []string {
	all := append([]string{v.Name}, v.Domains...)
	if v.Accounts != nil {
		all = append(all, v.Accounts.Book().Main())
	}
	return all
}

// sharesTail reports whether two domains end with the same two labels: without them no
// Organizational Domain stands above both, and nothing need be asked.
func sharesTail(a, b string) bool {
	return tail(a) == tail(b)
}

func tail(domain string) string {
	last := strings.LastIndexByte(domain, '.')
	if last < 0 {
		return domain
	}
	return domain[strings.LastIndexByte(domain[:last], '.')+1:]
}
