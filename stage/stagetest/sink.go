package stagetest

import (
	"context"
	"fmt"
	"io"
	"reflect"
	"strings"
	"sync"

	"stagecoach/mail"
)

// A Sink is a Handler that remembers what came, and says Verdict to all of it.
type Sink struct {
	Verdict error

	mu   sync.Mutex
	seen []Seen
}

var _ mail.Handler = (*Sink)(nil)

// Handle remembers m.
func (s *Sink) Handle(_ context.Context, m *mail.Mail) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, See(m))
	return s.Verdict
}

// Mails returns what came so far.
func (s *Sink) Mails() []Seen {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Seen(nil), s.seen...)
}

// Seen is a copy of a mail, without what a Wire adds to it.
type Seen struct {
	Envelope mail.Envelope
	Fields   []string // raw
	Body     string
}

// See copies m.
func See(m *mail.Mail) Seen {
	s := Seen{Envelope: m.Envelope.Clone(), Body: body(m.Message)}
	for f := range m.Message.Header.All() {
		if !(f.Is("Received") && strings.Contains(f.Raw(), "by "+wireName+" ")) {
			s.Fields = append(s.Fields, f.Raw())
		}
	}
	return s
}

// Equal reports whether two mails are the same, octet for octet.
func (s Seen) Equal(o Seen) bool { return reflect.DeepEqual(s, o) }

// String returns the mail for error texts, its body shortened.
func (s Seen) String() string {
	b := s.Body
	if len(b) > 200 {
		b = fmt.Sprintf("%s... (%d octets)", b[:200], len(b))
	}
	return fmt.Sprintf("%+v\n%s%q", s.Envelope, strings.Join(s.Fields, ""), b)
}

func body(m *mail.Message) string {
	b, err := io.ReadAll(m.NewReader())
	if err != nil {
		return "the body cannot be read: " + err.Error()
	}
	return string(b)
}
