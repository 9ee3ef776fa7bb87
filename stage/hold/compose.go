package hold

import (
	"crypto/sha256"
	"fmt"
	"mime/quotedprintable"
	"strings"
	"time"

	"stagecoach/mail"
)

// compose returns the digest for the reader of items: fresh are new, ending will be deleted soon. It
// has the same name whenever the same is told again.
func (h *Holder) compose(items, fresh, ending []Item) (*mail.Mail, error) {
	to, err := mail.ParseAddress(items[0].User)
	if err != nil {
		return nil, err
	}
	from, err := mail.NewAddress("postmaster", to.Domain())
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	fmt.Fprintf(&b, opening, to)
	known := sha256.New()
	for _, part := range []struct {
		title string
		items []Item
	}{{"New", fresh}, {"Will be deleted soon", ending}} {
		if len(part.items) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n%s:\n", part.title)
		for i, it := range part.items {
			fmt.Fprintf(known, "%s %s\n", part.title, it.ID)
			if err := h.entry(&b, i+1, it); err != nil {
				return nil, err
			}
		}
	}
	if n := len(items) - len(fresh) - len(ending); n > 0 {
		fmt.Fprintf(&b, "\n%s held besides.\n", count(n, "mail is", "mails are"))
	}
	b.WriteString(closing)
	var body strings.Builder
	w := quotedprintable.NewWriter(&body)
	w.Write([]byte(strings.ReplaceAll(b.String(), "\n", "\r\n"))) //nolint:errcheck // into memory
	if err := w.Close(); err != nil {
		return nil, err
	}
	m := &mail.Mail{Message: mail.NewMessage([]byte("\r\n" + body.String()))}
	m.Envelope.To = []mail.Recipient{{Address: to, Notify: mail.NotifyNever}}
	m.Envelope.From, m.Envelope.Submitter = from, from.String()
	m.Envelope.UTF8 = !to.IsASCII()
	m.Message.Header.Prepend(
		mail.NewField("From", fmt.Sprintf("\"Mail service of %s\" <%s>", from.Domain(), from)),
		mail.NewField("To", to.String()),
		mail.NewField("Subject", "Held as spam: "+count(len(fresh)+len(ending), "mail", "mails")),
		mail.NewField("Date", h.now().Format(time.RFC1123Z)),
		mail.NewField("Message-ID", fmt.Sprintf("<held.%x@%s>", known.Sum(nil)[:12], from.Domain())),
		mail.NewField("Auto-Submitted", "auto-generated"), // RFC 3834 section 5
		mail.NewField("X-Auto-Response-Suppress", "All"),
		mail.NewField("MIME-Version", "1.0"),
		mail.NewField("Content-Type", "text/plain; charset=utf-8"),
		mail.NewField("Content-Transfer-Encoding", "quoted-printable"))
	return m, nil
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// entry writes what is told of one mail.
func (h *Holder) entry(b *strings.Builder, n int, it Item) error {
	release, err := releaseAddress(h.Key, it)
	if err != nil {
		return err
	}
	now := h.now()
	fmt.Fprintf(b, "\n%d. %s, spam with a probability of %s\n", n, it.At.In(now.Location()).Format("2 Jan 2006 15:04"), percent(it.Probability))
	fmt.Fprintf(b, "   From:    %s\n   Subject: %s\n", Safe(it.From), Safe(it.Subject))
	if it.Reason != "" {
		fmt.Fprintf(b, "   Because: %s\n", Safe(strings.ReplaceAll(it.Reason, ":", ": ")))
	}
	fmt.Fprintf(b, "   Release: %s\n   Kept until %s\n", release, h.Store.Expires(it).In(now.Location()).Format("2 Jan 2006"))
	return nil
}

// percent never says that anything is certain.
func percent(p float64) string {
	if p > 0.9999 {
		return "more than 99.99 %"
	}
	return fmt.Sprintf("%.2f %%", 100*p)
}

const opening = `Hello,

what is listed here was written to %s and looks so surely like
spam that it was not forwarded. To get one of the mails, write to its release
address; the text does not matter. If you want none, do nothing.
`

const closing = `
If you write from the account in which you send as your address here, the
filter also learns that such mail is good.
`
