package dsn

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"mime/quotedprintable"
	"strings"
	"time"
	"unicode/utf8"

	"stagecoach/mail"
)

const dateForm = "Mon, 2 Jan 2006 15:04:05 -0700"

// A writer is one report being written.
type writer struct {
	*Report
	utf8 bool
	out  strings.Builder
}

func (w *writer) message() []byte {
	boundary := w.boundary()
	w.header(boundary)
	w.part(boundary, "text/plain; charset="+w.charset(), "Notification")
	w.out.WriteString(crlf(w.text()))
	kind := "message/delivery-status"
	if w.utf8 {
		kind = "message/global-delivery-status" // RFC 6533 section 4
	}
	w.part(boundary, kind, "Delivery report")
	w.status()
	if w.Header != nil {
		w.returnHeader(boundary)
	}
	w.out.WriteString("\r\n--" + boundary + "--\r\n")
	return []byte(w.out.String())
}

func (w *writer) charset() string {
	if w.utf8 {
		return "utf-8"
	}
	return "us-ascii"
}

// boundary is made of the report's own name, so that the same report has the same bytes.
func (w *writer) boundary() string {
	sum := sha256.Sum256([]byte(w.MessageID + "\n" + w.To.String()))
	return "=_report_" + hex.EncodeToString(sum[:12])
}

func (w *writer) header(boundary string) {
	w.field("From", "Mail Delivery System <"+w.From.String()+">")
	w.field("To", "<"+w.address(w.To)+">")
	w.field("Subject", subject(w.action()))
	w.field("Date", w.Date.Format(dateForm))
	w.field("Message-ID", "<"+w.MessageID+">")
	if w.Header != nil {
		if id := messageID(w.Header.Value("Message-ID")); id != "" {
			w.field("In-Reply-To", id)
			w.field("References", id)
		}
	}
	w.field("Auto-Submitted", "auto-replied") // RFC 3834 section 5
	w.field("MIME-Version", "1.0")
	w.field("Content-Type", "multipart/report; report-type=delivery-status;\r\n boundary=\""+boundary+"\"")
	if w.utf8 {
		w.field("Content-Transfer-Encoding", "8bit")
	}
	w.out.WriteString("\r\nThis is a delivery report in MIME format (RFC 3464).\r\n")
}

func subject(a Action) string {
	switch a {
	case Failed:
		return "Undelivered: your message has not arrived"
	case Delayed:
		return "Delayed: your message has not arrived yet"
	case Relayed:
		return "Relayed: your message has been passed on"
	default:
		return "Delivered: your message has arrived"
	}
}

// action is that of the report as a whole: the worst of its recipients.
func (r *Report) action() Action {
	for _, a := range []Action{Failed, Delayed, Relayed} {
		for _, to := range r.Recipients {
			if to.Action == a {
				return a
			}
		}
	}
	return Delivered
}

// messageID returns s when it is one msg-id that may be quoted in other fields.
func messageID(s string) string {
	if len(s) < 3 || len(s) > 250 || s[0] != '<' || strings.IndexByte(s, '>') != len(s)-1 ||
		!isASCII(s) || strings.ContainsAny(s[1:], " \t\r\n\x00<") {
		return ""
	}
	return s
}

func (w *writer) part(boundary, kind, description string) {
	w.out.WriteString("\r\n--" + boundary + "\r\n")
	w.field("Content-Type", kind)
	w.field("Content-Description", description)
	if w.utf8 {
		w.field("Content-Transfer-Encoding", "8bit")
	}
	w.out.WriteString("\r\n")
}

// status writes the groups of fields of RFC 3464 section 2.
func (w *writer) status() {
	if w.EnvelopeID != "" {
		w.field("Original-Envelope-Id", w.EnvelopeID)
	}
	w.field("Reporting-MTA", "dns; "+w.Reporter)
	if !w.Arrived.IsZero() {
		w.field("Arrival-Date", w.Arrived.Format(dateForm))
	}
	for _, r := range w.Recipients {
		w.out.WriteString("\r\n")
		w.recipient(r)
	}
}

func (w *writer) recipient(r Recipient) {
	if kind, address, ok := strings.Cut(r.Original, ";"); ok {
		w.field("Original-Recipient", w.typed(kind, address))
	}
	if r.Final.IsZero() {
		w.field("Final-Recipient", w.typed("unknown", cmp.Or(r.Unnamed, "undisclosed")))
	} else {
		w.field("Final-Recipient", w.typed("rfc822", r.Final.String()))
	}
	w.field("Action", string(r.Action))
	w.field("Status", statusCode(r))
	if r.RemoteMTA != "" {
		w.field("Remote-MTA", "dns; "+r.RemoteMTA)
	}
	if r.Diagnostic != "" {
		w.field("Diagnostic-Code", "smtp; "+r.Diagnostic)
	}
	if !r.Attempted.IsZero() {
		w.field("Last-Attempt-Date", r.Attempted.Format(dateForm))
	}
	if !r.RetryUntil.IsZero() {
		w.field("Will-Retry-Until", r.RetryUntil.Format(dateForm))
	}
}

