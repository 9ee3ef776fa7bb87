// Package mime takes messages apart into their MIME entities, and writes such entities, for
// the tools that people hold mails in their hands with. It reads what is there, however
// wrong, says what is wrong with it, and gives back every byte.
//
// It implements RFC 2045, RFC 2046 and RFC 2047, parameters by RFC 2231, address lists by
// RFC 5322 section 3.4, and raw UTF-8 in headers (RFC 6532).
package mime

import (
	"fmt"
	"io"
	"iter"
	"strings"

	"stagecoach/mail"
)

// Limits on what is taken apart; what lies beyond stays one part.
const (
	MaxDepth = 30     // entities in each other
	MaxParts = 10_000 // entities of one message
)

// A Part is one entity: the message itself, or a part of it. What it points into belongs to
// whoever called Parse, and is not to be changed.
type Part struct {
	Header      mail.Header
	Type        string // "text/plain", lower case; what applies where the header says nothing
	Params      Params // of Content-Type
	Disposition string // "attachment", lower case, "" for none
	Filename    string // of Content-Disposition or Content-Type, decoded
	Encoding    string // of the transfer, lower case; "7bit" where the header says nothing
	Problems    []string
	Parts       []*Part // of a multipart, or the one of message/rfc822

	body []byte   // raw; of a leaf all there is
	gaps [][]byte // what stands before, between and behind the Parts
}

// Parse takes a message apart. It never fails: what cannot be read stays one part, and
// Problems says why. The time is linear in len(raw) for a given depth.
func Parse(raw []byte) *Part {
	p := &parser{left: MaxParts}
	return p.part(raw, "text/plain", 0)
}

type parser struct{ left int }

func (p *parser) part(raw []byte, fallback string, depth int) *Part {
	p.left--
	n := headerEnd(raw)
	e := &Part{Header: mail.ParseHeader(string(raw[:n])), body: raw[n:], Type: fallback, Encoding: "7bit"}
	if n == len(raw) && n > 0 && raw[n-1] != '\n' {
		e.problem("the last line of the header does not end")
	}
	e.readHeader()
	switch {
	case strings.HasPrefix(e.Type, "multipart/"):
		p.multipart(e, depth)
	case e.Type == "message/rfc822" || e.Type == "message/global":
		p.message(e, depth)
	}
	return e
}

func (p *parser) message(e *Part, depth int) {
	if !e.identity() {
		e.problem("a message is encoded with %s (RFC 2046 section 5.2.1)", e.Encoding)
		return
	}
	if p.full(e, depth) {
		return
	}
	e.Parts = []*Part{p.part(e.body, "text/plain", depth+1)}
	e.gaps = [][]byte{nil, nil}
}

func (p *parser) multipart(e *Part, depth int) {
	boundary := e.Params.Get("boundary")
	switch {
	case boundary == "":
		e.problem("a multipart without a boundary")
		return
	case len(boundary) > 70 || strings.HasSuffix(boundary, " "):
		e.problem("the boundary is longer than 70 octets, or ends in a blank (RFC 2046 section 5.1.1)")
	}
	if !e.identity() {
		e.problem("a multipart is encoded with %s (RFC 2045 section 6.4)", e.Encoding)
	}
	if p.full(e, depth) {
		return
	}
	pieces, gaps, closed := split(e.body, boundary, p.left)
	if len(pieces) == 0 {
		e.problem("the boundary does not occur")
		return
	}
	if !closed {
		e.problem("the last boundary is missing")
	}
	fallback := "text/plain"
	if e.Type == "multipart/digest" {
		fallback = "message/rfc822"
	}
	e.gaps = gaps
	p.left -= len(pieces) // reserved, so that nesting cannot take more than there is
	for _, piece := range pieces {
		p.left++
		e.Parts = append(e.Parts, p.part(piece, fallback, depth+1))
	}
}

func (p *parser) full(e *Part, depth int) bool {
	if depth < MaxDepth && p.left > 0 {
		return false
	}
	e.problem("too deep or too many parts: left as it is")
	return true
}

func (p *Part) problem(format string, args ...any) {
	if len(p.Problems) < 20 {
		p.Problems = append(p.Problems, fmt.Sprintf(format, args...))
	}
}

func (p *Part) identity() bool {
	return p.Encoding == "7bit" || p.Encoding == "8bit" || p.Encoding == "binary"
}

// Raw returns the body as it stands in the message.
func (p *Part) Raw() []byte { return p.body }

// Content returns the body without its transfer encoding. An error says that the encoding
// is broken or unknown; what could be read is returned with it.
func (p *Part) Content() ([]byte, error) {
	switch p.Encoding {
	case "7bit", "8bit", "binary":
		return p.body, nil
	case "base64":
		return DecodeBase64(p.body)
	case "quoted-printable":
		return DecodeQuotedPrintable(p.body)
	}
	return p.body, fmt.Errorf("unknown transfer encoding %q", shorten(p.Encoding))
}

// Text returns the content as UTF-8, converted from its charset.
func (p *Part) Text() (string, error) {
	b, err := p.Content()
	if err != nil {
		return string(b), err
	}
	return decodeCharset(p.Params.Get("charset"), b)
}

// All yields the entity and all within it, in the order of the message, with their depth.
func (p *Part) All() iter.Seq2[int, *Part] {
	return func(yield func(int, *Part) bool) { p.walk(0, yield) }
}

func (p *Part) walk(depth int, yield func(int, *Part) bool) bool {
	if !yield(depth, p) {
		return false
	}
	for _, child := range p.Parts {
		if !child.walk(depth+1, yield) {
			return false
		}
	}
	return true
}

// WriteTo writes the entity, put together from its header fields, parts and what stands
// between them: byte for byte what Parse took.
func (p *Part) WriteTo(w io.Writer) (int64, error) {
	n, err := p.Header.WriteTo(w)
	if err != nil {
		return n, err
	}
	if len(p.Parts) == 0 {
		k, err := w.Write(p.body)
		return n + int64(k), err
	}
	for i, gap := range p.gaps {
		k, err := w.Write(gap)
		n += int64(k)
		if err == nil && i < len(p.Parts) {
			var m int64
			m, err = p.Parts[i].WriteTo(w)
			n += m
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// shorten keeps texts short when the input is hostile.
func shorten(s string) string {
	if len(s) > 60 {
		return s[:60] + "…"
	}
	return s
}

// Closing returns where in Raw the last delimiter of a multipart begins, with the line end
// that belongs to it; ok is false when there is none.
func (p *Part) Closing() (at int, ok bool) {
	n := len(p.Parts)
	if n == 0 || len(p.gaps) != n+1 || len(p.gaps[n]) == 0 {
		return 0, false
	}
	at = len(p.body) - len(p.gaps[n])
	return at, true
}
