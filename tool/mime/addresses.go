package mime

import "strings"

// A Mailbox is one entry of an address list.
type Mailbox struct {
	Name  string // display name, or the comment that old mails have instead; encoded words as written
	Addr  string // as written, without comments and blanks, "" where there is none
	Group string // of which group (RFC 5322 section 3.4) it is, "" for none
}

const (
	maxMailboxes = 10_000
	maxJoined    = 1000 // octets of an address that stands in pieces
)

// ParseMailboxes reads the body of From, To, Cc and the like, leniently: what no grammar has
// is passed over until the next comma, and counted in wrong.
func ParseMailboxes(body string) (list []Mailbox, wrong int) {
	p := mailboxes{scanner: scanner{text: body}}
	for len(p.list) < maxMailboxes {
		p.blanks()
		if p.end() {
			break
		}
		switch {
		case p.take(','):
		case p.group != "" && p.take(';'):
			p.group = ""
		default:
			before := p.i
			p.mailbox()
			if p.i == before {
				p.i++
				p.wrong++
			}
		}
	}
	return p.list, p.wrong
}

type mailboxes struct {
	scanner
	list  []Mailbox
	group string
	wrong int
}

// mailbox reads one entry, or the name of a group.
func (p *mailboxes) mailbox() {
	words, comment := p.phrase()
	switch p.peek() {
	case ':':
		p.i++
		p.group = strings.Join(words, " ")
		return
	case '<':
		p.i++
		addr, ok := p.angle()
		if !ok {
			p.wrong++
		}
		if c := p.blanks(); c != "" {
			comment = c
		}
		name := strings.Join(words, " ")
		if name == "" {
			name = comment
		}
		p.add(name, addr)
	default:
		addr := strings.Join(words, "")
		if !strings.Contains(addr, "@") || len(words) > 1 && !strings.ContainsAny(addr, "@.") {
			p.wrong++
			return
		}
		p.add(comment, addr)
	}
	if c := p.peek(); !p.end() && c != ',' && (c != ';' || p.group == "") {
		p.wrong++
		p.until(",;")
	}
}

func (p *mailboxes) add(name, addr string) {
	p.list = append(p.list, Mailbox{Name: name, Addr: addr, Group: p.group})
}

// phrase reads words up to one of the characters that give them their meaning. A quoted
// string that may be a local part keeps its quotes.
func (p *mailboxes) phrase() (words []string, comment string) {
	for {
		if c := p.blanks(); c != "" {
			comment = c
		}
		if p.end() {
			return words, comment
		}
		switch c := p.peek(); c {
		case '"':
			start := p.i
			text := p.quoted()
			end := p.i
			if p.blanks(); p.peek() == '@' || p.peek() == '.' {
				text = p.text[start:end]
			}
			words = append(words, text)
		case '[':
			words = append(words, p.literal())
		case '<', '>', ':', ',', ';':
			return words, comment
		case ')', ']', '\\':
			p.i++
			p.wrong++
		default:
			words = append(words, p.until(" \t\r\n()<>[]:;\\,\""))
		}
		words = joinAddress(words)
	}
}

// joinAddress puts words together that are one address: those with a dot or an at sign
// between them (RFC 5322 section 4.4 allows blanks there).
func joinAddress(words []string) []string {
	n := len(words)
	if n < 2 {
		return words
	}
	last, now := words[n-2], words[n-1]
	if len(last) > maxJoined {
		return words
	}
	if strings.HasSuffix(last, "@") || strings.HasPrefix(now, "@") || strings.HasPrefix(now, ".") && strings.Contains(last, "@") {
		words[n-2] = last + now
		return words[:n-1]
	}
	return words
}

// angle reads what stands in angle brackets, without a source route.
func (p *mailboxes) angle() (addr string, ok bool) {
	var b strings.Builder
	for {
		p.blanks()
		if p.end() {
			return b.String(), false
		}
		switch p.peek() {
		case '>':
			p.i++
			return b.String(), true
		case '"':
			start := p.i
			p.quoted()
			b.WriteString(p.text[start:p.i])
		case '[':
			b.WriteString(p.literal())
		case ':': // the end of a source route (RFC 5322 section 4.4)
			p.i++
			b.Reset()
		case '<', ';':
			return b.String(), false
		case ',':
			p.i++
		default:
			text := p.until(" \t\r\n()<>[]:;\\,\"")
			if text == "" {
				p.i++
				return b.String(), false
			}
			b.WriteString(text)
		}
	}
}

func (p *mailboxes) literal() string {
	n := strings.IndexByte(p.text[p.i:], ']')
	if n < 0 {
		n = len(p.text) - p.i - 1
	}
	text := p.text[p.i : p.i+n+1]
	p.i += n + 1
	return text
}

// String writes the mailbox as it stands in a field; Name as it is held.
func (m Mailbox) String() string {
	if m.Name == "" {
		return m.Addr
	}
	return m.Name + " <" + m.Addr + ">"
}