// typed returns an address with its type; one that is not ASCII is of the type utf-8
// (RFC 6533 section 3).
func (w *writer) typed(kind, address string) string {
	if !isASCII(address) {
		kind = "utf-8"
	}
	if !w.utf8 {
		address = unitext(address)
	}
	return strings.TrimSpace(kind) + "; " + strings.TrimSpace(address)
}

// address returns an address for the text and the header of the report.
func (w *writer) address(a mail.Address) string {
	if w.utf8 {
		return a.Unicode()
	}
	return unitext(a.String())
}

// unitext writes what is not ASCII as \x{HEX} (RFC 6533 section 3, utf-8-addr-unitext).
func unitext(s string) string {
	if isASCII(s) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if r < utf8.RuneSelf {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, `\x{%X}`, r)
		}
	}
	return b.String()
}

// statusCode returns the recipient's status code, or one that says as much as the action does.
func statusCode(r Recipient) string {
	class := map[Action]byte{Failed: '5', Delayed: '4'}[r.Action]
	if class == 0 {
		class = '2'
	}
	if IsStatus(r.Status) {
		// A temporary code of a recipient that is given up says why (RFC 3464 section 2.3.4).
		if r.Status[0] == class || class == '5' && r.Status[0] == '4' {
			return r.Status
		}
	}
	return string(class) + ".0.0"
}

// IsStatus reports whether s is a status code of RFC 3463 section 2: class "." subject "." detail.
func IsStatus(s string) bool {
	parts := strings.Split(s, ".")
	if len(parts) != 3 || parts[0] != "2" && parts[0] != "4" && parts[0] != "5" {
		return false
	}
	for _, p := range parts[1:] {
		if len(p) < 1 || len(p) > 3 || strings.Trim(p, "0123456789") != "" {
			return false
		}
	}
	return true
}

func (w *writer) returnHeader(boundary string) {
	raw := returned(w.Header)
	w.out.WriteString("\r\n--" + boundary + "\r\n")
	switch {
	case isClean(raw):
		w.field("Content-Type", "text/rfc822-headers")
		w.field("Content-Description", "Header of your message")
		w.out.WriteString("\r\n" + raw)
	case w.utf8 && utf8.ValidString(raw) && isClean(strings.Map(toASCII, raw)):
		w.field("Content-Type", "message/global-headers") // RFC 6533 section 5
		w.field("Content-Description", "Header of your message")
		w.field("Content-Transfer-Encoding", "8bit")
		w.out.WriteString("\r\n" + raw)
	default:
		w.field("Content-Type", "text/rfc822-headers")
		w.field("Content-Description", "Header of your message")
		w.field("Content-Transfer-Encoding", "quoted-printable") // RFC 6522 section 4
		w.out.WriteString("\r\n")
		q := quotedprintable.NewWriter(&w.out)
		q.Write([]byte(raw)) //nolint:errcheck // a strings.Builder does not fail
		q.Close()            //nolint:errcheck
	}
}

func toASCII(r rune) rune {
	if r >= utf8.RuneSelf {
		return 'x'
	}
	return r
}

// returned is what a report returns of a header: whole fields, MaxHeader octets at the most.
func returned(h *mail.Header) string {
	var b strings.Builder
	for f := range h.All() {
		if b.Len()+len(f.Raw()) > MaxHeader {
			break
		}
		b.WriteString(f.Raw())
	}
	return b.String()
}

// isClean reports whether s can stand in a 7bit part as it is.
func isClean(s string) bool {
	for line := range strings.Lines(s) {
		text, ok := strings.CutSuffix(line, "\r\n")
		if !ok || len(text) > 998 || strings.ContainsAny(text, "\r\x00") || !isASCII(text) {
			return false
		}
	}
	return true
}

// field writes one header field. Its value may come from strangers: what is no text becomes
// "?", and a long value is folded at its blanks.
func (w *writer) field(name, value string) {
	w.out.WriteString(name + ":")
	column := len(name) + 1
	for i, word := range strings.Split(w.clean(value), " ") {
		if i > 0 && column+1+len(word) > 76 || len(word) > 900 {
			w.out.WriteString("\r\n")
			column = 0
		}
		for len(word) > 900 { // no line may be longer than 998 octets
			cut := 900
			for !utf8.RuneStart(word[cut]) {
				cut--
			}
			w.out.WriteString(" " + word[:cut] + "\r\n")
			word = word[cut:]
		}
		w.out.WriteString(" " + word)
		column += 1 + len(word)
	}
	w.out.WriteString("\r\n")
}

// clean makes one line of printable text; "\r\n " is a fold that the caller wrote.
func (w *writer) clean(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " ")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0x2028 || r == 0x2029 || r >= 0x80 && !w.utf8 {
			return '?'
		}
		return r
	}, s)
}

func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

func when(t time.Time) string { return t.Format(dateForm) }
