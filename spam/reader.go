package spam

import (
	"bytes"
	"io"
	"strconv"
	"strings"

	"stagecoach/mail"
	"stagecoach/spam/mime"
)

// What of one message is looked at. A filter that read everything would be the cheapest way to
// stop a mail server.
const (
	maxHead = 384 << 10 // octets of the body that are read from its beginning
	maxTail = 128 << 10 // and from its end
	maxText = 16 << 10  // octets of text that are decoded of one part
	maxLast = 4 << 10   // octets of the end of a longer part: a spammer may pad what comes before
	maxAll  = 24 << 10  // octets of normalised text of one message, without such ends
	maxEnds = 8 << 10   // octets of such ends
	maxURLs = 200
)

// A reader turns messages into features. It is not safe for concurrent use.
type reader struct {
	f      *features
	names  *names // nil unless somebody wants to know
	routes bool   // also what belongs to the place where a mail was collected
	hops   bool   // of that also through which servers it came
	text   []byte // normalised, as it is seen
	ends   []byte // normalised, the ends of long parts
	raw    []byte
	buf    []byte
	tmp    []byte
	walker mime.Walker
	odd    oddities

	most                int // words and pairs that there may be
	words, mixed        int
	plain, html, other  int
	links, foreignLinks int
	images, unseen      int
	from                sender
	limited             bool
}

func newReader() *reader { return &reader{f: newFeatures()} }

// read takes a message apart. Its features are valid until the next read. An error is one of
// the body's reader.
func (r *reader) read(m *mail.Message) error {
	r.f.reset()
	*r = reader{f: r.f, names: r.names, routes: r.routes, hops: r.hops, text: r.text[:0], ends: r.ends[:0], raw: r.raw[:0], buf: r.buf, tmp: r.tmp, walker: r.walker}
	ct, enc, cd := r.header(&m.Header)
	body, err := r.body(m)
	if err != nil {
		return err
	}
	r.walker.Walk(ct, enc, cd, body, r.part)
	r.structure()
	r.tokens(r.text, maxGrams, maxWords)
	r.tokens(r.ends, maxGrams+moreGrams, maxWords+moreWords)
	return nil
}

// body reads the body, or the beginning and the end of a long one.
func (r *reader) body(m *mail.Message) ([]byte, error) {
	size := m.Body.Size()
	head, tail := min(size, maxHead+maxTail), int64(0)
	if size > maxHead+maxTail {
		head, tail = maxHead, maxTail
	}
	if int64(cap(r.buf)) < head+tail {
		r.buf = make([]byte, max(head+tail, 64<<10))
	}
	body := r.buf[:head+tail]
	if _, err := io.ReadFull(io.NewSectionReader(m.Body, 0, head), body[:head]); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(io.NewSectionReader(m.Body, size-tail, tail), body[head:]); err != nil {
		return nil, err
	}
	if nl := bytes.IndexByte(body[head:], '\n'); tail > 0 && nl >= 0 { // whole lines on both sides
		start := bytes.LastIndexByte(body[:head], '\n') + 1
		body = append(body[:start], body[int(head)+nl+1:]...)
	}
	return body, nil
}

// fold appends to the normalised text.
func (r *reader) fold(text []byte) {
	if room := maxAll - len(r.text); room > 0 {
		r.text = fold(r.text, text[:min(len(text), room)], &r.odd)
	}
}

// part looks at one leaf.
func (r *reader) part(p *mime.Part) {
	r.mark("type", p.Type)
	switch {
	case p.Disposition != "attachment" && (p.Type == "text/plain" || p.Type == "text/enriched" || !strings.HasPrefix(p.Type, "text/") && p.Name == "" && p.Depth == 0 && p.Encoding == ""):
		r.plain++
		r.textPart(p, false)
	case p.Type == "text/html" && p.Disposition != "attachment":
		r.html++
		r.textPart(p, true)
	case strings.HasPrefix(p.Type, "text/"):
		r.other++
		r.textPart(p, false)
		r.attachment(p)
	default:
		r.other++
		r.attachment(p)
	}
}

func (r *reader) textPart(p *mime.Part, html bool) {
	var trouble, more mime.Trouble
	r.raw, trouble = p.Decode(r.raw[:0], maxText)
	text, more := mime.ToUTF8(r.raw, p.Charset)
	trouble |= more
	if p.Encoding == "base64" && len(r.raw) > 0 && isPlain(r.raw) {
		trouble |= mime.EncodedText
	}
	r.walker.Trouble |= trouble
	if p.Charset != "" {
		r.mark("charset", p.Charset)
	}
	if p.Encoding != "" {
		r.mark("encoding", p.Encoding)
	}
	if len(r.text) > 0 {
		r.fold([]byte(" "))
	}
	cut := len(r.raw) >= maxText
	if html || p.Type == "text/plain" && looksHTML(text) {
		if !html {
			r.fact("HTML under the name of plain text")
		}
		pg := page{r: r}
		pg.read(text)
		r.images += pg.images
		r.unseen += pg.unseen
		html = true
	} else {
		at := len(r.text)
		r.fold(text)
		r.bareLinks(r.text[at:])
	}
	if cut && len(r.ends) < maxEnds {
		r.lastOf(p, html)
	}
}

// lastOf looks at the end of a text part that is longer than what is decoded of it.
func (r *reader) lastOf(p *mime.Part, html bool) {
	rest := *p
	rest.Raw = p.Raw[max(len(p.Raw)-2*maxLast, 0):]
	if nl := bytes.IndexByte(rest.Raw, '\n'); nl >= 0 {
		rest.Raw = rest.Raw[nl+1:] // base64 is whole by lines
	}
	raw, _ := rest.Decode(nil, 2*maxLast)
	text, _ := mime.ToUTF8(raw[max(len(raw)-maxLast, 0):], p.Charset)
	seen := r.text
	r.text = r.ends
	r.fold([]byte(" "))
	if html {
		pg := page{r: r}
		pg.read(text)
	} else {
		at := len(r.text)
		r.fold(text)
		r.bareLinks(r.text[at:])
	}
	r.text, r.ends = seen, r.text
}

