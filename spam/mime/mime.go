// Package mime reads the parts of a message as a filter must: it takes whatever comes, never
// fails, and does a bounded amount of work. What it cannot make sense of it hands out as text.
//
// It follows RFC 2045 to 2047, 2183 and 2231 where senders do, and mail programs where senders
// do not: bare line feeds end lines, a missing final boundary ends with the message, and
// base64 with rubbish in it is decoded round the rubbish.
package mime

import (
	"bytes"
)

// Limits of what one message may cost. What lies beyond is not read, and the walk says so.
const (
	MaxDepth    = 16       // multiparts and messages in each other
	MaxParts    = 256      // leaves
	MaxFields   = 64       // header fields of one part
	MaxField    = 4 << 10  // octets of one header field that are looked at
	maxBoundary = 256      // octets; RFC 2046 section 5.1.1 allows 70
	MaxDecoded  = 64 << 10 // octets of one part that are decoded
)

// A Part is one leaf of a message.
type Part struct {
	Type        string // "text/html", lower case; "text/plain" when not said
	Charset     string // as said, lower case
	Encoding    string // Content-Transfer-Encoding, lower case
	Name        string // file name, RFC 2047 and 2231 decoded, "" for none
	Disposition string // "attachment", "inline" or ""
	Raw         []byte // the body as it came
	Depth       int    // how many multiparts and messages it is in
}

// Trouble is what was odd about a message, as bits.
type Trouble uint16

// The kinds of trouble. TooDeep, TooMany and Cut mean that not all was looked at.
const (
	TooDeep Trouble = 1 << iota
	TooMany
	NoBoundary    // a multipart without a boundary, or whose boundary never comes
	Unclosed      // the last boundary is missing
	BadEncoding   // an encoding that does not exist, or rubbish inside one
	BadCharset    // bytes that the charset does not have, or a charset that nobody knows
	EncodedText   // text in base64 that needed none
	BadField      // a line in a header that is no field
	EncodedHeader // RFC 2047 where all was ASCII
)

// Limited reports whether something of the message was not looked at.
func (t Trouble) Limited() bool { return t&(TooDeep|TooMany) != 0 }

// A Walker goes through messages. Its zero value is ready; it is not safe for concurrent use.
type Walker struct {
	Trouble Trouble
	Multi   []string // types of the multiparts that were met, in order, at most MaxDepth

	// Message, when not nil, takes the messages that are attached instead of Walk going into
	// them, as they came or decoded. They are valid only during the call.
	Message func(raw []byte)

	parts int
	visit func(*Part)
}

// Walk calls visit for each leaf of a message, in order, given the values of the Content-Type,
// Content-Transfer-Encoding and Content-Disposition fields of its header. A part is valid
// only during its visit; its slices are those of body.
func (w *Walker) Walk(contentType, encoding, disposition string, body []byte, visit func(*Part)) {
	w.Trouble, w.parts, w.visit = 0, 0, visit
	w.Multi = w.Multi[:0]
	w.entity(contentType, encoding, disposition, body, 0)
	w.visit = nil
}

// entity looks at one part with its header, a leaf or not.
func (w *Walker) entity(contentType, encoding, disposition string, body []byte, depth int) {
	ct := ParseValue(contentType)
	cd := ParseValue(disposition)
	enc := lowerToken(encoding)
	if ct.Value == "" || bytes.IndexByte([]byte(ct.Value), '/') < 0 {
		ct.Value = "text/plain"
	}
	switch {
	case len(ct.Value) > 10 && ct.Value[:10] == "multipart/":
		if len(w.Multi) < MaxDepth {
			w.Multi = append(w.Multi, ct.Value)
		}
		if depth >= MaxDepth {
			w.Trouble |= TooDeep
			return
		}
		if boundary := ct.Param("boundary"); boundary != "" && len(boundary) <= maxBoundary && w.split(boundary, body, depth) {
			return
		}
		w.Trouble |= NoBoundary
		ct.Value = "text/plain" // what a reader might show
	case ct.Value == "message/rfc822" || ct.Value == "message/global":
		if w.Message != nil {
			w.attached(enc, body)
			return
		}
		if depth >= MaxDepth {
			w.Trouble |= TooDeep
			return
		}
		if enc != "base64" && enc != "quoted-printable" {
			w.message(body, depth+1)
			return
		}
	}
	if w.parts++; w.parts > MaxParts {
		w.Trouble |= TooMany
		return
	}
	name := cd.Param("filename")
	if name == "" {
		name = ct.Param("name")
	}
	w.visit(&Part{
		Type: ct.Value, Charset: lowerToken(ct.Param("charset")), Encoding: enc, Disposition: cd.Value,
		Name: DecodeWords(name), Raw: body, Depth: depth,
	})
}

