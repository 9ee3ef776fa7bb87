package smtp

import (
	"strconv"
	"strings"

	"stagecoach/mail"
)

// A plan is how one mail goes over one connection.
type plan struct {
	chunks bool
	body   mail.BodyType // for BODY=, "" for none
	utf8   bool          // for SMTPUTF8
}

// plan compares what the mail needs with what the server offers. An error says that the
// mail cannot go this way for any of its recipients; nothing was sent then. A mail is never
// changed to fit (RFC 6152 section 3, RFC 3030 section 4, RFC 6531 section 3.6).
func (j *job) plan(l *link) (plan, error) {
	h, e := l.hop, &j.mail.Envelope
	p := plan{chunks: l.has("CHUNKING") && (h.Inner || !h.NoChunking)}
	if h.Inner && !p.chunks {
		return p, h.cannot("offer", mail.Defer(451, "4.3.5", "the next stage is not configured for this"),
			"CHUNKING is not offered")
	}
	if e.RequireTLS && !(l.has("REQUIRETLS") && (l.verified || h.Inner)) {
		return p, h.cannot("offer", mail.Reject(550, "5.7.30", "REQUIRETLS support required"),
			"REQUIRETLS is not offered over verified TLS")
	}
	if limit := l.limit("SIZE"); limit > 0 && j.content.size > limit {
		return p, h.cannot("offer", mail.Reject(552, "5.3.4", "the message is too large for the receiving server"),
			"SIZE "+strconv.FormatInt(limit, 10))
	}
	if err := j.planBody(l, &p); err != nil {
		return p, err
	}
	return p, j.planUTF8(l, &p)
}

// planBody chooses BODY=. Between our own stages it is what the envelope says.
func (j *job) planBody(l *link, p *plan) error {
	h, declared := l.hop, j.mail.Envelope.Body
	eight := l.has("8BITMIME")
	binary := l.has("BINARYMIME") && p.chunks
	if h.Inner && (declared == mail.BodyBinary && binary || declared != mail.BodyBinary && (eight || declared == "")) {
		p.body = declared
		return nil
	}
	c := j.content
	if err := c.scan(); err != nil {
		return h.ours(err)
	}
	needed := c.binary || c.cut && declared == mail.BodyBinary
	switch {
	case needed && binary, declared == mail.BodyBinary && binary:
		p.body = mail.BodyBinary
	case needed && declared == mail.BodyBinary:
		return h.cannot("offer", mail.Reject(554, "5.6.3", "the receiving server does not take binary messages"),
			"BINARYMIME is not offered")
	case needed:
		return h.cannot("offer", mail.Reject(554, "5.6.0", "the message is not made of lines of text"),
			"bare CR or LF, NUL or a long line, and no BINARYMIME")
	case c.eight && !eight:
		return h.cannot("offer", mail.Reject(554, "5.6.3", "the receiving server does not take 8-bit messages"),
			"8BITMIME is not offered")
	case c.eight, eight && declared == mail.Body8BitMIME:
		p.body = mail.Body8BitMIME
	case eight && declared == mail.Body7Bit:
		p.body = mail.Body7Bit
	}
	return nil
}

// planUTF8 decides on SMTPUTF8. What the recipients need is asked of each of them.
func (j *job) planUTF8(l *link, p *plan) error {
	e := &j.mail.Envelope
	if l.has("SMTPUTF8") {
		p.utf8 = e.UTF8 || !e.From.IsASCII()
		for i := range e.To {
			p.utf8 = p.utf8 || !e.To[i].IsASCII()
		}
		return nil
	}
	if !e.From.IsASCII() {
		return l.noUTF8("non-ASCII sender")
	}
	if !e.UTF8 {
		return nil
	}
	if err := j.content.scan(); err != nil {
		return l.hop.ours(err)
	}
	if j.content.eightHead {
		return l.noUTF8("non-ASCII header")
	}
	return nil
}

func (l *link) noUTF8(why string) error {
	return l.hop.cannot("offer", mail.Reject(550, "5.6.7", "the receiving server does not take internationalized mail"),
		why+", and SMTPUTF8 is not offered")
}

// mailLine returns the MAIL command without its CRLF.
func (j *job) mailLine(l *link, p plan) string {
	e := &j.mail.Envelope
	var b strings.Builder
	b.WriteString("MAIL FROM:<" + e.From.String() + ">")
	if l.has("SIZE") {
		b.WriteString(" SIZE=" + strconv.FormatInt(j.content.size, 10))
	}
	if p.body != "" {
		b.WriteString(" BODY=" + string(p.body))
	}
	if p.utf8 {
		b.WriteString(" SMTPUTF8")
	}
	if e.RequireTLS {
		b.WriteString(" REQUIRETLS")
	}
	if e.Submitter != "" && l.has("AUTH") {
		who := "<>" // RFC 4954 section 5: for a server that we do not trust
		if l.hop.Inner || l.loggedIn {
			who = encodeXtext(e.Submitter)
		}
		b.WriteString(" AUTH=" + who)
	}
	if l.has("DSN") && e.Return != "" {
		b.WriteString(" RET=" + string(e.Return))
	}
	if l.has("DSN") && e.ID != "" {
		b.WriteString(" ENVID=" + encodeXtext(e.ID))
	}
	return b.String()
}

// rcptLine returns the RCPT command for the i-th recipient without its CRLF.
func (j *job) rcptLine(l *link, p plan, i int) string {
	r := &j.mail.Envelope.To[i]
	s := "RCPT TO:<" + r.Address.String() + ">"
	if !l.has("DSN") {
		return s
	}
	if r.Notify != 0 {
		s += " NOTIFY=" + r.Notify.String()
	}
	if r.Original != "" {
		s += " ORCPT=" + encodeOriginal(r.Original, p.utf8)
	}
	return s
}
