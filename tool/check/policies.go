package check

func policyChecks() []Check {
	return []Check{
		{
			ID: "spf", Title: "SPF", run: checkSPF,
			Why: "Receivers refuse or mistrust mail from addresses that the domain does not name.",
			Fix: "Publish a TXT record as \"v=spf1 mx -all\" that covers every address that mail is sent from.",
		},
		{
			ID: "dkim", Title: "DKIM", run: checkDKIM,
			Why: "Without the public key at its place no receiver can verify our signatures, and DMARC fails for forwarded mail.",
			Fix: "Publish the record that \"stagecoach dkim record\" prints for the key.",
		},
		{
			ID: "dmarc", Title: "DMARC", run: checkDMARC,
			Why: "Without DMARC anybody can put the domain into From; Gmail, Outlook and Yahoo want a record of everybody who sends much.",
			Fix: "Publish at _dmarc a TXT record as \"v=DMARC1; p=reject; rua=mailto:postmaster@DOMAIN\".",
		},
		{
			ID: "mta-sts", Title: "MTA-STS", run: checkSTS,
			Why: "MTA-STS has senders insist on TLS with a good certificate (RFC 8461); a broken policy stops their mail.",
			Fix: "Publish _mta-sts TXT \"v=STSv1; id=...\" and serve the policy at https://mta-sts.DOMAIN/.well-known/mta-sts.txt.",
		},
		{
			ID: "tls-rpt", Title: "TLS reports", run: checkReports,
			Why: "Reports tell when senders cannot reach us by TLS (RFC 8460).",
			Fix: "Publish _smtp._tls TXT \"v=TLSRPTv1; rua=mailto:postmaster@DOMAIN\".",
		},
		{
			ID: "dane", Title: "DANE", run: checkDANE,
			Why: "Senders with DANE refuse a mail server whose certificate is not the one in its TLSA records (RFC 7672).",
			Fix: "Publish \"3 1 1\" TLSA records for the key that is used, the next one before a change; dane = true in [cert] does that.",
		},
		{
			ID: "caa", Title: "CAA", run: checkCAA,
			Why: "Certification authorities issue nothing that CAA records forbid (RFC 8659); without any, all of them may issue.",
			Fix: "Publish CAA 0 issue \"AUTHORITY\", as letsencrypt.org.",
		},
		{
			ID: "blocklist", Title: "Block lists", run: checkLists,
			Why: "Many receivers refuse mail from addresses that are on a block list.",
			Fix: "Find out why at the list's page, mend that, then ask there to be removed.",
		},
	}
}
