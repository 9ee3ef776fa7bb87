package generate

import (
	"bytes"
	"fmt"
	"slices"
)

// Mutate returns a copy of a mail in which n things are wrong, chosen by the seed: such as
// arrive, and such as attackers send.
func Mutate(raw []byte, seed uint64, n int) []byte {
	g := newSource(seed ^ 0x6d7574617465)
	raw = slices.Clone(raw)
	for range n {
		raw = g.mutate(raw)
	}
	return raw
}

func (g *source) mutate(raw []byte) []byte {
	at := 0
	if len(raw) > 0 {
		at = g.IntN(len(raw))
	}
	switch g.IntN(16) {
	case 0: // one octet changes
		if len(raw) > 0 {
			raw[at] = byte(g.Uint32())
		}
		return raw
	case 1: // it breaks off
		return raw[:at]
	case 2: // something is inserted
		return slices.Insert(raw, at, []byte(g.pick("\x00", "\r", "\n", "\r\n", "\r\n\r\n", "\xff", "\xc3", "=", "--", "\"", "(", "<", "\r\n.\r\n", "\u202e", "=?utf-8?q?", "\t"))...)
	case 3: // something is missing
		return slices.Delete(raw, at, min(len(raw), at+g.between(1, 50)))
	case 4:
		return g.lines(raw, func(lines [][]byte, i int) [][]byte { return slices.Delete(lines, i, i+1) })
	case 5:
		return g.lines(raw, func(lines [][]byte, i int) [][]byte { return slices.Insert(lines, i, lines[i]) })
	case 6:
		return g.lines(raw, func(lines [][]byte, i int) [][]byte {
			j := g.IntN(len(lines))
			lines[i], lines[j] = lines[j], lines[i]
			return lines
		})
	case 7: // lines end in LF, all or from here on
		return append(raw[:at:at], bytes.ReplaceAll(raw[at:], []byte("\r\n"), []byte("\n"))...)
	case 8: // a line is too long
		return slices.Insert(raw, at, bytes.Repeat([]byte("x"), g.between(1000, 5000))...)
	case 9: // a field on top that should not be
		return append([]byte(g.pick("From: evil@example.com\r\n", "no field\r\n", ": empty\r\n", " folded\r\n", "From : b@example.com\r\n", "Subject:\r\n \r\n \r\n",
			"Content-Type: multipart/mixed\r\n", "Content-Transfer-Encoding: base64\r\n", "Content-Type: text/plain; charset=\"x\r\n", "\xef\xbb\xbfX: y\r\n", "From evil Mon Jan 1\r\n")), raw...)
	case 10: // too many fields
		return append(bytes.Repeat([]byte("Received: from a by b; now\r\n"), g.between(10, 200)), raw...)
	case 11: // many comments in each other
		return append([]byte("To: "+string(bytes.Repeat([]byte("("), g.between(1, 500)))+"\r\n"), raw...)
	case 12: // multiparts in each other
		var b bytes.Buffer
		for i := range g.between(2, 60) {
			fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=%d\r\n\r\n--%d\r\n", i, i)
		}
		return append(b.Bytes(), raw...)
	case 13: // the empty line is missing
		return bytes.Replace(raw, []byte("\r\n\r\n"), []byte("\r\n"), 1)
	case 14: // a delimiter too few, or too many
		if i := bytes.LastIndex(raw, []byte("\r\n--")); i >= 0 {
			if g.one(2) {
				return raw[:i]
			}
			return append(raw, raw[i:]...)
		}
		return raw
	}
	return bytes.Replace(raw, []byte("="), []byte("=="), g.between(1, 5))
}

// lines changes the list of lines.
func (g *source) lines(raw []byte, change func(lines [][]byte, i int) [][]byte) []byte {
	lines := bytes.SplitAfter(raw, []byte("\n"))
	return bytes.Join(change(lines, g.IntN(len(lines))), nil)
}
