// Package generate makes mails by the grammar of RFC 5322 and MIME: valid ones that use the
// grammar's corners, with what a reader must find in them, and nearly valid ones. The same
// seed gives the same mail, as long as this package does not change.
//
// It is for tests and fuzzers, and for trying out other people's programs.
package generate

import (
	"iter"
	"math/rand/v2"
	"strings"

	"stagecoach/mail"
)

// A Mail is a valid mail, and what it says.
type Mail struct {
	Raw      []byte // CRLF line ends, none longer than 998 octets
	UTF8     bool   // its header has raw UTF-8: needs SMTPUTF8 (RFC 6531)
	EightBit bool   // its body has octets above 127: needs 8BITMIME (RFC 6152)

	Subject  string // decoded
	From, To []Mailbox
	Body     Entity
}

// A Mailbox is one entry of an address list, decoded.
type Mailbox struct {
	Name  string
	Addr  string
	Group string
}

// An Entity is a MIME part, decoded.
type Entity struct {
	Type     string
	Charset  string // of text
	Filename string
	Content  []byte // of a leaf, without its transfer encoding
	Text     string // of text, in UTF-8
	Parts    []Entity
}

// Message returns the mail as a message.
func (m *Mail) Message() *mail.Message { return mail.NewMessage(m.Raw) }

// New makes the valid mail of a seed.
func New(seed uint64) *Mail {
	g := newSource(seed)
	m := &Mail{UTF8: g.one(8)}
	g.utf8 = m.UTF8
	var body []byte
	var fields []string
	fields, body, m.Body = g.entity(0)
	fields = append(fields, g.field("MIME-Version", g.pick("1.0", "1.0 (by hand)", "(x) 1.0")))
	fields = append(fields, g.header(m)...)
	g.shuffle(fields)
	fields = append(g.received(), fields...)
	m.Raw = []byte(strings.Join(fields, "") + "\r\n" + string(body))
	m.EightBit = hasEight(body)
	return m
}

// Nearly makes a mail of a seed with n things wrong; none of it may surprise a reader.
func Nearly(seed uint64, n int) []byte { return Mutate(New(seed).Raw, seed, n) }

// All yields the valid mails of count seeds from the first one on.
func All(first uint64, count int) iter.Seq[*Mail] {
	return func(yield func(*Mail) bool) {
		for i := range count {
			if !yield(New(first + uint64(i))) {
				return
			}
		}
	}
}

// A source makes choices.
type source struct {
	*rand.Rand
	utf8 bool // raw UTF-8 may stand in the header
}

func newSource(seed uint64) *source {
	return &source{Rand: rand.New(rand.NewPCG(seed, 0x5354414745434f41))}
}

// one is true once in n times.
func (g *source) one(n int) bool { return g.IntN(n) == 0 }

// between returns a number from low to high.
func (g *source) between(low, high int) int { return low + g.IntN(high-low+1) }

func (g *source) pick(from ...string) string { return from[g.IntN(len(from))] }

func (g *source) shuffle(s []string) {
	g.Shuffle(len(s), func(i, j int) { s[i], s[j] = s[j], s[i] })
}

// letters makes n characters of an alphabet.
func (g *source) letters(alphabet string, n int) string {
	var b strings.Builder
	for range n {
		b.WriteByte(alphabet[g.IntN(len(alphabet))])
	}
	return b.String()
}

func hasEight(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return true
		}
	}
	return false
}