// attached hands out a message that is attached.
func (w *Walker) attached(encoding string, body []byte) {
	if w.parts++; w.parts > MaxParts {
		w.Trouble |= TooMany
		return
	}
	var trouble Trouble
	switch encoding {
	case "base64":
		body, trouble = decodeBase64(nil, body, len(body))
	case "quoted-printable":
		body, trouble = decodeQuoted(nil, body, len(body), false)
	}
	w.Trouble |= trouble
	w.Message(body)
}

// message looks at a header and what follows.
func (w *Walker) message(b []byte, depth int) {
	var ct, enc, cd string
	rest := w.header(b, func(name, value []byte) {
		switch {
		case ct == "" && equalFold(name, "content-type"):
			ct = string(value)
		case enc == "" && equalFold(name, "content-transfer-encoding"):
			enc = string(value)
		case cd == "" && equalFold(name, "content-disposition"):
			cd = string(value)
		}
	})
	w.entity(ct, enc, cd, rest, depth)
}

// split hands each part of a multipart to message, and reports whether the boundary came.
func (w *Walker) split(boundary string, body []byte, depth int) bool {
	delimiter := append([]byte("--"), boundary...)
	start, found := -1, false
	for i := 0; i < len(body); {
		at := nextDelimiter(body, delimiter, i)
		if at < 0 {
			break
		}
		found = true
		if start >= 0 {
			w.message(trimEOL(body[start:at]), depth+1)
			if w.Trouble.Limited() {
				return true
			}
		}
		i = at + len(delimiter)
		if bytes.HasPrefix(body[i:], []byte("--")) {
			return true // what follows is the epilogue
		}
		if nl := bytes.IndexByte(body[i:], '\n'); nl >= 0 {
			i += nl + 1
		} else {
			i = len(body)
		}
		start = i
	}
	if found {
		w.Trouble |= Unclosed
		if start < len(body) {
			w.message(body[start:], depth+1)
		}
	}
	return found
}

// nextDelimiter finds the delimiter at the beginning of a line, from i on.
func nextDelimiter(body, delimiter []byte, i int) int {
	for i < len(body) {
		at := bytes.Index(body[i:], delimiter)
		if at < 0 {
			return -1
		}
		at += i
		if at == 0 || body[at-1] == '\n' || body[at-1] == '\r' {
			end := at + len(delimiter)
			if end == len(body) || bytes.IndexByte([]byte("\r\n \t-"), body[end]) >= 0 {
				return at
			}
		}
		i = at + 1
	}
	return -1
}

// header calls field for each field, unfolded, and returns what follows the empty line. A part
// that begins with no field at all is all body.
func (w *Walker) header(b []byte, field func(name, value []byte)) []byte {
	n := 0
	for len(b) > 0 {
		line, rest := cutLine(b)
		if len(line) == 0 {
			return rest
		}
		end := len(line)
		for len(rest) > 0 && (rest[0] == ' ' || rest[0] == '\t') { // folded
			var more []byte
			before := rest
			more, rest = cutLine(rest)
			end = len(b) - len(before) + len(more)
		}
		colon := bytes.IndexByte(line, ':')
		if colon <= 0 || colon > 80 || bytes.IndexByte(line[:colon], ' ') >= 0 {
			w.Trouble |= BadField
			if n == 0 {
				return b
			}
		} else if n++; n <= MaxFields {
			raw := b[:min(end, MaxField)]
			field(line[:colon], unfold(raw[min(colon+1, len(raw)):]))
		}
		b = rest
	}
	return nil
}

// cutLine returns the first line without its end, be that CRLF or LF, and what follows.
func cutLine(b []byte) (line, rest []byte) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		return b, nil
	}
	line, rest = b[:i], b[i+1:]
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line, rest
}

func trimEOL(b []byte) []byte {
	if n := len(b); n > 0 && b[n-1] == '\n' {
		b = b[:n-1]
	}
	if n := len(b); n > 0 && b[n-1] == '\r' {
		b = b[:n-1]
	}
	return b
}

func unfold(b []byte) []byte {
	b = bytes.Trim(b, " \t\r\n")
	if bytes.IndexByte(b, '\n') < 0 {
		return b
	}
	out := make([]byte, 0, len(b))
	for _, c := range b {
		if c != '\r' && c != '\n' {
			out = append(out, c)
		}
	}
	return out
}

func equalFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i := range b {
		c := b[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}
