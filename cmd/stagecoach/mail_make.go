package main

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"mime"
	"path/filepath"
	"strings"
	"time"

	our "stagecoach/mail"
	"stagecoach/tool/compose"
	toolmime "stagecoach/tool/mime"
)

type mailMakeCmd struct {
	Body      string   `arg:"" optional:"" default:"-" help:"File of the body; - is standard input." placeholder:"BODY"`
	From      []string `help:"Author." placeholder:"MAILBOX" sep:"none"`
	To        []string `help:"Recipient; may be repeated." placeholder:"MAILBOX" sep:"none"`
	Cc        []string `help:"Further recipient." placeholder:"MAILBOX" sep:"none"`
	Bcc       []string `help:"Hidden recipient. The field is written: send strikes it out." placeholder:"MAILBOX" sep:"none"`
	Sender    string   `help:"Who sends for the author." placeholder:"MAILBOX"`
	Date      string   `help:"Date: now, none, or as 2022-12-20T09:03:56-05:00." default:"now" placeholder:"TIME"`
	Zone      string   `help:"Time zone of the date, as +0200 or Europe/Paris (default: this machine's)." placeholder:"ZONE"`
	MessageID string   `name:"message-id" help:"Message-ID without brackets; none; auto makes one where there is an author." default:"auto" placeholder:"ID"`
	Field     []string `short:"f" help:"One more field; may be repeated." placeholder:"'NAME: TEXT'" sep:"none"`
	Encoding  string   `help:"7bit, 8bit, quoted-printable or base64 (default: the one that changes least)." placeholder:"ENCODING"`
	Type      string   `help:"Type of the content." default:"text/plain" placeholder:"TYPE"`
	Param     []string `short:"p" help:"Parameter of the type; may be repeated. Text is utf-8 unless charset is given." placeholder:"NAME=VALUE" sep:"none"`
	Newline   string   `help:"Line ends to write: ${enum}." enum:"lf,crlf" default:"lf"`
	Output    string   `short:"o" help:"Where to write the mail (default: standard output)." placeholder:"FILE"`
}

// Help shows examples.
func (mailMakeCmd) Help() string {
	return `The mail goes to standard output with LF line ends, as files have them here; what sends it makes CRLF of them.

Examples:

  echo "Hello World!" | stagecoach mail make --from ann@example.org --to bob@example.net -f "Subject: Hello" >hello.eml
  stagecoach mail make --type text/html --encoding base64 page.html | stagecoach mail put photo.jpg | stagecoach mail tree`
}

// Run writes the mail.
func (c mailMakeCmd) Run() error {
	body, err := readAll(c.Body)
	if err != nil {
		return err
	}
	l := compose.Letter{
		To: c.To, Cc: c.Cc, Bcc: c.Bcc, Sender: c.Sender, From: c.From,
		Fields: c.Field, Encoding: c.Encoding, Type: c.Type,
	}
	if l.Date, err = c.date(time.Now()); err != nil {
		return err
	}
	if l.Params, err = params(c.Param); err != nil {
		return err
	}
	l.MessageID = c.messageID()
	raw, err := compose.Make(l, body)
	if err != nil {
		return err
	}
	return (&letter{lf: c.Newline == "lf"}).write(c.Output, raw)
}

func (c mailMakeCmd) date(now time.Time) (time.Time, error) {
	t := now
	switch c.Date {
	case "none":
		return time.Time{}, nil
	case "now":
	default:
		var err error
		if t, err = time.Parse(time.RFC3339, c.Date); err != nil {
			return t, fmt.Errorf("--date %q: write now, none, or a time as 2022-12-20T09:03:56-05:00", c.Date)
		}
	}
	if c.Zone == "" {
		return t, nil
	}
	if z, err := time.Parse("-0700", c.Zone); err == nil {
		return t.In(z.Location()), nil
	}
	z, err := time.LoadLocation(c.Zone)
	if err != nil {
		return t, fmt.Errorf("--zone %q: write +0200, or a name as Europe/Paris", c.Zone)
	}
	return t.In(z), nil
}

// messageID makes one in the author's domain (RFC 5322 section 3.6.4).
func (c mailMakeCmd) messageID() string {
	switch {
	case c.MessageID == "none":
		return ""
	case c.MessageID != "auto":
		return strings.Trim(c.MessageID, "<>")
	case len(c.From) == 0:
		return ""
	}
	a, err := our.ParseFrom(c.From[0])
	if err != nil {
		return ""
	}
	var b [12]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:]) + "@" + a.Domain()
}

func params(list []string) (toolmime.Params, error) {
	var out toolmime.Params
	for _, text := range list {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" || strings.ContainsAny(text, "\r\n") {
			return nil, fmt.Errorf("parameter %q: write NAME=VALUE", text)
		}
		out = append(out, toolmime.Param{Name: strings.ToLower(name), Value: value})
	}
	return out, nil
}

type mailWrapCmd struct {
	mailSource `embed:""`
	Boundary   string   `help:"Boundary (default: one that does not occur in the mail)." placeholder:"TEXT"`
	As         string   `help:"Kind of the multipart: ${enum}." enum:"mixed,related,alternative,parallel,form-data,report,signed,digest" default:"mixed"`
	Param      []string `short:"p" help:"Parameter of the type; may be repeated." placeholder:"NAME=VALUE" sep:"none"`
	Field      []string `short:"f" help:"One more field on the outside; may be repeated." placeholder:"'NAME: TEXT'" sep:"none"`
	Output     string   `short:"o" help:"Where to write the mail (default: standard output)." placeholder:"FILE"`
}

