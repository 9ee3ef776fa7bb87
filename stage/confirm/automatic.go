package confirm

import (
	"strings"

	"stagecoach/mail"
)

// automatic reports whether a program wrote a mail: by the null sender (RFC 5321 section 4.5.5),
// by Auto-Submitted (RFC 3834 section 5), or by what programs write that know neither.
func automatic(m *mail.Mail) bool {
	if m.Envelope.From.IsZero() {
		return true
	}
	h := &m.Message.Header
	for f := range h.Fields("Auto-Submitted") {
		if word(f.Value()) != "no" {
			return true
		}
	}
	for f := range h.Fields("Precedence") {
		switch word(f.Value()) {
		case "bulk", "junk", "list", "auto_reply":
			return true
		}
	}
	for _, name := range []string{"X-Autoreply", "X-Autorespond", "X-Autoresponder", "X-Auto-Reply-From", "List-Id", "X-Failed-Recipients"} {
		if h.Count(name) > 0 {
			return true
		}
	}
	return word(h.Value("Content-Type")) == "multipart/report"
}

// word returns what stands before parameters and comments, in small letters.
func word(value string) string {
	if i := strings.IndexAny(value, ";( \t"); i >= 0 {
		value = value[:i]
	}
	return strings.ToLower(value)
}
