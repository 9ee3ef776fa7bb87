package smtp

import (
	"strconv"
	"strings"
)

// maxReplyText keeps a reply line under the 512 octets of RFC 5321 section 4.5.3.1.5.
const maxReplyText = 480

// appendReply appends a reply (RFC 5321 section 4.2) with its enhanced status code (RFC
// 2034; "" for none). Long text is folded into several lines at blanks. Whatever is not
// printable ASCII becomes "?".
func appendReply(b []byte, code int, status, text string) []byte {
	for {
		line, rest := foldReply(text)
		b = strconv.AppendInt(b, int64(code), 10)
		if rest == "" {
			b = append(b, ' ')
		} else {
			b = append(b, '-')
		}
		if status != "" {
			b = append(b, status...)
			b = append(b, ' ')
		}
		b = appendPrintable(b, line)
		b = append(b, '\r', '\n')
		if rest == "" {
			return b
		}
		text = rest
	}
}

// foldReply cuts off what fits on one line.
func foldReply(s string) (line, rest string) {
	if len(s) <= maxReplyText {
		return s, ""
	}
	i := strings.LastIndexByte(s[:maxReplyText], ' ')
	if i <= 0 {
		return s[:maxReplyText], s[maxReplyText:]
	}
	return s[:i], s[i+1:]
}

func appendPrintable(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c < ' ' || c > '~' {
			c = '?'
		}
		b = append(b, c)
	}
	return b
}

// printable returns s with everything but printable ASCII as "?", and at most max octets of it.
func printable(s string, max int) string {
	if len(s) > max {
		s = s[:max]
	}
	return string(appendPrintable(nil, s))
}
