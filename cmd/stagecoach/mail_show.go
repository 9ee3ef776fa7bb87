package main

import (
	"fmt"
	netmail "net/mail"
	"strings"
	"time"

	our "stagecoach/mail"
	"stagecoach/tool/mime"
	"stagecoach/tool/trace"
)

type mailRecvCmd struct {
	mailSource `embed:""`
}

// Help shows examples.
func (mailRecvCmd) Help() string {
	return `One line a host, the first one first: when it took the mail, how long after the one before, its name, from whom, and by
which protocol. All that stands below the first host that you trust may be forged; clocks differ, so delays may be negative.

Example:

  stagecoach mail recv received.eml`
}

// Run prints the path.
func (c mailRecvCmd) Run() error {
	l, err := c.read()
	if err != nil {
		return err
	}
	m := l.message()
	hops := trace.Path(&m.Header)
	if len(hops) == 0 {
		return no("the mail has no Received field")
	}
	var first, last time.Time
	for i, h := range hops {
		when, delay := "(no date)", ""
		if !h.Time.IsZero() {
			when = h.Time.Format(dateLayout)
			if !last.IsZero() {
				delay = fmt.Sprintf("%+d s", int(h.Time.Sub(last).Seconds()))
			} else {
				first = h.Time
			}
			last = h.Time
		}
		fmt.Printf("%2d  %-26s  %7s  %s\n", i+1, when, delay, printable(hopText(h)))
	}
	if last.After(first) {
		fmt.Printf("in all %s\n", last.Sub(first))
	}
	return nil
}

const dateLayout = "2006-01-02 15:04:05 -07:00"

func hopText(h trace.Hop) string {
	var b strings.Builder
	b.WriteString(orUnknown(h.By))
	if h.From != "" {
		b.WriteString(" from " + h.From)
	}
	if h.IP.IsValid() && !strings.Contains(h.From, h.IP.String()) {
		b.WriteString(" [" + h.IP.String() + "]")
	}
	if h.With != "" {
		b.WriteString(" with " + h.With)
	}
	if h.For != "" {
		b.WriteString(" for " + h.For)
	}
	return b.String()
}

func orUnknown(s string) string {
	if s == "" {
		return "(unknown)"
	}
	return s
}

type mailHdrCmd struct {
	Mail     []string `arg:"" optional:"" default:"-" help:"Files of mails; - is standard input." placeholder:"MAIL"`
	Fields   string   `short:"f" help:"Only these, in this order; a name that stands twice takes two." placeholder:"A:B:C"`
	Param    string   `short:"p" help:"Print this parameter of Content-Type, and nothing else." placeholder:"NAME"`
	Decode   bool     `short:"d" help:"Decode encoded words."`
	WithName bool     `short:"H" help:"Begin each line with the name of the file and a tab."`
}

// Help shows examples.
func (mailHdrCmd) Help() string {
	return `One line a field, unfolded. Dates are printed as 2017-03-30 15:00:00 +02:00. Control characters are shown as escapes.
Exit status: 2 when a field or parameter that was asked for is missing.

Examples:

  stagecoach mail hdr -d -f Subject:From hello.eml
  stagecoach mail hdr -p boundary mixed.eml`
}

// Run prints the fields.
func (c mailHdrCmd) Run() error {
	missing := ""
	for _, name := range c.Mail {
		l, err := readLetter(name, "auto")
		if err != nil {
			return err
		}
		prefix := ""
		if c.WithName {
			prefix = map[bool]string{true: ">", false: name}[name == "-"] + "\t"
		}
		if c.Param != "" {
			value := mime.Parse(l.raw).Params.Get(strings.ToLower(c.Param))
			if value == "" {
				missing = c.Param
				continue
			}
			fmt.Println(prefix + printable(value))
			continue
		}
		fields, without := c.choose(&l.message().Header)
		if without != "" {
			missing = without
		}
		for _, f := range fields {
			fmt.Println(prefix + printable(f.Name()+": "+c.text(f)))
		}
	}
	if missing != "" {
		return no("there is no %s", missing)
	}
	return nil
}

// choose returns the fields that are asked for; each name takes the next one from the top.
func (c mailHdrCmd) choose(h *our.Header) (out []our.Field, missing string) {
	if c.Fields == "" {
		for f := range h.All() {
			if f.Name() != "" {
				out = append(out, f)
			}
		}
		return out, ""
	}
	taken := map[string]int{}
	for name := range strings.SplitSeq(c.Fields, ":") {
		key := strings.ToLower(name)
		i, found := 0, false
		for f := range h.Fields(name) {
			if found = i == taken[key]; found {
				out = append(out, f)
				break
			}
			i++
		}
		taken[key]++
		if !found {
			missing = name
		}
	}
	return out, missing
}

