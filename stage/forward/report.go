package forward

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"strings"

	"stagecoach/account"
	"stagecoach/mail"
	"stagecoach/rfc/dsn"
)

// A report that comes to an SRS address is about a mail that we forwarded, and its writer knows
// nothing but the target. The sender wrote to an address of ours and is to hear of that one
// alone (RFC 3461 section 5.2.7.4). So what he gets is a report of ours that says as much as is
// no secret: the fate, its status code, which mail it was about, and the address of ours where
// the report has kept it. No text, host name or header of the other side is in it.
//
// Automatic answers that are no reports (a vacation notice, a receipt that the reader sent) pass
// as they came: they are the user's own words, and what they give away is his choice.

// isReport reports whether a mail is a report about the delivery of another: a delivery status
// notification, or what some servers write in its place. A null sender alone is no sign of it,
// since automatic answers have one too (RFC 3834 section 3.3).
func isReport(m *mail.Mail) bool {
	h := &m.Message.Header
	if text := h.Value("Content-Type"); text != "" {
		kind, param, err := mime.ParseMediaType(text)
		switch low := strings.ToLower(text); {
		case err != nil: // of a form that other readers may understand
			if strings.Contains(low, "multipart/report") && strings.Contains(low, "delivery-status") {
				return true
			}
		case kind == "multipart/report": // by other types people say that they have read, or found spam
			t := param["report-type"]
			return t == "" || strings.EqualFold(t, "delivery-status")
		}
	}
	if !m.Envelope.From.IsZero() {
		return false
	}
	if h.Count("X-Failed-Recipients") > 0 { // Exim's, in plain text
		return true
	}
	author, err := h.Author()
	if err != nil {
		return false
	}
	who := strings.ToLower(author.Local())
	return who == "mailer-daemon" || who == "postmaster"
}

// replace returns a report of ours in place of a report that came to SRS addresses. It goes to
// the same recipients as one mail. It has the same name and boundary whenever the same report
// comes again, so that one that was handed in twice can be known.
func (e *expansion) replace() (*mail.Mail, error) {
	from, err := mail.NewAddress("postmaster", e.forwarder.SRS.Domain)
	if err != nil {
		return nil, fmt.Errorf("forward: %w", err)
	}
	body := &watched{r: e.mail.Message.Body}
	seen := &mail.Message{Header: e.mail.Message.Header, Body: io.NewSectionReader(body, 0, e.mail.Message.Body.Size())}
	r := &dsn.Report{
		Reporter: from.Domain(), From: from, To: e.returned[0], Date: e.forwarder.now(),
		MessageID: e.reportID(seen) + "@" + from.Domain(), UTF8: e.mail.Envelope.UTF8,
	}
	for _, to := range e.to {
		r.UTF8 = r.UTF8 || !to.IsASCII()
	}
	id, found, err := dsn.Parse(seen)
	if err != nil {
		found = []dsn.Status{{Action: likely(&seen.Header)}}
	}
	r.Recipients = e.fates(found)
	hidden := e.secrets(found)
	r.EnvelopeID = without(shorten(id, maxEnvelopeID), hidden)
	if h, ok := dsn.Returned(seen); ok {
		r.Header = about(&h, hidden)
	}
	if body.err != nil {
		return nil, fmt.Errorf("forward: reading a report: %w", body.err)
	}
	out := r.Mail()
	out.Envelope.To, out.Envelope.RequireTLS = e.to, e.mail.Envelope.RequireTLS
	for i := range out.Envelope.To {
		out.Envelope.To[i].Notify = mail.NotifyNever // RFC 3461 section 6.1
	}
	for f := range e.mail.Message.Header.Fields(FieldName) { // a loop stays one
		out.Message.Header.Prepend(f)
	}
	return out, nil
}

// maxIdentified is how much of a body goes into the name of our report.
const maxIdentified = 64 << 10

func (e *expansion) reportID(m *mail.Message) string {
	sum := sha256.New()
	for _, name := range []string{"From", "Date", "Message-ID", "Subject"} {
		fmt.Fprintf(sum, "%s\x00", m.Header.Value(name))
	}
	for _, r := range e.mail.Envelope.To {
		fmt.Fprintf(sum, "%s\x00", r.Address)
	}
	io.Copy(sum, io.LimitReader(m.NewReader(), maxIdentified)) //nolint:errcheck // seen by watched
	return hex.EncodeToString(sum.Sum(nil)[:16])
}

