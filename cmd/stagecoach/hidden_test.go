package main

import (
	"strings"
	"testing"

	"stagecoach/lab"
)

// A report that the server of Ann's real mailbox writes later, to the return address that it was
// given, reaches Carol as a report of ours: signed, and without a word about that mailbox.
func TestLateReportHidesTheMailbox(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(*testing.T, *world){
		"one process": func(t *testing.T, w *world) { oneProcess(t, w) },
		"many processes": func(t *testing.T, w *world) {
			oneProcess(t, w)() // it makes the keys
			manyProcesses(t, w)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := testWorld(t)
			start(t, w)
			in, err := w.in(soon(t))
			if err != nil {
				t.Fatal(err)
			}
			mailbox := annsMailbox + "@" + lab.BigMailDomain
			back := in.Envelope.From.String()
			text := strings.ReplaceAll("From: Mail Delivery Subsystem <mailer-daemon@"+lab.BigMailDomain+">\nTo: "+back+`
Subject: Delivery Status Notification (Failure)
Date: Sat, 21 Nov 2026 12:00:00 +0000
Message-ID: <late@`+lab.BigMailDomain+`>
Auto-Submitted: auto-replied
X-Failed-Recipients: `+mailbox+`
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b

`+mailbox+` is full
--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.`+lab.BigMailDomain+`

Original-Recipient: rfc822;ann@`+w.domain+`
Final-Recipient: rfc822; `+mailbox+`
Action: failed
Status: 5.2.2
Diagnostic-Code: smtp; 552 5.2.2 `+mailbox+` is full

--b
Content-Type: message/rfc822

`, "\n", "\r\n") + string(in.Raw) + "\r\n--b--\r\n"
			err = w.BigMail.Send(soon(t), lab.Outgoing{From: "mailer-daemon@" + lab.BigMailDomain, Sender: "<>", To: []string{back}, Raw: []byte(text)})
			if err != nil {
				t.Fatal(err)
			}
			got := reportTo(t, w.Correspondent.User("carol").Inbox)
			raw := string(got.Raw)
			subject := in.Message().Header.Value("Subject")
			for _, part := range []string{"From: Mail Delivery System <postmaster@" + w.domain + ">", "Status: 5.2.2", "rfc822; ann@" + w.domain, "Subject: " + subject} {
				if !strings.Contains(raw, part) {
					t.Errorf("the report does not have %q:\n%s", part, raw)
				}
			}
			if strings.Contains(raw, annsMailbox) || strings.Contains(raw, lab.BigMailDomain) {
				t.Errorf("the report shows where Ann reads her mail:\n%s", raw)
			}
			if n := len(w.Correspondent.User("carol").Mails()); n != 1 {
				t.Errorf("Carol has %d mails", n)
			}
		})
	}
}
