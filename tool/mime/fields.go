package mime

import "strings"

// readHeader reads what the header says of the body.
func (p *Part) readHeader() {
	p.readFirst("Content-Type", p.readType)
	p.readFirst("Content-Disposition", p.readDisposition)
	p.readFirst("Content-Transfer-Encoding", p.readEncoding)
	if p.Filename == "" {
		p.Filename = p.Params.Get("name")
	}
	for f := range p.Header.All() {
		if f.Name() == "" {
			p.problem("a line of the header is no field: %q", shorten(f.Raw()))
		}
	}
}

func (p *Part) readFirst(name string, read func(body string)) {
	if n := p.Header.Count(name); n > 1 {
		p.problem("%d %s fields: the first one counts here", n, name)
	}
	for f := range p.Header.Fields(name) {
		read(f.Value())
		return
	}
}

func (p *Part) readType(body string) {
	value, params, problems := ParseParams(body)
	for _, s := range problems {
		p.problem("Content-Type: %s", s)
	}
	main, sub, ok := strings.Cut(value, "/")
	if !ok || !isToken(main) || !isToken(sub) {
		// RFC 2045 section 5.2: what makes no sense is read as text/plain.
		p.problem("Content-Type: %q is no type", shorten(value))
		return
	}
	p.Type, p.Params = value, params
}

func (p *Part) readDisposition(body string) {
	value, params, problems := ParseParams(body)
	for _, s := range problems {
		p.problem("Content-Disposition: %s", s)
	}
	p.Disposition, p.Filename = value, params.Get("filename")
}

func (p *Part) readEncoding(body string) {
	value, _, _ := ParseParams(body)
	switch value {
	case "7bit", "8bit", "binary", "base64", "quoted-printable":
	default:
		p.problem("Content-Transfer-Encoding: %q is not known", shorten(value))
	}
	p.Encoding = value
}
