package mail

import (
	"bytes"
	"io"
	"strings"
)

// A Message is header and body, byte for byte as they came, with CRLF line ends (of a
// BINARYMIME body nothing is promised). Nobody changes the body.
type Message struct {
	Header Header
	Body   *io.SectionReader

	closer io.Closer
}

// NewMessage makes a message of its raw bytes, which it keeps.
func NewMessage(raw []byte) *Message {
	n := headerEnd(raw)
	return &Message{
		Header: ParseHeader(string(raw[:n])),
		Body:   section(bytes.NewReader(raw[n:]), int64(len(raw)-n)),
	}
}

// NewMessageFrom makes a message of a header and a body that is already apart. Close on the
// message closes c, which may be nil.
func NewMessageFrom(header string, body io.ReaderAt, size int64, c io.Closer) *Message {
	return &Message{Header: ParseHeader(header), Body: section(body, size), closer: c}
}

// Size returns the length of the message on the wire.
func (m *Message) Size() int64 { return m.Header.Size() + m.Body.Size() }

// NewReader returns a reader of the body from its beginning. Readers are independent of
// each other.
func (m *Message) NewReader() io.Reader {
	return io.NewSectionReader(m.Body, 0, m.Body.Size())
}

// WriteTo writes the whole message. It may be called again, and at the same time.
func (m *Message) WriteTo(w io.Writer) (int64, error) {
	n, err := m.Header.WriteTo(w)
	if err != nil {
		return n, err
	}
	k, err := io.Copy(w, m.NewReader())
	return n + k, err
}

// Clone returns a message whose header may be changed apart. The body is shared; Close of
// the original ends it for both.
func (m *Message) Clone() *Message {
	return &Message{Header: m.Header.clone(), Body: m.Body}
}

// Close gives back what holds the body. Who made the message closes it.
func (m *Message) Close() error {
	if m.closer == nil {
		return nil
	}
	return m.closer.Close()
}

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

func section(r io.ReaderAt, n int64) *io.SectionReader { return io.NewSectionReader(r, 0, n) }

// String returns the message as text; it is for tests and small messages.
func (m *Message) String() string {
	var b strings.Builder
	m.WriteTo(&b) //nolint:errcheck // a strings.Builder does not fail
	return b.String()
}
