package stagetest

import (
	"strings"

	"stagecoach/mail"
)

// Mails returns mails that may pass any hop of ours, the odd ones among them. They are from
// ann@example.org or from nobody, and for bob@example.net.
func Mails() []Case {
	envelope := mail.Envelope{
		From: mail.MustParseAddress("ann@example.org"),
		To:   []mail.Recipient{{Address: mail.MustParseAddress("bob@example.net")}},
	}
	with := func(change func(e *mail.Envelope)) mail.Envelope {
		e := envelope.Clone()
		change(&e)
		return e
	}
	const head = "From: Ann <ann@example.org>\r\nTo: bob@example.net\r\nSubject: s\r\n" +
		"Date: Fri, 11 Jul 2003 21:00:37 -0700\r\nMessage-ID: <1@example.org>\r\n"
	cases := []Case{
		{"plain", of(envelope, head+"\r\nHello World!\r\n")},
		{"submitted", of(with(func(e *mail.Envelope) { e.Submitter = "ann@example.org" }), head+"\r\nHello World!\r\n")},
		{"vouched for by nobody", of(with(func(e *mail.Envelope) { e.Submitter = "<>" }), head+"\r\nHello World!\r\n")},
		{"report", of(with(func(e *mail.Envelope) { e.From = mail.Address{} }),
			"From: postmaster@example.org\r\nAuto-Submitted: auto-replied\r\n\r\nsorry\r\n")},
		{"parameters", of(with(func(e *mail.Envelope) {
			e.ID, e.Return = "id+=\x20", mail.ReturnHeaders
			e.To = append(e.To, mail.Recipient{
				Address: mail.MustParseAddress(`"a b"@example.net`),
				Notify:  mail.NotifySuccess | mail.NotifyFailure, Original: "rfc822;carol+x@example.org",
			}, mail.Recipient{Address: mail.MustParseAddress("dan@example.com"), Notify: mail.NotifyNever})
		}), head+"\r\nx\r\n")},
		{"8-bit", of(with(func(e *mail.Envelope) { e.Body = mail.Body8BitMIME }), head+"\r\n\xc3\xa4\xff\r\n")},
		{"binary", of(with(func(e *mail.Envelope) { e.Body = mail.BodyBinary }), head+"\r\na\rb\nc\x00\r\r\n\n.")},
		{"UTF-8 addresses", of(with(func(e *mail.Envelope) {
			e.UTF8 = true
			e.To[0].Address = mail.MustParseAddress("bö@example.net")
		}), "From: änn@example.org\r\nSubject: ü\r\n\r\nx\r\n")},
		{"large", of(envelope, head+"\r\n"+strings.Repeat("0123456789abcdef0123456789abcdef\r\n", 20_000))},
		{"no body", of(envelope, head+"\r\n")},
		{"no blank line", of(envelope, head)},
		{"nothing but a body", of(envelope, "\r\nx\r\n")},
		{"no field", of(envelope, "this is no field\r\n"+head+"nor: is\r\nthis\r\n\r\nx\r\n")},
		{"no From", of(envelope, "Subject: s\r\n\r\nx\r\n")},
		{"two From", of(envelope, "From: a@example.org\r\nFrom: b@example.org\r\n\r\nx\r\n")},
		{"broken From", of(envelope, "From: <<<@,\x01\r\n\r\nx\r\n")},
		{"dots", of(envelope, head+"\r\n.\r\n..\r\n\r\n.x\r\n")},
		{"folded", of(envelope, "Subject: a\r\n b\r\n\tc\r\n"+head+"X-Long:"+strings.Repeat("\r\n x", 500)+"\r\n\r\nx\r\n")},
	}
	return cases
}

func of(e mail.Envelope, text string) *mail.Mail {
	return &mail.Mail{Envelope: e, Message: mail.NewMessage([]byte(text))}
}
