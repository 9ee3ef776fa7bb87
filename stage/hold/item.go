package hold

import (
	"bufio"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"stagecoach/mail"
)

// An Item is one held mail.
type Item struct {
	ID          string        `json:"id"`
	User        string        `json:"user"` // address in small letters
	At          time.Time     `json:"at"`   // when it came
	Probability float64       `json:"probability"`
	Reason      string        `json:"reason"` // the strongest, "" when none is known
	Subject     string        `json:"subject"`
	From        string        `json:"from"` // of the header, as it came
	Sender      mail.Address  `json:"sender"`
	To          []recipient   `json:"to"`
	Submitter   string        `json:"submitter,omitempty"`
	Body        mail.BodyType `json:"body,omitempty"`
	UTF8        bool          `json:"utf8,omitempty"`
	RequireTLS  bool          `json:"require_tls,omitempty"`
	Return      mail.Return   `json:"return,omitempty"`
	EnvelopeID  string        `json:"envelope_id,omitempty"`
	HeaderSize  int64         `json:"header_size"`
	Size        int64         `json:"size"`
	Sum         string        `json:"sum"` // SHA-256 of the message
	Released    bool          `json:"-"`   // it is about to be forwarded

	file   string
	offset int64 // of the message in the file
}

// A recipient is mail.Recipient with its wishes, which its own form as text leaves out.
type recipient struct {
	Address  mail.Address `json:"address"`
	Notify   mail.Notify  `json:"notify,omitempty"`
	Original string       `json:"original,omitempty"`
}

// magic is the first line of a file. The second is the Item in JSON; the rest is the message.
const magic = "stagecoach held mail 1\n"

// Bounds on what is kept beside the message.
const (
	maxItemLine = 1 << 20
	maxText     = 1000 // octets of a header field
)

func newItem(id, user string, m *mail.Mail, at time.Time, v verdict) Item {
	h, e := &m.Message.Header, &m.Envelope
	it := Item{
		ID: id, User: user, At: at.UTC(), Probability: v.probability, Reason: v.reason,
		Subject: cut(h.Value("Subject")), From: cut(h.Value("From")), Sender: e.From,
		Submitter: e.Submitter, Body: e.Body, UTF8: e.UTF8, RequireTLS: e.RequireTLS, Return: e.Return, EnvelopeID: e.ID,
		HeaderSize: h.Size(), Size: m.Message.Size(),
	}
	for _, r := range e.To {
		it.To = append(it.To, recipient{r.Address, r.Notify, r.Original})
	}
	return it
}

func cut(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxText)], "?") }

// writeItem writes a whole file. It reads the message twice, since its sum stands before it.
func writeItem(f *os.File, it Item, m *mail.Message) error {
	sum := sha256.New()
	if _, err := m.WriteTo(sum); err != nil {
		return err
	}
	it.Sum = hex.EncodeToString(sum.Sum(nil))
	line, err := json.Marshal(it)
	if err != nil {
		return err
	}
	if len(line) >= maxItemLine {
		return errors.New("the envelope is too large to be held")
	}
	w := bufio.NewWriterSize(f, 64<<10)
	w.WriteString(magic) //nolint:errcheck // Flush tells
	w.Write(append(line, '\n'))
	if _, err := m.WriteTo(w); err != nil {
		return err
	}
	return w.Flush()
}

// readItem reads what stands before the message.
func readItem(file string) (Item, error) {
	f, err := os.Open(file)
	if err != nil {
		return Item{}, err
	}
	defer f.Close()
	it, err := decodeItem(io.LimitReader(f, maxItemLine+int64(len(magic))))
	if err != nil {
		return Item{}, fmt.Errorf("%s: %w", file, err)
	}
	it.file, it.Released = file, strings.HasSuffix(file, releaseSuffix)
	name := strings.TrimSuffix(strings.TrimSuffix(filepath.Base(file), releaseSuffix), heldSuffix)
	if info, err := f.Stat(); err != nil || info.Size() != it.offset+it.Size || it.ID != name {
		return Item{}, fmt.Errorf("%s: %w", file, errDamaged)
	}
	return it, nil
}

var errDamaged = errors.New("the file of a held mail is damaged")

func decodeItem(r io.Reader) (Item, error) {
	b := bufio.NewReader(r)
	head := make([]byte, len(magic))
	if _, err := io.ReadFull(b, head); err != nil || string(head) != magic {
		return Item{}, errDamaged
	}
	line, err := b.ReadBytes('\n')
	if err != nil {
		return Item{}, errDamaged
	}
	var it Item
	if json.Unmarshal(line, &it) != nil || !isID(it.ID) || it.HeaderSize < 0 || it.HeaderSize > it.Size || len(it.To) == 0 {
		return Item{}, errDamaged
	}
	if a, err := mail.ParseAddress(it.User); err != nil || a.IsZero() {
		return Item{}, errDamaged
	}
	it.offset = int64(len(magic) + len(line))
	return it, nil
}

// Mail returns the mail as it came. Its message is to be closed.
func (it Item) Mail() (*mail.Mail, error) {
	f, err := os.Open(it.file)
	if err != nil {
		return nil, err
	}
	whole := io.NewSectionReader(f, it.offset, it.Size)
	sum := sha256.New()
	if _, err := io.Copy(sum, whole); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if hex.EncodeToString(sum.Sum(nil)) != it.Sum {
		return nil, errors.Join(fmt.Errorf("%s: %w", it.file, errDamaged), f.Close())
	}
	head := make([]byte, it.HeaderSize)
	if _, err := whole.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.Join(err, f.Close())
	}
	m := &mail.Mail{Envelope: mail.Envelope{
		From: it.Sender, Submitter: it.Submitter, Body: it.Body, UTF8: it.UTF8, RequireTLS: it.RequireTLS, Return: it.Return, ID: it.EnvelopeID,
	}}
	for _, r := range it.To {
		m.Envelope.To = append(m.Envelope.To, mail.Recipient{Address: r.Address, Notify: r.Notify, Original: r.Original})
	}
	m.Message = mail.NewMessageFrom(string(head), io.NewSectionReader(whole, it.HeaderSize, it.Size-it.HeaderSize), it.Size-it.HeaderSize, f)
	return m, nil
}

// Expires returns when a mail will be deleted.
func (s *Store) Expires(it Item) time.Time { return it.At.Add(s.Limits.Age) }

var letters = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

const idSize = 16 // letters: 80 bits

func isID(s string) bool {
	return len(s) == idSize && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz234567") == ""
}

// identify names a mail to a user by what stays the same when its sender tries again.
func identify(user string, m *mail.Mail) (string, error) {
	sum := sha256.New()
	fmt.Fprintf(sum, "%s\x00%s\x00", user, m.Envelope.From)
	for _, name := range []string{"Message-ID", "From", "To", "Date", "Subject"} {
		fmt.Fprintf(sum, "%s\x00", m.Message.Header.Value(name))
	}
	if _, err := io.Copy(sum, m.Message.NewReader()); err != nil {
		return "", err
	}
	return letters.EncodeToString(sum.Sum(nil)[:10]), nil
}

// maxFolder bounds the name of a folder; file systems take 255 octets.
const maxFolder = 200

// folderOf makes a name of an address that leads nowhere else, and is no other address's.
func folderOf(user string) string {
	name := strings.ReplaceAll(url.QueryEscape(user), ".", "%2E")
	if len(name) > maxFolder {
		sum := sha256.Sum256([]byte(user))
		return "~" + hex.EncodeToString(sum[:])
	}
	return name
}
