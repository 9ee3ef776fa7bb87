package spam

import (
	"strings"
	"unicode/utf8"

	"stagecoach/mail"
	"stagecoach/spam/mime"
)

// A sender is what the From field says.
type sender struct {
	display string
	domain  string // registered domain, lower case
	tld     string
}

const maxHeaderFields = 200

// header looks at the fields, and returns those that say what the body is.
func (r *reader) header(h *mail.Header) (ct, enc, cd string) {
	seen := headerSeen{}
	n := 0
	for f := range h.All() {
		if n++; n > maxHeaderFields {
			r.fact("very many header fields")
			break
		}
		if f.Name() == "" {
			if !strings.HasPrefix(f.Raw(), "From ") && !strings.HasPrefix(f.Raw(), ">From ") {
				r.fact("a header line that is no field")
			}
			continue
		}
		name := lowerName64(f.Name())
		if ours(name) {
			continue
		}
		switch name {
		case "content-type":
			if ct == "" {
				ct = f.Value()
				r.contentType(ct)
			}
			continue
		case "content-transfer-encoding":
			if enc == "" {
				enc = f.Value()
			}
			continue
		case "content-disposition":
			if cd == "" {
				cd = f.Value()
			}
			continue
		}
		r.field(name, f, &seen)
	}
	r.absent(&seen)
	return ct, enc, cd
}

// headerSeen remembers which fields were there.
type headerSeen struct {
	from, to, cc, subject, date, id, mime, reference, unsubscribe bool
	replyTo, idDomain, subjectText                                string
}

// ours are the fields that filters and verifiers write, and those that say when.
func ours(name string) bool {
	switch name {
	case "x-spamtacus", "status", "x-status", "x-uid", "x-keywords", "lines", "content-length", "arc-seal", "arc-message-signature",
		"arc-authentication-results", "dkim-signature", "x-google-dkim-signature", "domainkey-signature", "authentication-results",
		"received-spf", "x-gm-message-state", "x-google-smtp-source", "x-received", "envelope-to", "delivery-date":
		return true
	}
	return strings.HasPrefix(name, "x-spam") || strings.HasPrefix(name, "x-bogo") || strings.HasPrefix(name, "x-virus") || strings.HasPrefix(name, "x-crm114") || strings.HasPrefix(name, "x-dspam")
}

func lowerName64(s string) string {
	s = s[:min(len(s), 64)]
	for i := 0; i < len(s); i++ {
		if s[i] >= 'A' && s[i] <= 'Z' {
			return strings.ToLower(s)
		}
	}
	return s
}

// field looks at one field.
func (r *reader) field(name string, f mail.Field, seen *headerSeen) {
	value := f.Value()
	value = value[:min(len(value), mime.MaxField)]
	switch name {
	case "from":
		if !seen.from {
			r.sender(value)
		}
		seen.from = true
	case "subject":
		if !seen.subject {
			seen.subjectText = mime.DecodeWords(value)
			r.subject(value, seen.subjectText)
		}
		seen.subject = true
	case "to":
		seen.to = true
		r.recipients(value)
	case "cc":
		seen.cc = true
	case "date":
		seen.date = true
		r.date(value)
		return
	case "message-id":
		seen.id = true
		seen.idDomain = domainOf(value)
		r.messageID(value)
	case "reply-to":
		seen.replyTo = domainOf(value)
	case "mime-version":
		seen.mime = true
		return
	case "in-reply-to", "references":
		seen.reference = true
	case "list-unsubscribe":
		seen.unsubscribe = true
	case "received", "return-path", "delivered-to", "x-original-to":
		if !r.hops {
			return
		}
	case "x-mailer", "user-agent":
		r.fieldWords("mailer", value, fields, false)
		return
	case "organization", "importance", "x-priority", "x-msmail-priority", "priority", "precedence":
		r.fieldWords(name, value, fields, false)
		return
	}
	r.fieldWords(name, value, routes, true)
}

// subject puts the subject into the text, and notes its form.
func (r *reader) subject(value, text string) {
	r.fold([]byte(text))
	r.fold([]byte(" "))
	r.fieldWords("subject", text, fields, false)
	letters, upper := 0, 0
	for _, c := range text {
		switch {
		case c >= 'A' && c <= 'Z':
			upper++
			letters++
		case c >= 'a' && c <= 'z':
			letters++
		}
	}
	switch {
	case letters > 6 && upper*10 > letters*8:
		r.fact("the subject is in capitals")
	case strings.TrimSpace(text) == "":
		r.fact("the subject is empty")
	}
	if strings.HasSuffix(text, "!") || strings.Contains(text, "!!") {
		r.fact("the subject exclaims")
	}
	if strings.Contains(text, "    ") {
		r.fact("the subject has a gap")
	}
	if !utf8.ValidString(value) {
		r.fact("raw 8-bit octets in the subject")
	}
	if strings.Contains(value, "=?") && isPlain([]byte(text)) {
		r.fact("encoded words without need")
	}
	if hasPrefixFold(text, "re:") || hasPrefixFold(text, "fwd:") || hasPrefixFold(text, "fw:") {
		r.mark("subject", "reply")
	}
}

