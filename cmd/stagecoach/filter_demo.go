package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"strings"
	"time"

	"stagecoach/lab"
	"stagecoach/stage/filter"
)

// What the demo's spammer sells.
const demoSpam = `Dear friend,

CONGRATULATIONS!!! You have been selected to receive a FREE credit card with NO credit check
and a guaranteed $5000 limit. This is a limited time offer, so act now! Click here to claim:

http://192.0.2.66/claim.php?id=4711

Earn $1000 a week working from home, 100% guaranteed or your money back. Order cheap
viagra online without a prescription. Lose weight while you sleep!

To be removed from our mailing list, click here: http://192.0.2.66/remove.php
`

// filtering shows that spam is labelled, why, and that Ann can teach the filter otherwise.
func (w *world) filtering(ctx context.Context, out io.Writer) error {
	subject := "FREE credit card!!! " + rand.Text()[:6]
	fmt.Fprintf(out, "\n3. Carol sends Ann something else.\n")
	got, err := w.offer(ctx, subject)
	if err != nil {
		return err
	}
	show(out, got, filter.Field, filter.StatusField)
	if label := got.Message().Header.Value(filter.Field); label != string(filter.Yes) {
		return fmt.Errorf("the spam was labelled %q", label)
	}

	fmt.Fprintf(out, "\n4. Ann likes it: she forwards it as an attachment to ham@%s. The next one like it arrives as\n", w.domain)
	boundary := rand.Text()
	forward := fmt.Sprintf("From: Ann <ann@%s>\r\nTo: ham@%[1]s\r\nSubject: Fwd: %[2]s\r\nDate: %[3]s\r\nMessage-ID: <%[4]s@%[1]s>\r\nMIME-Version: 1.0\r\n"+
		"Content-Type: multipart/mixed; boundary=\"%[5]s\"\r\n\r\n--%[5]s\r\nContent-Type: message/rfc822\r\n\r\n%[6]s\r\n--%[5]s--\r\n",
		w.domain, subject, time.Now().Format(time.RFC1123Z), rand.Text(), boundary, strings.TrimRight(string(got.Raw), "\r\n"))
	if err := w.submit("ham@"+w.domain, forward); err != nil {
		return fmt.Errorf("teaching by mail: %w", err)
	}
	if got, err = w.offer(ctx, "FREE credit card!!! "+rand.Text()[:6]); err != nil {
		return err
	}
	show(out, got, filter.Field, filter.StatusField)
	if label := got.Message().Header.Value(filter.Field); label != string(filter.No) {
		return fmt.Errorf("after teaching the mail was labelled %q", label)
	}
	return nil
}

// offer sends the spam, and returns it as Ann's real provider received it.
func (w *world) offer(ctx context.Context, subject string) (*lab.Received, error) {
	err := w.Correspondent.Send(ctx, lab.Outgoing{
		From: "carol@" + lab.CorrespondentDomain, To: []string{"ann@" + w.domain}, Subject: subject, Text: demoSpam,
	})
	if err != nil {
		return nil, fmt.Errorf("sending spam to the service: %w", err)
	}
	return find(ctx, w.BigMail.User("ann.archer").Inbox, subject)
}
