package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"mime/quotedprintable"
	"strings"
	"time"

	"stagecoach/lab"
	"stagecoach/stage/filter"
	"stagecoach/stage/hold"
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

// filtering shows that spam is held, that Ann is told and gets it when she asks for it, and that she
// can teach the filter otherwise.
func (w *world) filtering(ctx context.Context, out io.Writer) error {
	subject := "FREE credit card!!! " + rand.Text()[:6]
	fmt.Fprintf(out, "\n3. Carol sends Ann something else. It is not forwarded, but held, and Ann is told in a digest,\n   which comes daily, and now at once:\n")
	digest, err := w.hold(ctx, subject)
	if err != nil {
		return err
	}
	address := showDigest(out, digest)

	fmt.Fprintf(out, "\n4. From where she reads her mail Ann writes to that address. What was held arrives as\n")
	got, err := w.release(ctx, address, subject)
	if err != nil {
		return err
	}
	show(out, got, filter.Field, filter.StatusField)

	fmt.Fprintf(out, "\n5. Ann likes it: she forwards it as an attachment to ham@%s. The next one like it arrives as\n", w.domain)
	if err := w.teachGood(got, subject); err != nil {
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

// hold sends the spam, sees that it is held, and returns the text of the digest that tells Ann of it.
func (w *world) hold(ctx context.Context, subject string) (string, error) {
	if err := w.sendSpam(ctx, subject); err != nil {
		return "", err
	}
	store, err := hold.Open(w.path(heldFolder), hold.Limits{})
	if err != nil {
		return "", err
	}
	items, err := store.List("ann@" + w.domain)
	if err != nil || len(items) != 1 || items[0].Subject != subject {
		return "", fmt.Errorf("the spam was not held: %d mails are, %w", len(items), err)
	}
	if err := store.AskDigest(); err != nil {
		return "", err
	}
	got, err := find(ctx, w.BigMail.User("ann.archer").Inbox, "Held as spam: 1 mail")
	if err != nil {
		return "", err
	}
	if err := want(got, map[string]string{"spf": "pass", "dkim": "pass", "dmarc": "pass"}); err != nil {
		return "", fmt.Errorf("the digest: %w", err)
	}
	text, err := io.ReadAll(quotedprintable.NewReader(got.Message().NewReader()))
	return string(text), err
}

// showDigest prints what is told of held mails, and returns the address that releases the first.
func showDigest(out io.Writer, text string) (address string) {
	shown := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		shown = (shown || strings.HasPrefix(line, "1. ")) && line != ""
		if shown {
			fmt.Fprintf(out, "     | %s\n", line)
		}
		if a, ok := strings.CutPrefix(strings.TrimSpace(line), "Release: "); ok {
			address = a
		}
	}
	return address
}

// release writes to an address that releases, and returns what was held as Ann's provider received it.
func (w *world) release(ctx context.Context, address, subject string) (*lab.Received, error) {
	if err := w.BigMail.Send(ctx, lab.Outgoing{From: "ann.archer@" + lab.BigMailDomain, To: []string{address}, Subject: "release", Text: "Please.\n"}); err != nil {
		return nil, fmt.Errorf("releasing: %w", err)
	}
	got, err := find(ctx, w.BigMail.User("ann.archer").Inbox, subject)
	if err != nil {
		return nil, err
	}
	if label := got.Message().Header.Value(filter.Field); label != "released" {
		return nil, fmt.Errorf("what was released is labelled %q", label)
	}
	return got, nil
}

// teachGood forwards a mail to ham@, as Ann does from her mail program.
func (w *world) teachGood(got *lab.Received, subject string) error {
	boundary := rand.Text()
	return w.submit("ham@"+w.domain, fmt.Sprintf("From: Ann <ann@%s>\r\nTo: ham@%[1]s\r\nSubject: Fwd: %[2]s\r\nDate: %[3]s\r\nMessage-ID: <%[4]s@%[1]s>\r\nMIME-Version: 1.0\r\n"+
		"Content-Type: multipart/mixed; boundary=\"%[5]s\"\r\n\r\n--%[5]s\r\nContent-Type: message/rfc822\r\n\r\n%[6]s\r\n--%[5]s--\r\n",
		w.domain, subject, time.Now().Format(time.RFC1123Z), rand.Text(), boundary, strings.TrimRight(string(got.Raw), "\r\n")))
}

// offer sends the spam, and returns it as Ann's real provider received it.
func (w *world) offer(ctx context.Context, subject string) (*lab.Received, error) {
	if err := w.sendSpam(ctx, subject); err != nil {
		return nil, err
	}
	return find(ctx, w.BigMail.User("ann.archer").Inbox, subject)
}

func (w *world) sendSpam(ctx context.Context, subject string) error {
	err := w.Correspondent.Send(ctx, lab.Outgoing{
		From: "carol@" + lab.CorrespondentDomain, To: []string{"ann@" + w.domain}, Subject: subject, Text: demoSpam,
	})
	if err != nil {
		return fmt.Errorf("sending spam to the service: %w", err)
	}
	return nil
}
