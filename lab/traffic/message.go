package traffic

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// An ID names one message of one run: it stands in the Message-ID field, which no honest
// server changes.
type ID struct {
	Run    uint32
	Worker uint32
	Seq    uint32
}

const (
	idMark  = "Message-ID: <load."
	idHost  = "@load.example>"
	idWidth = 8 + 1 + 8 + 1 + 8 // three numbers in hex, two dots
	dots    = "00000000.00000000.00000000"
)

// String returns the id as it stands in the field, without its fixed parts.
func (id ID) String() string { return fmt.Sprintf("%08x.%08x.%08x", id.Run, id.Worker, id.Seq) }

// FindID returns the id of a message of ours in the beginning of its header.
func FindID(head []byte) (ID, bool) {
	i := bytes.Index(head, []byte(idMark))
	if i < 0 {
		return ID{}, false
	}
	return ParseID(head[i+len(idMark):])
}

// ParseID reads what String wrote at the beginning of b.
func ParseID(b []byte) (ID, bool) {
	if len(b) < idWidth || b[8] != '.' || b[17] != '.' {
		return ID{}, false
	}
	run, ok1 := parseHex(b[:8])
	worker, ok2 := parseHex(b[9:17])
	seq, ok3 := parseHex(b[18:26])
	return ID{run, worker, seq}, ok1 && ok2 && ok3
}

func parseHex(b []byte) (uint32, bool) {
	var n uint32
	for _, c := range b {
		switch {
		case c >= '0' && c <= '9':
			n = n<<4 | uint32(c-'0')
		case c >= 'a' && c <= 'f':
			n = n<<4 | uint32(c-'a'+10)
		default:
			return 0, false
		}
	}
	return n, true
}

func putHex(b []byte, n uint32) {
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = "0123456789abcdef"[n&15]
		n >>= 4
	}
}

// A letter is one transaction as bytes, made once and sent many times: only the id in it changes.
type letter struct {
	envelope []byte // MAIL and RCPT, and the BDAT line
	message  []byte // with the final dot, where DATA is used
	id       []byte // the place of the id in message
	both     []byte // envelope and message in one piece, for one write
	rcpts    int
	chunking bool
}

// newLetter makes a letter of about size octets, header included.
func newLetter(from string, to []string, size int, chunking bool) (*letter, error) {
	if len(to) == 0 {
		return nil, errors.New("no recipient")
	}
	head := "From: <" + from + ">\r\nTo: <" + to[0] + ">\r\nSubject: load\r\n" +
		"Date: Thu, 01 Jan 2026 00:00:00 +0000\r\n" + idMark + dots + idHost + "\r\n\r\n"
	body := filler(max(0, size-len(head)))
	message := head + body
	var env strings.Builder
	fmt.Fprintf(&env, "MAIL FROM:<%s>\r\n", from)
	for _, a := range to {
		fmt.Fprintf(&env, "RCPT TO:<%s>\r\n", a)
	}
	if chunking {
		fmt.Fprintf(&env, "BDAT %d LAST\r\n", len(message))
	} else {
		env.WriteString("DATA\r\n")
		message += ".\r\n"
	}
	both := []byte(env.String() + message)
	l := &letter{rcpts: len(to), chunking: chunking, both: both}
	l.envelope, l.message = both[:env.Len()], both[env.Len():]
	at := bytes.Index(l.message, []byte(idMark)) + len(idMark)
	l.id = l.message[at : at+idWidth]
	return l, nil
}

func (l *letter) stamp(id ID) {
	putHex(l.id[:8], id.Run)
	putHex(l.id[9:17], id.Worker)
	putHex(l.id[18:26], id.Seq)
}

// filler returns lines of text of n octets together, or up to two more to end the last line.
func filler(n int) string {
	const line = "The quick brown fox jumps over the lazy dog, and the dog does not mind a bit.\r\n"
	s := strings.Repeat(line, n/len(line))
	if rest := n - len(s); rest > 0 {
		s += strings.Repeat("x", max(0, rest-2)) + "\r\n"
	}
	return s
}

// deliver sends the letter on c. Pipelined, a BDAT transaction is one flight and a DATA
// transaction two; else each command waits for its answer.
func (l *letter) deliver(c *Conn, pipeline bool) error {
	c.deadline()
	if !pipeline {
		return l.stepwise(c)
	}
	first := l.envelope
	if l.chunking {
		first = l.both
	}
	if _, err := c.c.Write(first); err != nil {
		return err
	}
	var no error
	for range 1 + l.rcpts {
		if err := c.expect(250); err != nil && no == nil {
			no = err
		}
	}
	if l.chunking {
		return errors.Join(no, c.expect(250))
	}
	if err := c.expect(354); err != nil {
		return errors.Join(no, err)
	}
	if no != nil {
		// Some were refused, some not: an empty message would be a message too. Hang up.
		return errors.Join(no, errHalfRefused)
	}
	if _, err := c.c.Write(l.message); err != nil {
		return err
	}
	return c.expect(250)
}

var errHalfRefused = errors.New("some recipients were refused: the transaction was broken off")

func (l *letter) stepwise(c *Conn) error {
	for line := range bytes.Lines(l.envelope) {
		if l.chunking && bytes.HasPrefix(line, []byte("BDAT")) {
			break
		}
		if _, err := c.c.Write(line); err != nil {
			return err
		}
		want := 250
		if bytes.HasPrefix(line, []byte("DATA")) {
			want = 354
		}
		if err := c.expect(want); err != nil {
			return err
		}
	}
	last := l.message
	if l.chunking {
		last = l.both[bytes.LastIndex(l.envelope, []byte("BDAT")):]
	}
	if _, err := c.c.Write(last); err != nil {
		return err
	}
	return c.expect(250)
}