// sender looks at whom the mail says it is from.
func (r *reader) sender(value string) {
	text := mime.DecodeWords(value)
	display, address := splitFrom(text)
	r.from.display = display
	host := domainOf(address)
	r.from.domain, r.from.tld = registered(host)
	r.fieldWords("from", display, fields, false)
	local, _, _ := strings.Cut(address, "@")
	r.mark("from local", shape(local))
	if r.from.tld != "" {
		r.mark("from tld", r.from.tld)
	}
	if freemail(r.from.domain) {
		r.fact("from a free mail service")
	}
	switch {
	case host == "":
		r.fact("the sender has no domain")
	case display == "":
		r.mark("from", "no name")
	}
	if shown := domainOf(display); shown != "" {
		if d, _ := registered(shown); d != r.from.domain {
			r.fact("the sender's name shows another address")
		}
	}
	if strings.Contains(host, "xn--") {
		r.fact("the sender's domain is in another script")
	}
}

// splitFrom returns the display name and the address.
func splitFrom(s string) (display, address string) {
	if i := strings.LastIndexByte(s, '<'); i >= 0 {
		address, _, _ = strings.Cut(s[i+1:], ">")
		return strings.Trim(s[:i], " \t\""), address
	}
	if i := strings.IndexByte(s, '('); i >= 0 {
		return strings.Trim(s[i:], "() \t"), strings.TrimSpace(s[:i])
	}
	return "", strings.TrimSpace(s)
}

func (r *reader) recipients(value string) {
	switch n := strings.Count(value, "@"); {
	case n == 0:
		r.fact("no address in the To field")
	case n > 5:
		r.fact("many addresses in the To field")
	}
	if hasPrefixFold(value, "undisclosed") {
		r.fact("recipients are not disclosed")
	}
}

func (r *reader) date(value string) {
	// Never the time itself: that is when a corpus was collected. Only its form.
	i := strings.LastIndexAny(value, "+-")
	if i < 0 {
		r.mark("date", "no offset")
		return
	}
	zone := value[i:]
	if len(zone) < 5 {
		r.mark("date", "short offset")
	} else if strings.Contains(zone, "(") {
		r.mark("date", "names its zone")
	}
}

func (r *reader) messageID(value string) {
	local, _, ok := strings.Cut(strings.Trim(value, "<> \t"), "@")
	if !ok {
		r.fact("a Message-ID without a host")
		return
	}
	r.mark("id", shape(local))
}

// contentType looks at the form of the top Content-Type.
func (r *reader) contentType(value string) {
	v := mime.ParseValue(value)
	r.mark("top type", v.Value)
	if b := v.Param("boundary"); b != "" {
		r.mark("boundary", shape(b))
	}
}

// absent adds what the whole header says.
func (r *reader) absent(seen *headerSeen) {
	for _, c := range []struct {
		is     bool
		phrase string
	}{
		{!seen.from, "no From field"}, {!seen.to && !seen.cc, "no recipient in the header"}, {!seen.subject, "no subject"},
		{!seen.date, "no date"}, {!seen.id, "no Message-ID"}, {seen.reference, "answers another mail"},
	} {
		if c.is {
			r.fact(c.phrase)
		}
	}
	if !seen.mime {
		r.mark("mime", "no version")
	}
	if !seen.reference && hasPrefixFold(seen.subjectText, "re:") {
		r.fact("looks like an answer, but answers nothing")
	}
	if d, _ := registered(seen.replyTo); d != "" && r.from.domain != "" {
		if d != r.from.domain {
			r.fact("answers go to another domain")
		} else {
			r.mark("reply-to", "same")
		}
	}
	if d, _ := registered(seen.idDomain); d != "" && d != r.from.domain {
		r.mark("id", "other domain")
	}
}

// fieldWords adds the words of a field, and with pairs also those beside each other.
func (r *reader) fieldWords(name, value string, g family, pairs bool) {
	if g == routes && !r.routes {
		return
	}
	base := newHash(g).text(name).octet(':')
	if g == routes {
		r.put(g, base, nil, []byte(name))
	}
	r.tmp = fold(r.tmp[:0], []byte(value), &oddities{})
	var last hash
	for s := r.tmp; len(s) > 0 && len(r.f.slots[g]) < maxFields; {
		n := 0
		for n < len(s) && (s[n] >= 'a' && s[n] <= 'z' || s[n] >= '0' && s[n] <= '9' || s[n] >= utf8.RuneSelf || s[n] == '-' || s[n] == '.' && g == routes && n > 0) {
			n++
		}
		if n == 0 {
			s = s[1:]
			continue
		}
		h := base.bytes(s[:min(n, maxWord)])
		r.put(g, h, s[:min(n, maxWord)], []byte(name))
		if pairs && last != 0 {
			r.put(g, last.with(h), nil, nil)
		}
		last = h
		s = s[n:]
	}
}

// shape writes a token by the kinds of its characters, runs shortened: "1028311679.886" is "9.9".
func shape(s string) string {
	var b [16]byte
	n := 0
	for i := 0; i < len(s) && n < len(b); i++ {
		c := s[i]
		switch {
		case c >= '0' && c <= '9':
			c = '9'
		case c >= 'a' && c <= 'z':
			c = 'a'
		case c >= 'A' && c <= 'Z':
			c = 'A'
		case c >= utf8.RuneSelf:
			c = 'u'
		}
		if n > 0 && b[n-1] == c {
			continue
		}
		b[n] = c
		n++
	}
	return string(b[:n])
}