// fates says what became of the recipients, each fate once: several targets stand for one
// address.
func (e *expansion) fates(found []dsn.Status) []dsn.Recipient {
	var to []dsn.Recipient
	known := map[dsn.Recipient]bool{}
	for _, s := range found {
		r := dsn.Recipient{Action: action(s)}
		if code, _, _ := strings.Cut(strings.TrimSpace(s.Status), " "); dsn.IsStatus(code) { // a comment may follow
			r.Status = code
		}
		if a, ok := e.ours(s.Original); ok {
			r.Original, r.Final = original(a), a
		} else {
			r.Unnamed = "an address at " + e.forwarder.SRS.Domain
		}
		if !known[r] {
			known[r] = true
			to = append(to, r)
		}
	}
	return to
}

// likely guesses what a report says that is of no form that we read: a failure, unless its
// Subject speaks of a delay.
func likely(h *mail.Header) dsn.Action {
	subject := strings.ToLower(h.Value("Subject"))
	if strings.Contains(subject, "delay") || strings.Contains(subject, "warning") {
		return dsn.Delayed
	}
	return dsn.Failed
}

func action(s dsn.Status) dsn.Action {
	switch s.Action {
	case dsn.Failed, dsn.Delayed, dsn.Delivered, dsn.Relayed, dsn.Expanded:
		return s.Action
	}
	switch {
	case strings.HasPrefix(s.Status, "2."):
		return dsn.Delivered
	case strings.HasPrefix(s.Status, "4."):
		return dsn.Delayed
	}
	return dsn.Failed
}

// ours reads an address with its type, and reports whether it is in one of our domains. Servers
// that were given no ORCPT= may write the target in its place.
func (e *expansion) ours(text string) (mail.Address, bool) {
	a, err := typedAddress(text)
	return a, err == nil && e.book.Hosts(a.Domain())
}

func typedAddress(text string) (mail.Address, error) {
	kind, address, _ := strings.Cut(text, ";")
	kind = strings.TrimSpace(kind)
	if !strings.EqualFold(kind, "rfc822") && !strings.EqualFold(kind, "utf-8") {
		return mail.Address{}, errors.New("no mailbox")
	}
	return mail.ParseAddress(strings.Trim(address, " \t<>"))
}

// secrets returns what our report may not repeat: whatever addresses the other side wrote to, and
// the targets of the users whom it names.
func (e *expansion) secrets(found []dsn.Status) []string {
	var hidden []string
	add := func(a mail.Address) {
		if !a.IsZero() && !e.book.Hosts(a.Domain()) {
			hidden = append(hidden, strings.ToLower(a.String()), strings.ToLower(a.Unicode()))
		}
	}
	users := map[*account.User]bool{}
	for _, s := range found {
		final, _ := typedAddress(s.Final) // the zero Address is passed over
		add(final)
		a, ok := e.ours(s.Original)
		if !ok {
			a, _ = typedAddress(s.Original)
			add(a)
			continue
		}
		if u, ok := e.book.Lookup(a); ok && !users[u] {
			users[u] = true
			for _, t := range u.Targets {
				add(t)
			}
		}
	}
	return hidden
}

// Of the returned header this much is handed on: the sender knows his mail by it.
const (
	maxEnvelopeID = 100 // RFC 3461 section 5.4
	maxValue      = 2000
)

func about(h *mail.Header, hidden []string) *mail.Header {
	out := &mail.Header{}
	for _, name := range []string{"Message-ID", "Date", "Subject"} {
		value := strings.ToValidUTF8(shorten(h.Value(name), maxValue), "?")
		if value = without(value, hidden); value != "" {
			out.Prepend(mail.NewField(name, value))
		}
	}
	if out.Len() == 0 {
		return nil
	}
	return out
}

// without returns "" for a text that holds a secret.
func without(s string, hidden []string) string {
	low := strings.ToLower(s)
	for _, secret := range hidden {
		if strings.Contains(low, secret) {
			return ""
		}
	}
	return s
}

func shorten(s string, n int) string { return s[:min(len(s), n)] }

// watched remembers that a body could not be read, which for a parser looks like its end.
type watched struct {
	r   io.ReaderAt
	err error
}

func (w *watched) ReadAt(p []byte, off int64) (int, error) {
	n, err := w.r.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		w.err = err
	}
	return n, err
}
