package spam

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// A page goes through HTML as a mail program would show it: the text that is seen, the text
// that is hidden, and where the links lead.
type page struct {
	r      *reader
	hidden int    // depth of elements whose text is not shown
	until  string // name of the element that hid it
	href   string // of the link that is open
	anchor int    // where its text begins in r.text
	tags   int
	images int
	unseen int // octets of hidden text
}

const maxTags = 4000

// read appends what html shows to the text of the mail.
func (p *page) read(html []byte) {
	for len(html) > 0 && p.tags < maxTags {
		i := bytes.IndexByte(html, '<')
		if i < 0 {
			p.show(html)
			break
		}
		if i > 0 {
			p.show(html[:i])
		}
		html = p.tag(html[i:])
	}
	p.endLink()
}

func (p *page) show(text []byte) {
	if p.hidden > 0 {
		for _, c := range text {
			if c > ' ' {
				p.unseen++
			}
		}
		return
	}
	r := p.r
	r.tmp = unescape(r.tmp[:0], text)
	r.fold(r.tmp)
}

// tag reads what begins with "<", and returns what follows.
func (p *page) tag(s []byte) []byte {
	if len(s) < 2 {
		return nil
	}
	c := s[1]
	switch {
	case c == '!' || c == '?':
		return p.comment(s)
	case c == '/':
		end := bytes.IndexByte(s, '>')
		if end < 0 {
			return nil
		}
		p.close(lowerName(s[2:end]))
		return s[end+1:]
	case c|0x20 < 'a' || c|0x20 > 'z': // no tag
		p.show(s[:1])
		return s[1:]
	}
	return p.open(s)
}

func (p *page) comment(s []byte) []byte {
	if bytes.HasPrefix(s, []byte("<!--")) {
		p.r.mark("comment", "")
		if end := bytes.Index(s[4:], []byte("-->")); end >= 0 {
			return s[4+end+3:]
		}
	}
	end := bytes.IndexByte(s, '>')
	if end < 0 {
		return nil
	}
	return s[end+1:]
}

// lowerName returns the name that s begins with in lower case, at most 12 octets of it.
func lowerName(s []byte) string {
	var b [12]byte
	n := 0
	for n < len(s) && n < len(b) {
		c := s[n]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			break
		}
		b[n] = c
		n++
	}
	return string(b[:n])
}

// open reads a start tag with its attributes.
func (p *page) open(s []byte) []byte {
	p.tags++
	name := lowerName(s[1:])
	p.r.mark(name, "")
	i := 1 + len(name)
	var style, href, color string
	for i < len(s) {
		for i < len(s) && (s[i] <= ' ' || s[i] == '/') {
			i++
		}
		if i >= len(s) || s[i] == '>' {
			break
		}
		start := i
		for i < len(s) && s[i] > ' ' && s[i] != '=' && s[i] != '>' {
			i++
		}
		attr := lowerName(s[start:i])
		if i < len(s) && s[i] != '=' || i == start {
			if i == start {
				i++
			}
			continue
		}
		var value []byte
		value, i = attribute(s, i+1)
		p.r.mark(name, attr)
		switch attr {
		case "style":
			style = string(value)
		case "href", "src", "action", "background":
			href = string(unescape(nil, value[:min(len(value), 2048)]))
		case "color", "bgcolor":
			p.r.mark(attr, lowerName(bytes.TrimLeft(value, "#")))
			color = lowerName(bytes.TrimLeft(value, "#"))
		case "width", "height":
			if len(value) < 6 {
				p.r.mark(attr, string(value))
			}
		}
	}
	p.element(name, style, href, color)
	if i < len(s) {
		i++
	}
	s = s[min(i, len(s)):]
	if name == "script" || name == "style" || name == "title" || name == "textarea" {
		return skipRaw(s, name)
	}
	return s
}

// attribute reads a value from i on, and returns where it ends.
func attribute(s []byte, i int) ([]byte, int) {
	for i < len(s) && s[i] <= ' ' {
		i++
	}
	if i >= len(s) {
		return nil, i
	}
	if q := s[i]; q == '"' || q == '\'' {
		if end := bytes.IndexByte(s[i+1:], q); end >= 0 && end < 4096 {
			return s[i+1 : i+1+end], i + 2 + end
		}
		i++
	}
	start := i
	for i < len(s) && s[i] > ' ' && s[i] != '>' {
		i++
	}
	return s[start:i], i
}

// skipRaw returns what follows the end tag of an element whose content is no text.
func skipRaw(s []byte, name string) []byte {
	for i := 0; i < len(s); {
		at := bytes.Index(s[i:], []byte("</"))
		if at < 0 {
			return nil
		}
		i += at + 2
		if lowerName(s[i:]) == name {
			return s[i-2:]
		}
	}
	return nil
}

func isVoid(name string) bool {
	switch name {
	case "br", "img", "hr", "meta", "input", "link", "area", "base", "col", "wbr":
		return true
	}
	return false
}

// element acts on a start tag.
func (p *page) element(name, style, href, color string) {
	switch {
	case p.hidden > 0:
		if name == p.until && !isVoid(name) {
			p.hidden++
		}
	case !isVoid(name) && hides(style):
		p.hidden, p.until = 1, name
	}
	if style != "" {
		p.style(style)
	}
	if href != "" {
		p.target(name, href)
	}
	switch name {
	case "p", "br", "div", "td", "tr", "li", "table", "h1", "h2", "h3":
		p.show([]byte(" "))
	case "form":
		p.r.fact("contains a form")
	case "script":
		p.r.fact("contains a script")
	case "iframe", "object", "embed":
		p.r.fact("embeds something foreign")
	}
}

