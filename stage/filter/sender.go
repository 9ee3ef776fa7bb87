package filter

import (
	"net/netip"
	"strings"

	"stagecoach/mail"
	"stagecoach/rfc/authres"
	"stagecoach/spam"
	"stagecoach/spam/signal"
)

// source returns where a mail came from, as our verifier found it.
func source(results []authres.Result) signal.Source {
	var s signal.Source
	for _, r := range results {
		switch {
		case r.Method == "dmarc" && r.Value == "pass":
			s.Domain, _ = mail.CanonicalDomain(r.Prop("header", "from")) // "" for what is none
		case r.Method == "iprev" && !s.Addr.IsValid():
			s.Addr, _ = netip.ParseAddr(r.Prop("policy", "iprev")) // the zero Addr says nothing
		case r.Method == "arc" && !s.Addr.IsValid():
			s.Addr, _ = netip.ParseAddr(r.Prop("smtp", "remote-ip"))
		}
	}
	return s
}

// familiar says how well a user knows the author of a mail, to whom he wrote; 0 when nothing vouches
// for the author, since anybody can write a name.
func (s *Spam) familiar(user string, m *mail.Mail, results []authres.Result) float64 {
	author, err := m.Message.Header.Author()
	if err != nil || s.Lessons == nil || !vouchedFor(author, results) {
		return 0
	}
	return s.Lessons.Familiar(user, author)
}

// vouchedFor reports whether the author's domain vouches for a mail: by DMARC, or, where it has no
// policy, by a signature or by SPF for the very domain.
func vouchedFor(author mail.Address, results []authres.Result) bool {
	for _, r := range results {
		if r.Method == "dmarc" && r.Value != "none" {
			return r.Value == "pass"
		}
	}
	for _, r := range results {
		if r.Value != "pass" {
			continue
		}
		switch r.Method {
		case "dkim":
			if strings.EqualFold(r.Prop("header", "d"), author.Domain()) {
				return true
			}
		case "spf":
			_, domain, _ := strings.Cut(r.Prop("smtp", "mailfrom"), "@")
			if strings.EqualFold(domain, author.Domain()) {
				return true
			}
		}
	}
	return false
}

// What a verdict must be to count for its sender's reputation: surer than for a label.
const (
	surelySpam = 0.99
	surelyGood = 0.05
	someWords  = 10
)

// remember learns a sender's reputation from a mail as such: without his reputation, which would feed
// on itself, and without what one user taught or wrote, which is no other's business.
func (s *Spam) remember(from signal.Source, v spam.Verdict, apart float64) {
	if s.Reputation == nil || v.Words < someWords {
		return
	}
	switch p := spam.Probability(v.Odds - v.Taught - apart); {
	case p >= surelySpam:
		s.Reputation.Learn(from, true)
	case p <= surelyGood:
		s.Reputation.Learn(from, false)
	}
}
