package smtp

import (
	"bytes"
	"errors"
	"io"
	"sync"
)

// Sizes of the reader's buffers: a connection that waits keeps smallBuffer; while a message
// or a long line comes in it borrows one of bufferSize.
const (
	smallBuffer = 1 << 10
	bufferSize  = 32 << 10
)

// The lengths of command lines without CRLF. RFC 5321 section 4.5.3.1.4 has 512 octets,
// which the parameters of extensions add to; RFC 4954 section 4 has 12288 for AUTH.
const (
	maxCommand = 8 << 10
	maxAuth    = 12288
)

// What a reader finds wrong with the octets of a client. After any of these the connection
// is of no use.
var (
	errLineTooLong = errors.New("the line is too long")
	errBareCR      = errors.New("CR without LF")
	errBareLF      = errors.New("LF without CR")
	errNUL         = errors.New("NUL")
	errControl     = errors.New("control character")
)

// A reader takes the client's octets apart, strictly. It is no io.Reader.
type reader struct {
	src    io.Reader
	before func() error // called before src is read, to send what is to be sent and to set the deadline
	pool   *sync.Pool   // of *[bufferSize]byte
	auth   bool         // AUTH may be long

	small [smallBuffer]byte
	buf   []byte // small or large
	r, w  int    // buf[r:w] was read and not used
	large *[bufferSize]byte
}

func newReader(src io.Reader, pool *sync.Pool, before func() error) *reader {
	r := &reader{src: src, before: before, pool: pool}
	r.buf = r.small[:]
	return r
}

// buffered returns how many octets wait.
func (r *reader) buffered() int { return r.w - r.r }

// line reads a command line of at most max octets, which stays valid until the next call,
// and returns it without CRLF.
func (r *reader) line(max int) ([]byte, error) {
	seen := 0
	for {
		if r.auth && r.buffered() > max && bytes.EqualFold(r.buf[r.r:r.r+5], []byte("AUTH ")) {
			max = maxAuth
		}
		end, err := checkLine(r.buf[r.r:r.w], seen, max)
		if err != nil {
			return nil, err
		}
		if end >= 0 {
			line := r.buf[r.r : r.r+end]
			r.r += end + 2
			return line, nil
		}
		seen = r.buffered()
		err = r.fill()
		if isTimeout(err) && r.hoards() {
			r.shrink()
			continue
		}
		if err != nil {
			return nil, err
		}
	}
}

// checkLine looks in b from seen on for the CRLF of a line, and returns its index or -1. A
// character that has no place in a command is an error as soon as it is there.
func checkLine(b []byte, seen, max int) (int, error) {
	for i := seen; i < len(b); i++ {
		switch c := b[i]; {
		case i > 0 && b[i-1] == '\r':
			if c == '\n' {
				return i - 1, nil
			}
			return 0, errBareCR
		case c == '\n':
			return 0, errBareLF
		case i >= max && c != '\r', i > max:
			return 0, errLineTooLong
		case c == 0:
			return 0, errNUL
		case c < ' ' && c != '\r' && c != '\t', c == 0x7f:
			return 0, errControl
		}
	}
	return -1, nil
}

// hoards reports whether a large buffer is held for nothing. A connection that had use for
// one keeps it for a short while, as the next mail may follow at once.
func (r *reader) hoards() bool { return r.large != nil && r.r == r.w }

// chunk returns at most n octets, which stay valid until the next call. It reads when none
// wait.
func (r *reader) chunk(n int64) ([]byte, error) {
	if r.r == r.w {
		if err := r.fill(); err != nil {
			return nil, err
		}
	}
	p := r.buf[r.r:r.w]
	if int64(len(p)) > n {
		p = p[:n]
	}
	r.r += len(p)
	return p, nil
}

// unread gives the last n octets of chunk back.
func (r *reader) unread(n int) { r.r -= n }