// Help shows examples.
func (mailWrapCmd) Help() string {
	return `The body becomes the first part, with the Content- fields that describe it; the other fields stay on top, unchanged.

Example:

  stagecoach mail wrap --as alternative plain.eml | stagecoach mail put --inline --type text/html page.html`
}

// Run writes the mail.
func (c mailWrapCmd) Run() error {
	l, err := c.read()
	if err != nil {
		return err
	}
	p, err := params(c.Param)
	if err != nil {
		return err
	}
	raw, err := compose.Wrap(l.raw, compose.Wrapping{Subtype: c.As, Boundary: c.Boundary, Params: p, Fields: c.Field})
	if err != nil {
		return err
	}
	return l.write(c.Output, raw)
}

type mailPutCmd struct {
	File       string `arg:"" help:"The file to attach." placeholder:"FILE"`
	mailSource `embed:""`
	Name       string   `help:"File name to write (default: that of the file); none for no name." placeholder:"NAME"`
	Inline     bool     `help:"Show it in place, not as an attachment."`
	Encoding   string   `help:"7bit, 8bit, quoted-printable or base64 (default: base64, for text the one that changes least)." placeholder:"ENCODING"`
	Type       string   `help:"Type of the content (default: by the name's ending)." placeholder:"TYPE"`
	Param      []string `short:"p" help:"Parameter of the type; may be repeated." placeholder:"NAME=VALUE" sep:"none"`
	Field      []string `short:"f" help:"One more field of the part; may be repeated." placeholder:"'NAME: TEXT'" sep:"none"`
	Output     string   `short:"o" help:"Where to write the mail (default: standard output)." placeholder:"FILE"`
}

// Help shows examples.
func (mailPutCmd) Help() string {
	return `A mail that is no multipart is wrapped into multipart/mixed before. Line ends of text become CRLF, as the standard has
them; --encoding base64 --type application/octet-stream keeps every byte.

Example:

  stagecoach mail put invoice.pdf hello.eml | stagecoach mail put terms.txt >both.eml`
}

// Run writes the mail.
func (c mailPutCmd) Run() error {
	if c.File == "-" && c.Mail == "-" {
		return fmt.Errorf("the file and the mail cannot both come from standard input")
	}
	content, err := readAll(c.File)
	if err != nil {
		return err
	}
	l, err := c.read()
	if err != nil {
		return err
	}
	a := compose.Attachment{Name: c.Name, Inline: c.Inline, Type: c.Type, Encoding: c.Encoding, Fields: c.Field, Content: content}
	switch {
	case c.Name == "none":
		a.Name = ""
	case c.Name == "" && c.File != "-":
		a.Name = filepath.Base(c.File)
	}
	if a.Type == "" {
		a.Type, _, _ = strings.Cut(mime.TypeByExtension(filepath.Ext(c.File)), ";")
	}
	if a.Params, err = params(c.Param); err != nil {
		return err
	}
	raw, err := compose.Put(l.raw, a)
	if err != nil {
		return err
	}
	return l.write(c.Output, raw)
}

type mailFieldCmd struct {
	Field      string `arg:"" help:"The field." placeholder:"'NAME: TEXT'"`
	mailSource `embed:""`
	Output     string `short:"o" help:"Where to write the mail (default: standard output)." placeholder:"FILE"`
}

// Help shows examples.
func (mailFieldCmd) Help() string {
	return `Text that is not ASCII becomes encoded words, and long lines are folded.

Example:

  stagecoach mail add-field "X-Test: yes" hello.eml | stagecoach mail send -s ann@example.org -r bob@example.net - 127.0.0.1:2525`
}

// Run writes the mail.
func (c mailFieldCmd) Run() error {
	l, err := c.read()
	if err != nil {
		return err
	}
	raw, err := compose.AddField(l.raw, c.Field)
	if err != nil {
		return err
	}
	return l.write(c.Output, raw)
}

type mailBytesCmd struct {
	Mail []string `arg:"" optional:"" default:"-" help:"Files of mails; - is standard input." placeholder:"MAIL"`
}

// Help shows examples.
func (mailBytesCmd) Help() string {
	return `Each mail is taken apart into its header fields and parts, and put together again. Of a file with LF alone each LF is
read as CRLF before.

Examples:

  stagecoach mail check-bytes hello.eml
  stagecoach mail generate --seed 7 --mutate 3 | stagecoach mail check-bytes`
}

// Run checks the mails, and fails when one does not come out as it went in.
func (c mailBytesCmd) Run() error {
	different := 0
	for _, name := range c.Mail {
		l, err := readLetter(name, "auto")
		if err != nil {
			return err
		}
		raw := l.raw
		var parts, message bytes.Buffer
		toolmime.Parse(raw).WriteTo(&parts)   //nolint:errcheck // a Buffer does not fail
		our.NewMessage(raw).WriteTo(&message) //nolint:errcheck
		if bytes.Equal(parts.Bytes(), raw) && bytes.Equal(message.Bytes(), raw) {
			fmt.Printf("%s: the same %d octets, %s\n", orStdin(name), len(raw), l.lineEnds())
			continue
		}
		different++
		fmt.Printf("%s: different\n", orStdin(name))
	}
	if different > 0 {
		return no("%d of %d mails are not printed as they were parsed", different, len(c.Mail))
	}
	return nil
}

func (l *letter) lineEnds() string {
	if l.lf {
		return "line ends LF, read as CRLF"
	}
	crlf := bytes.Count(l.raw, []byte("\r\n"))
	lf, cr := bytes.Count(l.raw, []byte("\n"))-crlf, bytes.Count(l.raw, []byte("\r"))-crlf
	if lf == 0 && cr == 0 {
		return "line ends CRLF"
	}
	return fmt.Sprintf("%d CRLF, %d lone LF, %d lone CR", crlf, lf, cr)
}
