// Package corpus reads collections of mail for training and measuring: folders, maildirs, mboxes,
// single files, and index files that say which mail is spam.
package corpus

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"stagecoach/mail"
)

// MaxMail is how much is read of one mail.
const MaxMail = 32 << 20

// A Mail is one mail of a collection. Its bytes are read when they are asked for.
type Mail struct {
	Path string // of the file it stands in
	Spam bool

	offset, length int64 // in an mbox; length is 0 for a whole file
}

// Read returns the mail with CRLF line ends, without the "From " line of an mbox.
func (m Mail) Read() ([]byte, error) {
	raw, err := m.raw()
	if err != nil {
		return nil, err
	}
	return Normal(raw), nil
}

func (m Mail) raw() ([]byte, error) {
	f, err := os.Open(m.Path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if m.length > 0 {
		return io.ReadAll(io.NewSectionReader(f, m.offset, min(m.length, MaxMail)))
	}
	return io.ReadAll(io.LimitReader(f, MaxMail))
}

// Message reads the mail.
func (m Mail) Message() (*mail.Message, error) {
	raw, err := m.Read()
	if err != nil {
		return nil, err
	}
	return mail.NewMessage(raw), nil
}

// Normal returns a mail as it would come by SMTP: lines that end in CRLF, no "From " line.
func Normal(raw []byte) []byte {
	if bytes.HasPrefix(raw, []byte("From ")) {
		if i := bytes.IndexByte(raw, '\n'); i >= 0 {
			raw = raw[i+1:]
		}
	}
	bare := bytes.Count(raw, []byte("\n")) - bytes.Count(raw, []byte("\r\n"))
	if bare == 0 {
		return raw
	}
	out := make([]byte, 0, len(raw)+bare)
	for i, c := range raw {
		if c == '\n' && (i == 0 || raw[i-1] != '\r') {
			out = append(out, '\r')
		}
		out = append(out, c)
	}
	return out
}

// Digest is the same for mails with the same text, however their lines end and whatever way
// they came.
func Digest(raw []byte) [32]byte {
	_, body, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	return sha256.Sum256(bytes.Join(bytes.Fields(body), []byte(" ")))
}

// Files yields the mails in files, folders and maildirs below paths, in the order of their names,
// as spam or not. "-" is a mail or an mbox on standard input.
func Files(spam bool, paths ...string) iter.Seq2[Mail, error] {
	return func(yield func(Mail, error) bool) {
		for _, path := range paths {
			if !walk(path, spam, yield) {
				return
			}
		}
	}
}

func walk(path string, spam bool, yield func(Mail, error) bool) bool {
	if path == "-" {
		return stdin(spam, yield)
	}
	info, err := os.Stat(path)
	if err != nil {
		return yield(Mail{}, err)
	}
	if !info.IsDir() {
		return file(path, spam, yield)
	}
	going := true
	err = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		hidden := strings.HasPrefix(d.Name(), ".") && p != path
		if d.IsDir() && (d.Name() == "tmp" && p != path) {
			return fs.SkipDir
		}
		if d.Type().IsRegular() && !hidden && !notMail(d.Name()) {
			if going = file(p, spam, yield); !going {
				return fs.SkipAll
			}
		}
		return nil
	})
	if err != nil {
		return yield(Mail{}, err)
	}
	return going
}

// notMail reports whether a file belongs to a collection without being one of its mails.
func notMail(name string) bool {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".json", ".js", ".md", ".html", ".index":
		return true
	}
	return name == "cmds" || name == "dovecot-uidlist" || name == "maildirfolder"
}

// file yields what stands in a file: one mail, or those of an mbox.
func file(path string, spam bool, yield func(Mail, error) bool) bool {
	f, err := os.Open(path)
	if err != nil {
		return yield(Mail{}, err)
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 64<<10)
	if head, _ := in.Peek(5); string(head) != "From " {
		return yield(Mail{Path: path, Spam: spam}, nil)
	}
	var starts []int64
	var at int64
	blank, fresh := true, true
	for {
		line, err := in.ReadSlice('\n')
		if fresh && blank && (at == 0 || isPostmark(line)) {
			starts = append(starts, at)
		}
		at += int64(len(line))
		blank = fresh && len(bytes.TrimRight(line, "\r\n")) == 0
		fresh = !errors.Is(err, bufio.ErrBufferFull)
		if err != nil && fresh {
			break
		}
	}
	starts = append(starts, at)
	for i := range len(starts) - 1 {
		if !yield(Mail{Path: path, Spam: spam, offset: starts[i], length: starts[i+1] - starts[i]}, nil) {
			return false
		}
	}
	return true
}

// isPostmark reports whether a line begins a mail in an mbox: "From ", and a time of day in it.
func isPostmark(line []byte) bool {
	if !bytes.HasPrefix(line, []byte("From ")) {
		return false
	}
	for i := 7; i+2 < len(line); i++ {
		if line[i] == ':' && isDigit(line[i-1]) && isDigit(line[i-2]) && isDigit(line[i+1]) && isDigit(line[i+2]) {
			return true
		}
	}
	return false
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// stdin keeps what comes in a file without a name while its mails are used.
func stdin(spam bool, yield func(Mail, error) bool) bool {
	f, err := os.CreateTemp("", "stagecoach-mail-")
	if err != nil {
		return yield(Mail{}, err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := io.Copy(f, os.Stdin); err != nil {
		return yield(Mail{}, err)
	}
	return file(f.Name(), spam, yield)
}

// Open reads a collection whose mails are labelled: a folder with folders in it whose names begin
// with "spam" or "ham" or end in "-ham-1" and the like, or an index file of lines "spam PATH" and
// "ham PATH", with paths relative to it. They come in the order of the index or of their names.
func Open(path string) ([]Mail, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return index(path)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var out []Mail
	for _, e := range entries {
		spam, ok := labelOf(e.Name())
		if !ok || !e.IsDir() {
			continue
		}
		for m, err := range Files(spam, filepath.Join(path, e.Name())) {
			if err != nil {
				return nil, err
			}
			out = append(out, m)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s has no folders spam and ham with mails in them", path)
	}
	return out, nil
}

func labelOf(folder string) (spam, ok bool) {
	for _, word := range strings.FieldsFunc(strings.ToLower(folder), func(r rune) bool { return r == '-' || r == '_' || r == '.' }) {
		switch word {
		case "spam":
			return true, true
		case "ham", "good":
			return false, true
		}
	}
	return false, false
}

func index(path string) ([]Mail, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var out []Mail
	for line := range strings.Lines(string(text)) {
		label, name, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			continue
		}
		label = strings.ToLower(label)
		if label != "spam" && label != "ham" {
			return nil, fmt.Errorf("%s: a line begins with %q, not with spam or ham", path, label)
		}
		if !filepath.IsAbs(name) {
			name = filepath.Join(filepath.Dir(path), name)
		}
		out = append(out, Mail{Path: name, Spam: label == "spam"})
	}
	return out, nil
}

// Distinct returns the mails without those whose text has come before.
func Distinct(all []Mail) ([]Mail, error) {
	seen := map[[32]byte]bool{}
	var out []Mail
	for _, m := range all {
		raw, err := m.Read()
		if err != nil {
			return nil, err
		}
		if d := Digest(raw); !seen[d] {
			seen[d] = true
			out = append(out, m)
		}
	}
	return slices.Clip(out), nil
}
