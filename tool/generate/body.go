package generate

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
)

// maxDepth is how deep entities stand in each other.
const maxDepth = 4

// entity makes an entity: its fields, its body as it stands in the mail, and what it is.
func (g *source) entity(depth int) ([]string, []byte, Entity) {
	switch {
	case depth < maxDepth && g.one(3):
		return g.multipart(depth)
	case depth > 0 && depth < maxDepth && g.one(8):
		return g.enclosed(depth)
	case g.one(4):
		return g.file()
	}
	return g.text()
}

func (g *source) multipart(depth int) ([]string, []byte, Entity) {
	e := Entity{Type: "multipart/" + g.pick("mixed", "alternative", "related", "parallel", "x-unknown", "report")}
	var parts [][]byte
	for range g.between(1, 4) {
		fields, body, child := g.entity(depth + 1)
		e.Parts = append(e.Parts, child)
		part := strings.Join(fields, "") + "\r\n" + string(body)
		parts = append(parts, []byte(part))
	}
	preamble, epilogue := g.aside(), g.aside()
	boundary := g.boundary(append(parts, []byte(preamble), []byte(epilogue)))
	var b bytes.Buffer
	if preamble != "" {
		b.WriteString(preamble + "\r\n")
	}
	for _, p := range parts {
		b.WriteString("--" + boundary + g.padding() + "\r\n")
		b.Write(p)
		b.WriteString("\r\n")
	}
	b.WriteString("--" + boundary + "--" + g.padding())
	if epilogue != "" || g.one(2) {
		b.WriteString("\r\n" + epilogue)
	}
	fields := []string{g.field("Content-Type", g.cased(e.Type)+g.parameter("boundary", boundary, true))}
	if hasEight(b.Bytes()) {
		fields = append(fields, g.field("Content-Transfer-Encoding", g.pick("8bit", "8BIT", "binary")))
	}
	return fields, b.Bytes(), e
}

// aside makes a preamble or an epilogue, mostly none.
func (g *source) aside() string {
	if !g.one(4) {
		return ""
	}
	return g.pick("This is a message in MIME format.", "--", "--almost", "\r\n", "-- \r\nsignature")
}

// padding is what may stand behind a delimiter (RFC 2046 section 5.1.1).
func (g *source) padding() string {
	if !g.one(10) {
		return ""
	}
	return g.pick(" ", "\t", "  \t ")
}

// boundary makes one that does not occur in what it holds.
func (g *source) boundary(inside [][]byte) string {
	const chars = alphanum + "'()+_,-./:=?"
	for {
		b := g.letters(chars+" ", g.between(0, 69)) + g.letters(chars, 1)
		ok := true
		for _, x := range inside {
			ok = ok && !bytes.Contains(x, []byte("--"+b))
		}
		if ok {
			return b
		}
	}
}

// enclosed makes a message in a message.
func (g *source) enclosed(depth int) ([]string, []byte, Entity) {
	fields, body, child := g.entity(depth + 1)
	inner := &Mail{}
	fields = append(fields, g.header(inner)...)
	g.shuffle(fields)
	raw := []byte(strings.Join(fields, "") + "\r\n" + string(body))
	outer := []string{g.field("Content-Type", g.cased("message/rfc822"))}
	if hasEight(raw) {
		outer = append(outer, g.field("Content-Transfer-Encoding", "8bit"))
	}
	return outer, raw, Entity{Type: "message/rfc822", Parts: []Entity{child}}
}

// file makes an attachment.
func (g *source) file() ([]string, []byte, Entity) {
	e := Entity{Type: "application/" + g.pick("octet-stream", "pdf", "x-"+g.letters(lower, 5)), Content: make([]byte, g.size())}
	for i := range e.Content {
		e.Content[i] = byte(g.Uint32())
	}
	fields := []string{g.field("Content-Type", g.cased(e.Type)), g.field("Content-Transfer-Encoding", g.cased("base64"))}
	if g.one(2) {
		e.Filename = g.letters(alphanum+" .-_()';%*\"\\", g.between(1, 90)) + "x"
		if g.one(3) {
			e.Filename += g.pick("é", "日本語", "🙂")
		}
		e.Filename = strings.TrimSpace(e.Filename)
		fields = append(fields, g.field("Content-Disposition", g.pick("attachment", "inline")+g.parameter("filename", e.Filename, false)))
	}
	return fields, g.base64(e.Content), e
}

// size is how large a content is: mostly small.
func (g *source) size() int {
	if g.one(20) {
		return g.IntN(20_000)
	}
	return g.IntN(200)
}