// fill reads more from src, at least one octet.
func (r *reader) fill() error {
	if err := r.before(); err != nil {
		return err
	}
	r.makeRoom()
	for range 100 {
		n, err := r.src.Read(r.buf[r.w:])
		r.w += n
		if n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

func (r *reader) makeRoom() {
	if r.r == r.w {
		r.r, r.w = 0, 0
	}
	if r.w < len(r.buf) {
		return
	}
	if r.r > 0 && r.buffered() <= len(r.buf)/2 {
		r.w = copy(r.buf, r.buf[r.r:r.w])
		r.r = 0
		return
	}
	r.grow() // a line never fills the large buffer
}

// grow borrows a large buffer.
func (r *reader) grow() {
	if r.large != nil {
		r.w = copy(r.buf, r.buf[r.r:r.w])
		r.r = 0
		return
	}
	large, _ := r.pool.Get().(*[bufferSize]byte)
	if large == nil {
		large = new([bufferSize]byte)
	}
	r.w = copy(large[:], r.buf[r.r:r.w])
	r.r = 0
	r.buf, r.large = large[:], large
}

// shrink gives the large buffer back, if what waits fits into a small one.
func (r *reader) shrink() {
	if r.large == nil || r.buffered() > smallBuffer {
		return
	}
	r.w = copy(r.small[:], r.buf[r.r:r.w])
	r.r = 0
	r.buf = r.small[:]
	r.pool.Put(r.large)
	r.large = nil
}

// free gives the large buffer back at the end.
func (r *reader) free() {
	r.r, r.w = 0, 0
	r.shrink()
}

// A textScanner checks message text as it streams by: lines end with CRLF, are no longer
// than max octets, and hold no NUL. With dots it undoes the dot-stuffing of DATA and finds
// its end (RFC 5321 section 4.5.2).
type textScanner struct {
	max   int // of a line without CRLF; negative: any
	dots  bool
	state scanState
	col   int // octets of the line so far, without the dot that is taken away
}

type scanState uint8

const (
	atStart  scanState = iota // at the beginning of a line
	inLine                    // in a line
	afterCR                   // after a CR, which must be followed by LF
	afterDot                  // after a dot at the beginning of a line (dots only)
	endCR                     // after such a dot and a CR (dots only)
	atEnd                     // after the final dot (dots only)
)

// scan checks p and calls keep for the runs of it that belong to the message. It returns
// how many octets it used: all of them, unless the final dot came before.
func (t *textScanner) scan(p []byte, keep func([]byte)) (int, error) {
	if t.state == atEnd {
		return 0, nil
	}
	from := 0 // p[from:i] is to be kept
	i := 0
	for i < len(p) {
		switch t.state {
		case atStart:
			if t.dots && p[i] == '.' {
				keep(p[from:i])
				i++
				from = i
				t.state = afterDot
				continue
			}
			t.state = inLine
		case inLine:
			n, err := t.run(p[i:])
			if err != nil {
				return i, err
			}
			i += n
		case afterCR:
			if p[i] != '\n' {
				return i, errBareCR
			}
			i++
			t.state, t.col = atStart, 0
		case afterDot:
			if p[i] != '\r' {
				t.state = inLine
				continue
			}
			i++
			t.state = endCR
		case endCR:
			if p[i] != '\n' {
				return i, errBareCR
			}
			t.state = atEnd
			return i + 1, nil
		}
	}
	if t.state != endCR {
		keep(p[from:])
	}
	return len(p), nil
}

// run goes through a line up to and including its CR, or to the end of p.
func (t *textScanner) run(p []byte) (int, error) {
	n := bytes.IndexByte(p, '\r')
	line := p
	if n >= 0 {
		line = p[:n]
	}
	if bytes.IndexByte(line, '\n') >= 0 {
		return 0, errBareLF
	}
	if bytes.IndexByte(line, 0) >= 0 {
		return 0, errNUL
	}
	t.col += len(line)
	if over(t.col, t.max) {
		return 0, errLineTooLong
	}
	if n < 0 {
		return len(p), nil
	}
	t.state = afterCR
	return n + 1, nil
}

// done reports whether the final dot was there.
func (t *textScanner) done() bool { return t.state == atEnd }
