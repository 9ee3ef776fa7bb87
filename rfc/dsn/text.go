package dsn

import (
	"cmp"
	"fmt"
	"strings"
)

// text is the part for people: what happened, to whom, and what they can do.
func (w *writer) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "This is the mail system at %s.\n\n", w.clean(w.Reporter))
	b.WriteString(opening(w.action(), len(w.Recipients) > 1))
	for _, r := range w.Recipients {
		fmt.Fprintf(&b, "\n  %s\n", w.clean(w.shown(r)))
		if r.Action != w.action() {
			fmt.Fprintf(&b, "    This one: %s.\n", w.clean(string(r.Action)))
		}
		if r.Diagnostic != "" {
			for _, line := range wrap(w.clean(r.Diagnostic), 70) {
				fmt.Fprintf(&b, "      %s\n", line)
			}
		}
		for _, line := range wrap(advice(r), 70) {
			fmt.Fprintf(&b, "    %s\n", line)
		}
		if !r.RetryUntil.IsZero() {
			fmt.Fprintf(&b, "    It will be tried until %s.\n", when(r.RetryUntil))
		}
	}
	b.WriteString("\nThe parts below hold the details for machines")
	if w.Header != nil {
		b.WriteString(" and the header of your message")
	}
	fmt.Fprintf(&b, ".\nFor help write to <%s>; quote this report.\n", w.clean(w.From.String()))
	return b.String()
}

// shown is what the text calls a recipient.
func (w *writer) shown(r Recipient) string {
	if !r.Final.IsZero() {
		return "<" + w.address(r.Final) + ">"
	}
	if _, original, ok := strings.Cut(r.Original, ";"); ok {
		return "<" + unitext(strings.TrimSpace(original)) + ">"
	}
	return cmp.Or(r.Unnamed, "undisclosed")
}

func opening(a Action, several bool) string {
	to := "this recipient"
	if several {
		to = "these recipients"
	}
	switch a {
	case Failed:
		return "Your message could not be delivered to " + to + ". It will not be tried\nagain.\n"
	case Delayed:
		return "Your message has not reached " + to + " yet. This is only a notice:\nyou need not send it again. It will be tried again.\n"
	case Relayed:
		return "Your message for " + to + " was passed on to a mail system that\nsends no confirmations. No further report of success will come.\n"
	default:
		return "Your message for " + to + " has arrived.\n"
	}
}

// advice says in words what a status code means (RFC 3463 section 3) and what to do.
func advice(r Recipient) string {
	if r.Action != Failed && r.Action != Delayed || !IsStatus(r.Status) {
		return ""
	}
	detail := r.Status[2:]
	for _, a := range advices {
		if strings.HasPrefix(detail+".", a.detail+".") {
			return a.text
		}
	}
	return ""
}

var advices = []struct{ detail, text string }{
	{"1.1", "There is no such mailbox. Check the address for typing errors."},
	{"1.2", "There is no such mail domain. Check what stands behind the @."},
	{"1.10", "This domain takes no mail at all. Ask the recipient for another address."},
	{"1", "The receiving system does not accept this address. Check it for typing errors."},
	{"2.1", "The mailbox is closed for now. Try to reach the recipient in another way."},
	{"2.2", "The mailbox is full. Try again later, or tell the recipient in another way."},
	{"2.3", "The message is too large for this recipient. Send a smaller one, or a link."},
	{"3.4", "The message is too large for the receiving system. Send a smaller one, or a link."},
	{"4.6", "The mail goes round in a circle. The recipient's forwarding is wrong; tell them in another way."},
	{"4.7", "The receiving system did not take the message in all this time. Try again later, or in another way."},
	{"4", "The receiving system cannot be reached. This may be a fault of the recipient's mail service."},
	{"6.7", "The address has letters which the receiving system does not understand. Ask for an address in plain letters."},
	{"6", "The receiving system cannot take a message of this form. Send it as plain text."},
	{"7", "The receiving system refuses the message by its rules. Try to reach the recipient in another way."},
}

// wrap breaks text into lines at blanks.
func wrap(s string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(s) {
		for len(word) > 900 {
			if line != "" {
				lines, line = append(lines, line), ""
			}
			lines, word = append(lines, strings.ToValidUTF8(word[:900], "?")), word[900:]
		}
		if line != "" && len(line)+1+len(word) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}
