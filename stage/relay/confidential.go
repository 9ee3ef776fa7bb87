package relay

import (
	"strings"

	"stagecoach/mail"
	"stagecoach/rfc/smtp"
)

// The address that a sender wrote to stands for another one, which is nobody's business but
// its owner's (RFC 3461 section 5.2.7.4). A server that is asked for a report of success names
// the mailbox that it delivered to, so it is not asked, and we report instead that the mail was
// passed on, as section 5.2.7.3 (a) and (c) allow. Failures and delays it may report: without
// that they would be lost. Its report comes to our SRS address, where stage/forward puts one of
// ours in its place.

// isConfidential reports whether a recipient is where somebody has his mail forwarded to: the
// address that was written to, in ORCPT=, is another one.
func isConfidential(r mail.Recipient) bool {
	if r.Original == "" {
		return false
	}
	kind, text, _ := strings.Cut(r.Original, ";")
	kind = strings.TrimSpace(kind)
	if !strings.EqualFold(kind, "rfc822") && !strings.EqualFold(kind, "utf-8") {
		return true
	}
	a, err := mail.ParseAddress(strings.TrimSpace(text))
	return err != nil || a.Domain() != r.Domain() || !strings.EqualFold(a.Local(), r.Local())
}

// wishes returns what a server is asked to report of a recipient. Who asked for nothing but
// success gets nothing from it; without NOTIFY= it would report failures.
func wishes(r mail.Recipient) mail.Notify {
	if !isConfidential(r) || r.Notify&mail.NotifySuccess == 0 {
		return r.Notify
	}
	if n := r.Notify &^ mail.NotifySuccess; n != 0 {
		return n
	}
	return mail.NotifyNever
}

// reportable turns success into an smtp.Unreported where the sender asked for a report that the
// server was not asked for.
func reportable(r mail.Recipient, host string, err error) error {
	if err == nil && wishes(r) != r.Notify {
		return smtp.Unreported{Host: host}
	}
	return err
}
