package smtp

import (
	"bufio"
	"bytes"
	"io"
	"unicode/utf8"

	"stagecoach/mail"
)

// maxTextLine is the longest line of text without its CRLF (RFC 5321 section 4.5.3.1.6).
const maxTextLine = 998

// A content is a message as it goes over the wire, and what it asks of the server.
type content struct {
	head    []byte
	message *mail.Message
	size    int64

	scanned   bool
	eightHead bool // the header has octets above 127
	eight     bool // anything has
	binary    bool // not lines of text: a bare CR or LF, NUL, or a line that is too long
	cut       bool // the last line has no CRLF
	readErr   error
}

func newContent(m *mail.Message) *content {
	var b bytes.Buffer
	m.Header.WriteTo(&b) //nolint:errcheck // a bytes.Buffer does not fail
	return &content{head: b.Bytes(), message: m, size: m.Size()}
}

// source returns a reader of all of it, from the beginning.
func (c *content) source() *source {
	return &source{r: io.MultiReader(bytes.NewReader(c.head), c.message.NewReader()), left: c.size}
}

// A source reads a message that must not end early, and remembers that it could not.
type source struct {
	r    io.Reader
	left int64
	err  error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.left -= int64(n)
	if err == io.EOF && s.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != io.EOF {
		s.err = err
	}
	return n, err
}

// scan looks at every octet once. Its result is kept.
func (c *content) scan() error {
	if c.scanned {
		return c.readErr
	}
	c.scanned = true
	var s textScan
	s.add(c.head)
	c.eightHead = s.eight
	buf := make([]byte, min(c.message.Body.Size(), 64<<10))
	for r := c.message.NewReader(); len(buf) > 0; {
		n, err := r.Read(buf)
		s.add(buf[:n])
		if err == io.EOF {
			break
		}
		if err != nil {
			c.readErr = err
			break
		}
	}
	c.eight = s.eight
	c.cut = s.line > 0
	c.binary = s.binary || s.cr
	return c.readErr
}

// A textScan finds out what kind of octets passed by, however they were cut into pieces.
type textScan struct {
	line   int  // octets of the line so far, a CR at its end not counted
	cr     bool // the last octet was CR
	eight  bool
	binary bool
}

func (s *textScan) add(p []byte) {
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			s.part(p)
			return
		}
		s.part(p[:i])
		if !s.cr {
			s.binary = true
		}
		s.line, s.cr = 0, false
		p = p[i+1:]
	}
}

// part takes octets without LF.
func (s *textScan) part(p []byte) {
	if len(p) == 0 {
		return
	}
	if s.cr {
		s.binary = true
	}
	i := bytes.IndexByte(p, '\r')
	s.cr = i >= 0 && i == len(p)-1
	s.line += len(p)
	if s.cr {
		s.line--
	}
	if i >= 0 && !s.cr || s.line > maxTextLine || bytes.IndexByte(p, 0) >= 0 {
		s.binary = true
	}
	for _, c := range p {
		if c >= utf8.RuneSelf {
			s.eight = true
			break
		}
	}
}

// writeDots writes text for DATA: a dot at the beginning of a line doubled, a CRLF at the
// end if there is none, and the line that ends it (RFC 5321 section 4.5.2). Its input is
// lines that end in CRLF, cut into pieces anywhere.
func writeDots(w *bufio.Writer, r io.Reader, buf []byte, cut bool) error {
	fresh := true // at the beginning of a line
	for {
		n, err := r.Read(buf)
		for p := buf[:n]; len(p) > 0; {
			if fresh && p[0] == '.' {
				w.WriteByte('.') //nolint:errcheck // the next Write returns it
			}
			i := bytes.IndexByte(p, '\n')
			fresh = i >= 0
			if !fresh {
				i = len(p) - 1
			}
			if _, err := w.Write(p[:i+1]); err != nil {
				return err
			}
			p = p[i+1:]
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if cut {
		w.WriteString("\r\n") //nolint:errcheck // Flush returns it
	}
	_, err := w.WriteString(".\r\n")
	return err
}
