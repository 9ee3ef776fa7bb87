package mail

import (
	"bytes"
	"errors"
	"os"
)

// Limits on a message that is being received. Zero values mean the defaults.
type Limits struct {
	Size        int64 // octets of the whole message; default 50 MiB
	HeaderSize  int   // octets of the header; default 256 KiB
	HeaderCount int   // fields; default 1000
	InMemory    int   // octets of the body that stay in memory; default 256 KiB
}

func (l Limits) withDefaults() Limits {
	if l.Size == 0 {
		l.Size = 50 << 20
	}
	if l.HeaderSize == 0 {
		l.HeaderSize = 256 << 10
	}
	if l.HeaderCount == 0 {
		l.HeaderCount = 1000
	}
	if l.InMemory == 0 {
		l.InMemory = 256 << 10
	}
	return l
}

// What a Draft refuses.
var (
	ErrTooLarge       = Reject(552, "5.3.4", "the message is larger than we accept")
	ErrHeaderTooLarge = Reject(552, "5.3.4", "the message header is larger than we accept")
)

// A Draft takes the bytes of a message as they arrive, and holds them in bounded memory:
// the header, and of the body what fits into Limits.InMemory; a longer body goes to a file
// in Dir that has no name any more, so that no crash leaves it behind.
type Draft struct {
	limits Limits
	dir    string
	head   []byte // up to the body, once split
	body   []byte // in memory, while file is nil
	split  bool
	lines  int
	seen   int // of head, how much was searched for the empty line
	size   int64
	file   *os.File
	err    error
}

// NewDraft returns an empty draft. dir is for large bodies; "" is the system's folder for
// temporary files.
func NewDraft(dir string, l Limits) *Draft {
	return &Draft{limits: l.withDefaults(), dir: dir}
}

// Write takes more of the message. After an error every further Write returns it too, so
// that a caller may go on reading from its client and ask at the end. Once the message is
// too large nothing more is kept.
func (d *Draft) Write(p []byte) (int, error) {
	if d.err != nil {
		return 0, d.err
	}
	d.size += int64(len(p))
	if d.size > d.limits.Size {
		return 0, d.fail(ErrTooLarge)
	}
	n := len(p)
	if !d.split {
		p = d.addHead(p)
		if d.err != nil {
			return 0, d.err
		}
	}
	if err := d.addBody(p); err != nil {
		return 0, d.fail(err)
	}
	return n, nil
}

// Size returns how many octets were written.
func (d *Draft) Size() int64 { return d.size }

// Err returns the error of the last Write.
func (d *Draft) Err() error { return d.err }

// Message returns what was written as a message, which now owns it; the draft is spent.
func (d *Draft) Message() (*Message, error) {
	if d.err != nil {
		return nil, d.err
	}
	d.err = errors.New("mail: the draft is spent")
	if d.file == nil {
		return NewMessageFrom(string(d.head), bytes.NewReader(d.body), int64(len(d.body)), nil), nil
	}
	f := d.file
	d.file = nil
	return NewMessageFrom(string(d.head), f, d.size-int64(len(d.head)), f), nil
}

// Discard gives back what the draft holds. It may be called at any time, also twice.
func (d *Draft) Discard() {
	if d.file != nil {
		d.file.Close()
		d.file = nil
	}
	d.head, d.body = nil, nil
	if d.err == nil {
		d.err = errors.New("mail: the draft was discarded")
	}
}

func (d *Draft) fail(err error) error {
	d.Discard()
	d.err = err
	return err
}

// addHead appends to the header until its end is seen, and returns what belongs to the body.
func (d *Draft) addHead(p []byte) (rest []byte) {
	room := d.limits.HeaderSize + 4 - len(d.head)
	take := min(len(p), room)
	d.head = append(d.head, p[:take]...)
	end := d.findEnd()
	if end < 0 {
		if len(d.head) > d.limits.HeaderSize || d.lines > d.limits.HeaderCount {
			d.fail(ErrHeaderTooLarge)
		}
		return nil
	}
	if end > d.limits.HeaderSize || d.lines > d.limits.HeaderCount {
		d.fail(ErrHeaderTooLarge)
		return nil
	}
	d.split = true
	rest = p[take-(len(d.head)-end):]
	d.head = d.head[:end:end]
	return rest
}

// findEnd looks on for the empty line, counting fields, and returns the index behind it or -1.
func (d *Draft) findEnd() int {
	for {
		i := bytes.Index(d.head[d.seen:], []byte("\r\n"))
		if i < 0 {
			return -1
		}
		line := d.head[d.seen : d.seen+i]
		d.seen += i + 2
		if len(line) == 0 {
			return d.seen
		}
		if line[0] != ' ' && line[0] != '\t' {
			d.lines++
		}
	}
}

func (d *Draft) addBody(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	if d.file == nil && len(d.body)+len(p) <= d.limits.InMemory {
		d.body = append(d.body, p...)
		return nil
	}
	if d.file == nil {
		if err := d.openFile(); err != nil {
			return err
		}
	}
	_, err := d.file.Write(p)
	return noSpace(err)
}

func (d *Draft) openFile() error {
	f, err := os.CreateTemp(d.dir, "body-*")
	if err != nil {
		return noSpace(err)
	}
	d.file = f
	if err := os.Remove(f.Name()); err != nil {
		return err
	}
	_, err = f.Write(d.body)
	d.body = nil
	return noSpace(err)
}

// noSpace turns trouble with the file into the reply of RFC 5321 for a full system.
func noSpace(err error) error {
	if err == nil {
		return nil
	}
	return Defer(452, "4.3.1", "insufficient system storage, please try again later").Because(err)
}