func (c mailHdrCmd) text(f our.Field) string {
	body := f.Value()
	if f.Is("Date") || f.Is("Resent-Date") {
		if t, err := netmail.ParseDate(body); err == nil {
			return t.Format(dateLayout)
		}
	}
	if c.Decode {
		return mime.DecodeWords(body)
	}
	return body
}

type mailAddrCmd struct {
	mailSource  `embed:""`
	Fields      string `short:"f" help:"Where to look." default:"From:Sender:Reply-To:To:Cc:Bcc:Resent-From:Resent-To:Resent-Cc" placeholder:"A:B:C"`
	Decode      bool   `short:"d" help:"Decode encoded words in names."`
	WithoutName bool   `help:"Print addresses alone."`
}

// Help shows examples.
func (mailAddrCmd) Help() string {
	return `One line an address, in the order of the header. What no reader could understand is passed over, and said on standard error.

Example:

  stagecoach mail addr --without-name -f To:Cc hello.eml`
}

// Run prints the addresses.
func (c mailAddrCmd) Run() error {
	l, err := c.read()
	if err != nil {
		return err
	}
	m := l.message()
	wrong := 0
	for f := range m.Header.All() {
		if f.Name() == "" || !strings.Contains(":"+strings.ToLower(c.Fields)+":", ":"+strings.ToLower(f.Name())+":") {
			continue
		}
		boxes, bad := mime.ParseMailboxes(f.Value())
		wrong += bad
		for _, b := range boxes {
			if c.WithoutName {
				b.Name = ""
			} else if c.Decode {
				b.Name = mime.DecodeWords(b.Name)
			}
			fmt.Println(printable(b.String()))
		}
	}
	if wrong > 0 {
		return fmt.Errorf("%d entries are no addresses", wrong)
	}
	return nil
}

type mailTreeCmd struct {
	mailSource `embed:""`
	ASCII      bool `name:"ascii" help:"Draw with ASCII."`
	Strict     bool `help:"Fail (status 2) when anything is wrong with the mail."`
}

// Help shows examples.
func (mailTreeCmd) Help() string {
	return `One line a part: its type, charset or file name, transfer encoding, and length when decoded. A line that begins with "!"
says what is wrong with the part above.

Example:

  stagecoach mail tree mixed.eml`
}

// Run prints the tree.
func (c mailTreeCmd) Run() error {
	l, err := c.read()
	if err != nil {
		return err
	}
	if wrong := c.print(mime.Parse(l.raw), "", ""); wrong > 0 && c.Strict {
		return no("%d things are wrong", wrong)
	}
	return nil
}

// print prints a part and what is in it, and counts what is wrong.
func (c mailTreeCmd) print(p *mime.Part, first, rest string) (wrong int) {
	branch, last, pipe := "├─ ", "└─ ", "│  "
	if c.ASCII {
		branch, last, pipe = "|- ", "`- ", "|  "
	}
	text, err := partText(p)
	fmt.Println(first + printable(text))
	problems := p.Problems
	if err != nil {
		problems = append(problems, err.Error())
	}
	for _, s := range problems {
		fmt.Println(rest + "! " + printable(s))
	}
	wrong = len(problems)
	for i, child := range p.Parts {
		if i == len(p.Parts)-1 {
			wrong += c.print(child, rest+last, rest+"   ")
		} else {
			wrong += c.print(child, rest+branch, rest+pipe)
		}
	}
	return wrong
}

func partText(p *mime.Part) (string, error) {
	text := p.Type
	if len(p.Parts) > 0 {
		if p.Type == "message/rfc822" {
			text += fmt.Sprintf(" %q", mime.DecodeWords(p.Parts[0].Header.Value("Subject")))
		}
		return text, nil
	}
	content, err := p.Content()
	if charset := p.Params.Get("charset"); charset != "" {
		text += " " + charset
	}
	if p.Filename != "" {
		text += fmt.Sprintf(" %q", p.Filename)
	}
	if p.Disposition != "" {
		text += " " + p.Disposition
	}
	return fmt.Sprintf("%s %s, %d octets", text, p.Encoding, len(content)), err
}