func isPlain(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 || c < ' ' && c != '\r' && c != '\n' && c != '\t' {
			return false
		}
	}
	return true
}

func looksHTML(text []byte) bool {
	head := bytes.ToLower(bytes.TrimLeft(text[:min(len(text), 300)], " \t\r\n"))
	return bytes.HasPrefix(head, []byte("<html")) || bytes.HasPrefix(head, []byte("<!doctype html")) || bytes.HasPrefix(head, []byte("<body"))
}

// attachment looks at what is no text of the mail.
func (r *reader) attachment(p *mime.Part) {
	name := strings.ToLower(strings.TrimSpace(p.Name))
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 {
		if name != "" {
			r.mark("file", "no extension")
		}
		return
	}
	ext := name[dot+1:]
	r.mark("file", ext[:min(len(ext), 8)])
	switch {
	case dangerous(ext):
		r.fact("attaches a program")
		if i := strings.LastIndexByte(name[:dot], '.'); i >= 0 && len(name[:dot])-i <= 5 {
			r.fact("attaches a program under the name of a document")
		}
	case ext == "html" || ext == "htm" || ext == "shtml" || ext == "svg":
		r.fact("attaches a page of HTML")
	case ext == "zip" || ext == "rar" || ext == "7z" || ext == "iso" || ext == "img" || ext == "gz" || ext == "cab":
		r.fact("attaches an archive")
	}
}

// dangerous reports whether mail programs run files of this extension at a click.
func dangerous(ext string) bool {
	switch ext {
	case "ade", "adp", "bat", "chm", "cmd", "com", "cpl", "exe", "hta", "ins", "isp", "jse", "lib", "lnk", "mde", "msc", "msi", "msp", "mst",
		"pif", "ps1", "scr", "sct", "shb", "sys", "vb", "vbe", "vbs", "vxd", "wsc", "wsf", "wsh", "jar", "js", "reg":
		return true
	}
	return false
}

// put adds a feature that was made of a piece of the mail.
func (r *reader) put(g family, h hash, text []byte, field []byte) {
	s := h.slot()
	if r.f.add(g, s) && r.names != nil {
		r.names.word(s, text, field)
	}
}

// fact adds a feature of structure by the phrase that people read.
func (r *reader) fact(phrase string) {
	s := newHash(facts).text(phrase).slot()
	if len(r.f.slots[facts]) < maxFacts && r.f.add(facts, s) && r.names != nil {
		r.names.fact(s, phrase)
	}
}

// mark adds a feature of the markup and the MIME structure.
func (r *reader) mark(kind, value string) {
	h := newHash(marks).text(kind)
	if value != "" {
		h = h.octet(' ').text(value)
	}
	s := h.slot()
	if len(r.f.slots[marks]) < maxMarks && r.f.add(marks, s) && r.names != nil {
		r.names.fact(s, strings.TrimSpace(kind+" "+value))
	}
}

// structure adds what can be said of the mail as a whole.
func (r *reader) structure() {
	for _, t := range r.walker.Multi {
		r.mark("type", t)
	}
	r.trouble(r.walker.Trouble)
	switch {
	case r.html > 0 && r.plain == 0:
		r.fact("is HTML without a plain text")
	case r.html > 0:
		r.fact("is HTML beside a plain text")
	case r.plain > 0:
		r.fact("is plain text")
	default:
		r.fact("has no text")
	}
	if r.other > 0 {
		r.fact("has attachments")
	}
	r.measure("length of the text", len(r.text)/32)
	if n := len(r.text) + len(r.ends); n > 100 {
		r.measure("capital letters, sixteenths", r.odd.upper*16/n)
		r.measure("letters of other scripts, eighths", (r.odd.foreign+2*r.odd.han)*8/n)
	}
	r.measure("links", r.links)
	r.measure("pictures", r.images)
	if r.odd.invisible > 3 {
		r.fact("invisible letters in the text")
	}
	if r.odd.decorated > 3 {
		r.fact("decorated letters in the text")
	}
	if r.unseen > 40 {
		r.fact("hidden text")
	}
	if r.images > 0 && len(r.text) < 200 {
		r.fact("pictures with hardly any text")
	}
	if r.links > 0 && len(r.text) < 200 {
		r.fact("a link with hardly any text")
	}
	if r.from.domain != "" && r.links > 0 {
		if r.foreignLinks == r.links {
			r.fact("no link leads to the sender's domain")
		} else if r.foreignLinks == 0 {
			r.fact("all links lead to the sender's domain")
		}
	}
}

func (r *reader) trouble(t mime.Trouble) {
	for bit, phrase := range troubles {
		if t&(1<<bit) != 0 {
			r.fact(phrase)
		}
	}
	r.limited = t.Limited()
}

// troubles are the phrases for mime.Trouble, by bit.
var troubles = [...]string{
	"MIME parts too deep in each other", "too many MIME parts", "a multipart without boundaries", "a multipart that does not end",
	"broken transfer encoding", "wrong character set", "base64 round plain text", "broken header of a MIME part", "encoded words without need",
}

// measure adds a number by its power of two.
func (r *reader) measure(what string, n int) {
	b := 0
	for ; n > 0; n >>= 1 {
		b++
	}
	r.mark(what, strconv.Itoa(b))
}
