package check

import (
	"slices"
	"strings"
)

// What the large receivers publish for those who send to them:
//
//   - Gmail, "Email sender guidelines" (support.google.com/a/answer/81126): SPF or DKIM, forward
//     and reverse DNS, TLS; above 5,000 mails a day SPF and DKIM and DMARC.
//   - Outlook.com, "high-volume senders" (since 5 May 2025): above 5,000 mails a day SPF, DKIM and
//     DMARC, else 550 5.7.515.
//   - Yahoo, "Sender best practices" (senders.yahooinc.com): SPF or DKIM, forward and reverse DNS;
//     of bulk senders SPF and DKIM and DMARC.
//
// The rules for those who send much are asked of everybody here: who fails them is mistrusted
// below the limit too.
func receiverChecks() []Check {
	all := []string{"mx", "ptr", "ehlo", "port-25-out", "spf", "dkim", "dmarc", "blocklist"}
	return []Check{
		{
			ID: "gmail", Title: "Rules of Gmail", after: all,
			Why: "Gmail refuses, or puts among spam, mail that does not keep its rules (support.google.com/a/answer/81126).",
			Fix: "Mend what the lines that are named here say.",
		},
		{
			ID: "outlook", Title: "Rules of Outlook.com", after: without(all, "ptr"),
			Why: "Outlook.com refuses mail without SPF, DKIM and DMARC (550 5.7.515).",
			Fix: "Mend what the lines that are named here say.",
		},
		{
			ID: "yahoo", Title: "Rules of Yahoo", after: all,
			Why: "Yahoo refuses, or puts among spam, mail that does not keep its rules (senders.yahooinc.com/best-practices).",
			Fix: "Mend what the lines that are named here say.",
		},
	}
}

func without(ids []string, id string) []string {
	return slices.DeleteFunc(slices.Clone(ids), func(s string) bool { return s == id })
}

// judge sums the lines of other checks up. Where those are in the report, they say Wrong and
// Unknown already, and this one only notes it.
func (f *findings) judge(lines []Line) {
	var wrong, open []string
	for _, l := range lines {
		switch {
		case l.Status == Wrong && !slices.Contains(wrong, l.ID):
			wrong = append(wrong, l.ID)
		case (l.Status == Unknown || l.Status == Skipped && essential(l.ID)) && !slices.Contains(open, l.ID):
			open = append(open, l.ID)
		}
	}
	open = slices.DeleteFunc(open, func(id string) bool { return slices.Contains(wrong, id) })
	hidden := func(ids []string) bool { return slices.ContainsFunc(ids, func(id string) bool { return !f.shown(id) }) }
	switch {
	case hidden(wrong):
		f.wrong("", "", "the rules are not kept: the checks %s would tell", strings.Join(wrong, ", "))
	case len(wrong) > 0:
		f.note("", "", "the rules are not kept: see %s", strings.Join(wrong, ", "))
	case hidden(open):
		f.unknown("", "it is not known whether the rules are kept: the checks %s would tell", strings.Join(open, ", "))
	case len(open) > 0:
		f.skip("", "it is not known whether the rules are kept: see %s", strings.Join(open, ", "))
	default:
		f.ok("", "the rules are kept")
	}
}

// essential are the checks that have to be made before somebody can be told that all is well.
func essential(id string) bool { return slices.Contains([]string{"ptr", "spf", "dkim", "dmarc"}, id) }
