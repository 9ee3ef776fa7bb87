package mime

import (
	"bytes"
)

// headerEnd returns where the body begins: behind the first empty line, or at the end.
func headerEnd(raw []byte) int {
	if bytes.HasPrefix(raw, []byte("\r\n")) {
		return 2
	}
	if i := bytes.Index(raw, []byte("\r\n\r\n")); i >= 0 {
		return i + 4
	}
	return len(raw)
}

// split cuts a multipart body at its delimiters (RFC 2046 section 5.1.1). gaps has one
// element more than pieces; gaps and pieces in turn are the body. No more than limit pieces
// are cut off: the last one has all the rest.
func split(body []byte, boundary string, limit int) (pieces, gaps [][]byte, closed bool) {
	mark := []byte("--" + boundary)
	start := 0 // of what is not yet given to a gap or piece
	open := false
	for at := 0; len(pieces) < limit; {
		i := bytes.Index(body[at:], mark)
		if i < 0 {
			break
		}
		i += at
		at = i + len(mark)
		end, last, ok := delimiter(body, i, at)
		if !ok {
			continue
		}
		from := i // the line end before a delimiter belongs to it
		if from > start && body[from-1] == '\n' {
			from--
			if from > start && body[from-1] == '\r' {
				from--
			}
		}
		if open {
			pieces = append(pieces, body[start:from])
			start = from
		}
		if last {
			return pieces, append(gaps, body[start:]), true
		}
		gaps = append(gaps, body[start:end])
		start, at, open = end, end, true
	}
	if open {
		pieces = append(pieces, body[start:])
		gaps = append(gaps, nil)
	}
	return pieces, gaps, false
}

// delimiter reports whether the mark in body[i:at] is a delimiter line, where that ends,
// and whether it is the last one.
func delimiter(body []byte, i, at int) (end int, last, ok bool) {
	if i > 0 && body[i-1] != '\n' {
		return 0, false, false
	}
	if bytes.HasPrefix(body[at:], []byte("--")) {
		last = true
		at += 2
	}
	for at < len(body) && (body[at] == ' ' || body[at] == '\t') {
		at++
	}
	switch {
	case at == len(body):
		return at, last, true
	case bytes.HasPrefix(body[at:], []byte("\r\n")):
		return at + 2, last, true
	case body[at] == '\n':
		return at + 1, last, true
	}
	return 0, false, false
}
