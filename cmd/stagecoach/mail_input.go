package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	our "stagecoach/mail"
)

// maxMail is the longest mail that the tools read.
const maxMail = 100 << 20

// A mailSource is where a tool finds its mail.
type mailSource struct {
	Mail    string `arg:"" optional:"" default:"-" help:"File of the mail; - is standard input." placeholder:"MAIL"`
	Newline string `help:"Line ends of the mail: lf, crlf, or auto, which takes a mail without any CRLF as one with LF." enum:"auto,lf,crlf" default:"auto"`
}

// A mailGiven is a mailSource that has to be named, since something stands behind it.
type mailGiven struct {
	Mail    string `arg:"" help:"File of the mail; - is standard input." placeholder:"MAIL"`
	Newline string `help:"Line ends of the mail: lf, crlf, or auto, which takes a mail without any CRLF as one with LF." enum:"auto,lf,crlf" default:"auto"`
}

func (s mailGiven) read() (*letter, error) { return readLetter(s.Mail, s.Newline) }

// A letter is a mail that was read. Its bytes have CRLF line ends, whatever the file has.
type letter struct {
	raw []byte
	lf  bool // the file has LF
}

func (s mailSource) read() (*letter, error) { return readLetter(s.Mail, s.Newline) }

func readLetter(name, newline string) (*letter, error) {
	raw, err := readAll(name)
	if err != nil {
		return nil, err
	}
	if len(raw) == 0 {
		return nil, fmt.Errorf("%s: the mail is empty", orStdin(name))
	}
	l := &letter{raw: raw}
	l.lf = newline == "lf" || newline == "auto" && !bytes.Contains(raw, []byte("\r\n")) && bytes.IndexByte(raw, '\n') >= 0
	if l.lf {
		raw = bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n"))
		l.raw = bytes.ReplaceAll(raw, []byte("\n"), []byte("\r\n"))
	}
	return l, nil
}

func (l *letter) message() *our.Message { return our.NewMessage(l.raw) }

// write writes a changed mail with the line ends that it came with.
func (l *letter) write(output string, raw []byte) error {
	if l.lf {
		raw = bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n"))
	}
	return writeOutput(output, raw)
}

func orStdin(name string) string {
	if name == "-" {
		return "standard input"
	}
	return name
}

func readAll(name string) ([]byte, error) {
	in := os.Stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	raw, err := io.ReadAll(io.LimitReader(in, maxMail+1))
	if err == nil && len(raw) > maxMail {
		err = fmt.Errorf("%s: longer than %d octets", orStdin(name), maxMail)
	}
	return raw, err
}

// writeOutput writes to a new or old file, or to standard output where none is named.
func writeOutput(name string, raw []byte) error {
	if name == "" || name == "-" {
		_, err := os.Stdout.Write(raw)
		return err
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	return errors.Join(err, f.Close())
}

// printable makes text of a stranger safe for a terminal: control characters, and those
// which turn the direction of writing, are shown as escapes.
func printable(s string) string {
	var b bytes.Buffer
	for _, r := range s {
		switch {
		case r == '\t':
			b.WriteByte(' ')
		case r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0x2028 || r == 0x2029:
			fmt.Fprintf(&b, "\\u%04x", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
