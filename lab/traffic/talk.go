package traffic

import (
	"bufio"
	"bytes"
	"context"
	"net"
	"strconv"
	"strings"
)

const (
	sinkEHLO = "250-sink.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-CHUNKING\r\n" +
		"250-DSN\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE 104857600\r\n"
	headSize = 16 << 10 // how much of a message is searched for its id
)

// A talker is one conversation of the sink.
type talker struct {
	sink *Sink
	ctx  context.Context //nolint:containedctx // it lives as long as its conversation
	r    *bufio.Reader
	w    *bufio.Writer
	to   []string
	head []byte // of the message that is being received
	size int64
	busy bool
}

func (s *Sink) talk(ctx context.Context, c net.Conn) {
	defer c.Close()
	t := &talker{sink: s, ctx: ctx, r: bufio.NewReaderSize(c, 32<<10), w: bufio.NewWriterSize(c, 512)}
	t.w.WriteString("220 sink.example ESMTP\r\n") //nolint:errcheck // the next Flush tells
	for t.flush() && t.command() {
	}
	t.reset()
	t.w.Flush() //nolint:errcheck // the conversation is over
}

// flush sends the answers once nothing more of the client is at hand.
func (t *talker) flush() bool { return t.r.Buffered() > 0 || t.w.Flush() == nil }

func (t *talker) say(s string) bool {
	_, err := t.w.WriteString(s)
	return err == nil
}

func (t *talker) reset() {
	t.to, t.head, t.size = t.to[:0], t.head[:0], 0
	t.setBusy(false)
}

func (t *talker) setBusy(b bool) {
	if b && !t.busy {
		t.sink.active.Add(1)
	} else if !b && t.busy {
		t.sink.active.Add(-1)
	}
	t.busy = b
}

func (t *talker) command() bool {
	line, err := t.r.ReadSlice('\n')
	if err != nil || len(line) < 6 {
		return false
	}
	line = bytes.TrimRight(line, "\r\n")
	switch verb := strings.ToUpper(string(line[:4])); verb {
	case "EHLO":
		t.reset()
		return t.say(sinkEHLO)
	case "HELO":
		t.reset()
		return t.say("250 sink.example\r\n")
	case "MAIL":
		t.reset()
		return t.say("250 2.1.0 ok\r\n")
	case "RCPT":
		t.to = append(t.to, forwardPath(line))
		return t.say("250 2.1.5 ok\r\n")
	case "DATA":
		return t.data()
	case "BDAT":
		return t.bdat(line)
	case "RSET":
		t.reset()
		return t.say("250 2.0.0 ok\r\n")
	case "NOOP":
		return t.say("250 2.0.0 ok\r\n")
	case "QUIT":
		t.say("221 2.0.0 bye\r\n")
		return false
	}
	return t.say("502 5.5.1 not here\r\n")
}

func forwardPath(line []byte) string {
	i, j := bytes.IndexByte(line, '<'), bytes.LastIndexByte(line, '>')
	if k := bytes.Index(line, []byte("> ")); k > 0 {
		j = k
	}
	if i < 0 || j < i {
		return ""
	}
	return string(line[i+1 : j])
}

func (t *talker) data() bool {
	if len(t.to) == 0 {
		return t.say("503 5.5.1 no recipients\r\n")
	}
	t.say("354 go on\r\n")
	if t.w.Flush() != nil {
		return false
	}
	t.setBusy(true)
	// The line before the first is an end of line too: a message may be empty.
	end := []byte("\r\n.\r\n")
	matched := 2
	for {
		if _, err := t.r.Peek(1); err != nil {
			return false
		}
		b, _ := t.r.Peek(t.r.Buffered())
		n, done := scanEnd(b, end, &matched)
		t.keep(b[:n])
		t.r.Discard(n) //nolint:errcheck // it is buffered
		if done {
			return t.taken()
		}
	}
}

// scanEnd looks for end in b, where matched octets of it stood at the end of what came
// before. It returns how many octets of b are used up.
func scanEnd(b, end []byte, matched *int) (n int, done bool) {
	for n < len(b) {
		if *matched == 0 {
			i := bytes.IndexByte(b[n:], end[0])
			if i < 0 {
				return len(b), false
			}
			n += i + 1
			*matched = 1
			continue
		}
		switch b[n] {
		case end[*matched]:
			*matched++
			n++
			if *matched == len(end) {
				return n, true
			}
		case end[0]:
			*matched = 1
			n++
		default:
			*matched = 0
			n++
		}
	}
	return n, false
}

func (t *talker) bdat(line []byte) bool {
	f := bytes.Fields(line)
	if len(f) < 2 {
		return false
	}
	n, err := strconv.ParseInt(string(f[1]), 10, 64)
	if err != nil || n < 0 {
		return false
	}
	t.setBusy(true)
	for n > 0 {
		if _, err := t.r.Peek(1); err != nil {
			return false
		}
		b, _ := t.r.Peek(int(min(n, int64(t.r.Buffered()))))
		t.keep(b)
		t.r.Discard(len(b)) //nolint:errcheck // it is buffered
		n -= int64(len(b))
	}
	if len(t.to) == 0 {
		return t.say("503 5.5.1 no recipients\r\n")
	}
	if len(f) > 2 && bytes.EqualFold(f[2], []byte("LAST")) {
		return t.taken()
	}
	return t.say("250 2.0.0 ok\r\n")
}

func (t *talker) keep(b []byte) {
	t.size += int64(len(b))
	if t.sink.Record && len(t.head) < headSize {
		t.head = append(t.head, b[:min(len(b), headSize-len(t.head))]...)
	}
}

func (t *talker) taken() bool {
	if !t.sink.accept(t.ctx, t.head, t.to, t.size) {
		return false
	}
	t.reset()
	return t.say("250 2.0.0 ok\r\n")
}