// text makes a text, in a charset and an encoding.
func (g *source) text() ([]string, []byte, Entity) {
	e := Entity{Type: "text/" + g.pick("plain", "plain", "html"), Charset: "us-ascii"}
	var b strings.Builder
	_, name, _ := g.foreign(1)
	foreign := g.one(2)
	for range g.IntN(15) {
		b.WriteString(g.line(foreign, name))
		b.WriteString("\r\n")
	}
	if g.one(3) {
		b.WriteString("no line end at the end")
	}
	e.Text = b.String()
	e.Content = []byte(e.Text)
	if foreign {
		e.Charset = name
		e.Content = encode(name, e.Text)
	}
	content := g.parameter("charset", e.Charset, true)
	encoding, body := "7bit", e.Content
	switch eight := hasEight(body); {
	case g.one(4):
		encoding, body = "base64", g.base64(body)
	case g.one(2) || eight && g.one(2):
		encoding, body = "quoted-printable", g.quotedPrintable(body)
	case eight:
		encoding = "8bit"
	}
	fields := []string{g.field("Content-Type", g.cased(e.Type)+content)}
	if encoding != "7bit" || g.one(2) {
		fields = append(fields, g.field("Content-Transfer-Encoding", g.cased(encoding)))
	}
	return fields, body, e
}

func (g *source) line(foreign bool, name string) string {
	switch g.IntN(8) {
	case 0:
		return g.pick("", ".", "..", "From here", ">From", "--", "-- ", "--boundary", " ", "\t", "trailing  ", "=", "=3D", ". leading")
	case 1:
		return g.letters(alphanum+"= .", g.between(1, 998))
	case 2, 3, 4:
		if foreign {
			for _, s := range scripts {
				if s.charset == name {
					return g.pick(s.words...) + " " + g.pick(s.words...)
				}
			}
		}
	}
	var words []string
	for range g.between(1, 12) {
		words = append(words, g.word())
	}
	return strings.Join(words, " ")
}

// cased writes a token that has no case.
func (g *source) cased(s string) string {
	if g.one(6) {
		return strings.ToUpper(s)
	}
	return s
}

// parameter writes "; name=value" in one of the ways that mean the same. simple: not by
// RFC 2231, which boundary and charset are not written in.
func (g *source) parameter(name, value string, simple bool) string {
	plain := strings.IndexFunc(value, func(r rune) bool { return r > '~' }) < 0
	gap := g.pick("; ", ";", " ; ", ";\r\n ", "; (comment) ", ";\r\n\t")
	if plain && (simple || g.one(2)) {
		if strings.IndexFunc(value, func(r rune) bool { return !strings.ContainsRune(alphanum+"-_.", r) }) < 0 && g.one(2) {
			return gap + g.cased(name) + "=" + value
		}
		return gap + g.cased(name) + `="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value) + `"`
	}
	escaped := percent(value)
	if g.one(2) {
		return gap + name + "*=utf-8'" + g.pick("", "en") + "'" + escaped
	}
	out, first := "", g.pick("UTF-8", "utf-8")+"''"
	for i := 0; escaped != ""; i++ {
		n := min(len(escaped), g.between(1, 40))
		if k := strings.LastIndexByte(escaped[:n], '%'); k >= 0 && n-k < 3 { // not in an escape
			n = k
			if n == 0 {
				n = 3
			}
		}
		out += fmt.Sprintf("%s%s*%d*=%s%s", gap, name, i, first, escaped[:n])
		escaped, first = escaped[n:], ""
	}
	return out
}

func percent(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if strings.IndexByte(alphanum+"-_.", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// base64 breaks its lines anywhere, as RFC 2045 section 6.8 allows.
func (g *source) base64(content []byte) []byte {
	s := base64.StdEncoding.EncodeToString(content)
	length := 76
	if g.one(4) {
		length = g.between(1, 76)
	}
	var b bytes.Buffer
	for len(s) > 0 {
		n := min(length, len(s))
		b.WriteString(s[:n] + "\r\n")
		s = s[n:]
	}
	return b.Bytes()
}

// quotedPrintable encodes what must be, and some of what need not be, and breaks lines
// anywhere (RFC 2045 section 6.7).
func (g *source) quotedPrintable(content []byte) []byte {
	var b bytes.Buffer
	column := 0
	wild := g.one(3)
	for len(content) > 0 {
		if bytes.HasPrefix(content, []byte("\r\n")) {
			b.WriteString("\r\n")
			content, column = content[2:], 0
			continue
		}
		c := content[0]
		content = content[1:]
		text := string(rune(c))
		last := len(content) == 0 || content[0] == '\r'
		if c < ' ' && c != '\t' || c > '~' || c == '=' || last && (c == ' ' || c == '\t') || wild && g.one(10) {
			text = fmt.Sprintf("=%02X", c)
		}
		if column+len(text) > 75 || wild && g.one(30) {
			b.WriteString("=\r\n")
			column = 0
		}
		b.WriteString(text)
		column += len(text)
	}
	return b.Bytes()
}
