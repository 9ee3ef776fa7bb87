// Package trace reads the path that a mail took from its Received fields (RFC 5321 section
// 4.4, RFC 5322 section 3.6.7), leniently: each host writes them in its own manner, and
// those below the first one that is our own may be forged.
package trace

import (
	"errors"
	"net/mail"
	"net/netip"
	"regexp"
	"strings"
	"time"

	our "stagecoach/mail"
)

// A Hop is what one host wrote when it took the mail.
type Hop struct {
	From    string     // what the client called itself
	Info    string     // the comment behind it: what the host found out about the client
	IP      netip.Addr // of the client, where From or Info has it
	By      string     // the host that wrote
	With    string     // protocol, "ESMTPS" and the like
	ID, For string
	Time    time.Time // zero when there is none, or it cannot be read
	Err     error     // why Time is zero
}

// Path returns the hops of a mail, the first one first.
func Path(h *our.Header) []Hop {
	var hops []Hop
	for f := range h.Fields("Received") {
		hops = append(hops, Parse(f.Value()))
	}
	for i, j := 0, len(hops)-1; i < j; i, j = i+1, j-1 {
		hops[i], hops[j] = hops[j], hops[i]
	}
	return hops
}

// Parse reads the body of one Received field. It does not fail: what is missing is empty.
func Parse(body string) Hop {
	var h Hop
	tokens, date := tokenize(body)
	var value, comment *string
	var unused string
	for _, t := range tokens {
		switch {
		case t.comment && comment != nil:
			*comment = strings.TrimSpace(*comment + " " + t.text)
		case t.comment:
		case value != nil:
			*value, value = strings.Trim(t.text, "<>"), nil
		default:
			value, comment = h.clause(t.text, &unused)
		}
	}
	h.IP = address(h.Info)
	if !h.IP.IsValid() {
		h.IP = address(h.From)
	}
	h.Time, h.Err = parseDate(date)
	return h
}

// clause returns where the value and the comment of a clause go. A second clause of the same
// name goes nowhere.
func (h *Hop) clause(name string, unused *string) (value, comment *string) {
	switch strings.ToLower(name) {
	case "from":
		value, comment = &h.From, &h.Info
	case "by":
		value = &h.By
	case "with":
		value = &h.With
	case "id":
		value = &h.ID
	case "for":
		value = &h.For
	case "via":
		value = unused
	default:
		return nil, nil
	}
	if *value != "" {
		return unused, nil
	}
	return value, comment
}

type token struct {
	text    string
	comment bool
}

const maxTokens = 200

// tokenize splits the clauses into words and comments, and cuts the date off, which stands
// behind the last semicolon outside of comments.
func tokenize(s string) (tokens []token, date string) {
	for i := 0; i < len(s) && len(tokens) < maxTokens; {
		switch c := s[i]; {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			i++
		case c == ';':
			date = s[i+1:]
			i++
		case c == '(':
			n := commentLength(s[i:])
			if date == "" {
				tokens = append(tokens, token{strings.TrimSuffix(s[i+1:i+n], ")"), true})
			}
			i += n
		default:
			n := strings.IndexAny(s[i:], " \t\r\n;(")
			if n < 0 {
				n = len(s) - i
			}
			if date == "" {
				tokens = append(tokens, token{text: s[i : i+n]})
			}
			i += n
		}
	}
	return tokens, date
}

func commentLength(s string) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(s)
}

var literal = regexp.MustCompile(`\[(?i:IPv6:)?([0-9a-fA-F:.]+)\]|\b(\d{1,3}(?:\.\d{1,3}){3})\b`)

func address(s string) netip.Addr {
	if len(s) > 1000 {
		s = s[:1000]
	}
	for _, m := range literal.FindAllStringSubmatch(s, 8) {
		if ip, err := netip.ParseAddr(m[1] + m[2]); err == nil {
			return ip.Unmap()
		}
	}
	return netip.Addr{}
}

func parseDate(s string) (time.Time, error) {
	s = strings.Join(strings.Fields(stripComments(s)), " ")
	switch {
	case s == "":
		return time.Time{}, errors.New("no date")
	case len(s) > 60:
		return time.Time{}, errors.New("a date that is too long")
	}
	t, err := mail.ParseDate(s)
	if err != nil {
		return time.Time{}, errors.New("a date that nobody can read")
	}
	return t, nil
}

func stripComments(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		if s[i] == '(' {
			i += commentLength(s[i:])
			continue
		}
		b.WriteByte(s[i])
		i++
	}
	return b.String()
}