// target notes where something leads.
func (p *page) target(name, href string) {
	switch name {
	case "a", "area":
		p.endLink()
		p.href, p.anchor = href, len(p.r.text)
		p.r.link(href)
	case "img", "td", "table", "body":
		p.images++
		if !hasPrefixFold(href, "cid:") && !hasPrefixFold(href, "data:") {
			p.r.fact("loads pictures from afar")
			p.r.link(href)
		}
	case "form":
		p.r.link(href)
	}
}

func (p *page) close(name string) {
	if p.hidden > 0 && name == p.until {
		p.hidden--
	}
	if name == "a" {
		p.endLink()
	}
}

// endLink compares what a link shows with where it leads.
func (p *page) endLink() {
	if p.href == "" {
		return
	}
	shown := ""
	if p.anchor <= len(p.r.text) {
		shown = string(p.r.text[p.anchor:min(len(p.r.text), p.anchor+200)])
	}
	p.r.compare(shown, p.href)
	p.href = ""
}

func (p *page) style(style string) {
	for n := 0; style != "" && n < 20; n++ {
		var one string
		one, style, _ = strings.Cut(style, ";")
		name, _, _ := strings.Cut(one, ":")
		p.r.mark("style", lowerName([]byte(strings.TrimSpace(name))))
	}
}

// hides reports whether a style keeps its element from being seen.
func hides(style string) bool {
	if style == "" {
		return false
	}
	s := strings.ToLower(strings.Map(func(r rune) rune {
		if r <= ' ' {
			return -1
		}
		return r
	}, style[:min(len(style), 512)]))
	if strings.Contains(s, "display:none") || strings.Contains(s, "visibility:hidden") || strings.Contains(s, "max-height:0") {
		return true
	}
	for _, size := range []string{"font-size:0", "font-size:1px", "font-size:1pt"} {
		if i := strings.Index(s, size); i >= 0 {
			rest := s[i+len(size):]
			return rest == "" || rest[0] == ';' || rest[0] == 'p' || rest[0] == '!' || rest[0] == 'e'
		}
	}
	return false
}

// unescape appends text with its character references resolved.
func unescape(dst, text []byte) []byte {
	for {
		i := bytes.IndexByte(text, '&')
		if i < 0 {
			return append(dst, text...)
		}
		dst = append(dst, text[:i]...)
		text = text[i:]
		r, n := reference(text)
		if n == 0 {
			dst = append(dst, '&')
			text = text[1:]
			continue
		}
		dst = utf8.AppendRune(dst, r)
		text = text[n:]
	}
}

// reference reads one character reference and returns its length, 0 for none.
func reference(s []byte) (rune, int) {
	if len(s) < 3 {
		return 0, 0
	}
	if s[1] == '#' {
		return numeric(s)
	}
	n := 1
	for n < len(s) && n < 9 && (s[n]|0x20 >= 'a' && s[n]|0x20 <= 'z' || s[n] >= '0' && s[n] <= '9') {
		n++
	}
	r, ok := entities[string(s[1:n])]
	if !ok {
		return 0, 0
	}
	if n < len(s) && s[n] == ';' {
		n++
	}
	return r, n
}

func numeric(s []byte) (rune, int) {
	i, base := 2, rune(10)
	if s[i]|0x20 == 'x' {
		i, base = 3, 16
	}
	var r rune
	start := i
	for ; i < len(s) && i-start < 8; i++ {
		c := s[i]
		var d rune
		switch {
		case c >= '0' && c <= '9':
			d = rune(c - '0')
		case base == 16 && c|0x20 >= 'a' && c|0x20 <= 'f':
			d = rune(c|0x20-'a') + 10
		default:
			d = 99
		}
		if d >= base {
			break
		}
		r = min(r*base+d, utf8.MaxRune+1)
	}
	if i == start {
		return 0, 0
	}
	if i < len(s) && s[i] == ';' {
		i++
	}
	if !utf8.ValidRune(r) {
		r = utf8.RuneError
	}
	return r, i
}

var entities = map[string]rune{
	"amp": '&', "lt": '<', "gt": '>', "quot": '"', "apos": '\'', "nbsp": ' ', "copy": '©', "reg": '®', "trade": '™',
	"euro": '€', "pound": '£', "yen": '¥', "cent": '¢', "bull": '•', "middot": '·', "hellip": '…', "ndash": '–', "mdash": '—',
	"lsquo": '‘', "rsquo": '’', "ldquo": '“', "rdquo": '”', "laquo": '«', "raquo": '»', "zwnj": 0x200c, "zwj": 0x200d, "shy": 0xad,
	"auml": 'ä', "ouml": 'ö', "uuml": 'ü', "Auml": 'Ä', "Ouml": 'Ö', "Uuml": 'Ü', "szlig": 'ß', "agrave": 'à', "aacute": 'á',
	"acirc": 'â', "atilde": 'ã', "ccedil": 'ç', "egrave": 'è', "eacute": 'é', "ecirc": 'ê', "iacute": 'í', "ntilde": 'ñ', "oacute": 'ó',
	"ocirc": 'ô', "otilde": 'õ', "uacute": 'ú', "times": '×', "deg": '°', "sect": '§',
}
