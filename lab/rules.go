package lab

import (
	"fmt"
	"slices"

	"stagecoach/mail"
)

// Rules say what a receiver refuses, and in which words.
type Rules struct {
	// Judge refuses a message for what was found out about it, with a *mail.Refusal, or
	// lets it in; spam says that it goes to the folder for spam. It may be nil.
	Judge func(e *Evidence) (spam bool, err error)
	// Unknown, Full and NotOurs are the replies to recipients.
	Unknown, Full, NotOurs *mail.Refusal
}

// Gmail returns the rules that Gmail has since 2024 for all senders: SPF or DKIM, a PTR
// record whose name leads back, TLS, one valid From; DMARC is honoured; for bulk senders SPF
// and DKIM and DMARC. Whether mail is wanted (rates of complaints) is not simulated.
func Gmail() Rules {
	return Rules{
		Judge: judgeAsGmail,
		Unknown: mail.Reject(550, "5.1.1", "The email account that you tried to reach does not exist. Please try double-checking the "+
			"recipient's email address for typos or unnecessary spaces. - gsmtp"),
		Full:    mail.Defer(452, "4.2.2", "The recipient's inbox is out of storage space. - gsmtp"),
		NotOurs: mail.Reject(550, "5.7.1", "Relaying denied. - gsmtp"),
	}
}

func judgeAsGmail(e *Evidence) (bool, error) {
	no := func(status, text string) (bool, error) {
		return false, mail.Reject(550, status, text+" - gsmtp").Because(e)
	}
	switch {
	case e.IPRev == "temperror" || e.SPF == "temperror" && !e.DKIMPass():
		return false, mail.Defer(451, "4.3.0", "Mail server temporarily rejected message. - gsmtp").Because(e)
	case e.IPRev != "pass":
		return no("5.7.25", fmt.Sprintf("[%s] The IP address sending this message does not have a PTR record setup, or the "+
			"corresponding forward DNS entry does not match the sending IP.", e.IP))
	case !e.TLS:
		return no("5.7.29", "This message wasn't sent over a TLS connection, which is required.")
	case e.FromFields > 1:
		return no("5.7.1", "Messages with multiple addresses in the From: header are not accepted.")
	case e.Author == "":
		return no("5.7.1", "Messages missing a valid address in the From: header, or having no From: header, are not accepted.")
	case e.SPF != "pass" && !e.DKIMPass():
		return no("5.7.26", fmt.Sprintf("This mail has been blocked because the sender is unauthenticated. Gmail requires all senders "+
			"to authenticate with either SPF or DKIM. Authentication results: DKIM = did not pass; SPF [%s] with ip: [%s] = did not pass", e.SPFDomain, e.IP))
	case e.Author == e.Own && e.DMARC != "pass":
		return no("5.7.26", fmt.Sprintf("Unauthenticated email from %s is not accepted due to domain's DMARC policy.", e.Author))
	case e.DMARC == "fail" && e.Disposition == "reject":
		return no("5.7.26", fmt.Sprintf("Unauthenticated email from %s is not accepted due to domain's DMARC policy.", e.Author))
	case e.Bulk && e.SPF != "pass":
		return no("5.7.27", fmt.Sprintf("SPF [%s] with ip: [%s] = did not pass. Bulk senders are required to authenticate with SPF.", e.SPFDomain, e.IP))
	case e.Bulk && !e.DKIMPass():
		return no("5.7.30", "DKIM = did not pass. Bulk senders are required to authenticate with DKIM.")
	case e.Bulk && e.DMARC != "pass":
		return no("5.7.32", "The From: header isn't aligned with either the authenticated SPF or DKIM organizational domain.")
	}
	return e.DMARC == "fail" && e.Disposition == "quarantine", nil
}

// Outlook returns the rules that Outlook.com has since 2025, applied to every sender as if it
// sent more than 5,000 mails a day: SPF and DKIM and DMARC pass.
func Outlook() Rules {
	return Rules{
		Judge:   judgeAsOutlook,
		Unknown: mail.Reject(550, "5.5.0", "Requested action not taken: mailbox unavailable (S2017062302)."),
		Full:    mail.Reject(554, "5.2.2", "mailbox full; STOREDRV.Deliver.Exception:QuotaExceededException"),
		NotOurs: mail.Reject(550, "5.7.64", "TenantAttribution; Relay Access Denied"),
	}
}

func judgeAsOutlook(e *Evidence) (bool, error) {
	no := func(status, text string) (bool, error) {
		return false, mail.Reject(550, status, text).Because(e)
	}
	dkim := "Fail"
	if e.DKIMPass() {
		dkim = "Pass"
	}
	switch {
	case e.Author == "":
		return no("5.7.1", "Message rejected: the From header is missing, repeated, or has not exactly one address.")
	case e.SPF == "temperror" || e.DMARC == "temperror" || slices.Contains(e.DKIM, "temperror") && !e.DKIMPass():
		return false, mail.Defer(451, "4.7.500", "Server busy. Please try again later.").Because(e)
	case e.DMARC == "fail" && e.Disposition == "reject":
		return no("5.7.509", fmt.Sprintf("Access denied, sending domain %s does not pass DMARC verification and has a DMARC policy of reject.", e.Author))
	case e.SPF != "pass" || !e.DKIMPass() || e.DMARC != "pass":
		return no("5.7.515", fmt.Sprintf("Access denied, sending domain %s does not meet the required authentication level. "+
			"The sender's domain in the 5322.From address doesn't meet the authentication requirements defined for the sender. Spf= %s , Dkim= %s , DMARC= %s",
			e.Author, e.SPF, dkim, e.DMARC))
	}
	return false, nil
}

// Lenient returns rules that look at everything and refuse none of it.
func Lenient() Rules {
	return Rules{
		Unknown: mail.Reject(550, "5.1.1", "no such user here"),
		Full:    mail.Reject(552, "5.2.2", "the mailbox is full"),
		NotOurs: mail.Reject(550, "5.7.1", "relaying denied"),
	}
}
