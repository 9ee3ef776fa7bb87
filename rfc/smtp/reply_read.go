package smtp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// Bounds of a reply. RFC 5321 section 4.5.3.1.5 allows 512 octets a line; servers with long
// lists of mechanisms need more.
const (
	maxReplyLine  = 2048
	maxReplyLines = 128
	maxReplySize  = 16 << 10
)

// A reply is what a server answered to one command (RFC 5321 section 4.2).
type reply struct {
	code   int
	status string   // enhanced status code of the last line (RFC 2034), "" without one
	lines  []string // the texts, printable ASCII, without enhanced status codes
}

// text returns the lines as one.
func (r reply) text() string { return strings.Join(r.lines, " ") }

// readReply reads one reply. It is bounded in length; a line that is no reply line, whose
// code differs from the first one, or that holds NUL or a bare CR is an error, after which
// nothing more can be said of the connection. r must buffer at least maxReplyLine octets.
func readReply(r *bufio.Reader) (reply, error) {
	var got reply
	size := 0
	for {
		line, err := r.ReadSlice('\n')
		size += len(line)
		switch {
		case errors.Is(err, bufio.ErrBufferFull), len(line) > maxReplyLine, size > maxReplySize:
			return reply{}, errors.New("smtp: the reply is too long")
		case err != nil:
			return reply{}, fmt.Errorf("smtp: reading a reply: %w", err)
		}
		line = bytes.TrimSuffix(line[:len(line)-1], []byte("\r"))
		code, more, text, err := parseReplyLine(line)
		if err != nil {
			return reply{}, err
		}
		if got.code != 0 && code != got.code {
			return reply{}, errors.New("smtp: the lines of a reply have different codes")
		}
		got.code = code
		got.status, text = cutStatus(code, text)
		got.lines = append(got.lines, printable(text, maxReplyLine))
		if !more {
			return got, nil
		}
		if len(got.lines) == maxReplyLines {
			return reply{}, errors.New("smtp: the reply has too many lines")
		}
	}
}

func parseReplyLine(line []byte) (code int, more bool, text string, err error) {
	if bytes.IndexByte(line, 0) >= 0 || bytes.IndexByte(line, '\r') >= 0 {
		return 0, false, "", errors.New("smtp: NUL or bare CR in a reply")
	}
	if len(line) < 3 || line[0] < '2' || line[0] > '5' || !isDigit(line[1]) || !isDigit(line[2]) {
		return 0, false, "", fmt.Errorf("smtp: no reply: %q", printable(string(line), 60))
	}
	code = int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0')
	if len(line) == 3 {
		return code, false, "", nil
	}
	if line[3] != ' ' && line[3] != '-' {
		return 0, false, "", fmt.Errorf("smtp: no reply: %q", printable(string(line), 60))
	}
	return code, line[3] == '-', string(line[4:]), nil
}

// cutStatus splits the enhanced status code off the text, when there is one of the same
// class as the reply code (RFC 2034 section 4).
func cutStatus(code int, text string) (status, rest string) {
	word, rest, _ := strings.Cut(text, " ")
	if !isStatus(word) || int(word[0]-'0') != code/100 {
		return "", text
	}
	return word, rest
}

// isStatus reports whether s is an enhanced status code (RFC 3463 section 2).
func isStatus(s string) bool {
	class, rest, _ := strings.Cut(s, ".")
	subject, detail, ok := strings.Cut(rest, ".")
	return ok && (class == "2" || class == "4" || class == "5") && isShortNumber(subject) && isShortNumber(detail)
}

func isShortNumber(s string) bool {
	for i := 0; i < len(s); i++ {
		if !isDigit(s[i]) {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= 3
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
