// Package filter asks whether a mail looks like spam, and writes the answer into its header.
// Unless it is told to refuse what is surely spam it only labels. It never holds up or loses a
// mail: whatever goes wrong, the answer is "unknown".
package filter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"stagecoach/mail"
)

// The fields that the stage writes. Those that came with the mail are struck out.
const (
	Field       = "X-Spamtacus"
	StatusField = "X-Spam-Status"
	FlagField   = "X-Spam-Flag"
)

// A Label is the answer.
type Label string

// The labels.
const (
	Yes     Label = "yes"
	No      Label = "no"
	Unknown Label = "unknown"
)

// A Verdict is what a Classifier thinks of a mail.
type Verdict struct {
	Label       Label
	Probability float64  // that it is spam, 0 to 1; NaN when it means nothing
	Reasons     []string // what weighed most, for people; short words
}

// A Classifier judges mail. It gets a copy of the mail, reads it, and changes nothing. It may
// read until it returns, but once its context has ended reading the body fails. It is safe
// for concurrent use.
type Classifier interface {
	Classify(ctx context.Context, m *mail.Mail) (Verdict, error)
}

// A Filter labels mail. It is safe for concurrent use.
type Filter struct {
	Classifier Classifier    // nil: every mail is unknown
	Timeout    time.Duration // for one mail; default 5 s
	Next       mail.Handler

	// Reject says from which probability on spam to a recipient is refused, while the client is
	// on the line; more than 1 is never. A mail is refused when it is for all of its recipients.
	// Nil refuses nothing.
	Reject func(to mail.Address) float64

	// Judged hears every verdict of the Classifier; nil is silent.
	Judged func(ctx context.Context, v Verdict)

	// Trouble hears why a mail is unknown although there is a Classifier; nil is silent.
	Trouble func(ctx context.Context, err error)

	running atomic.Int32
}

var _ mail.Handler = (*Filter)(nil)

const (
	defaultTimeout = 5 * time.Second
	maxRunning     = 64 // classifications at once, those that overran included
)

// Handle labels a mail and hands it on. Its answer is that of the next stage.
func (f *Filter) Handle(ctx context.Context, m *mail.Mail) error {
	v, err := f.classify(ctx, m)
	if err != nil {
		v = Verdict{Label: Unknown, Probability: math.NaN()}
		if f.Trouble != nil {
			f.Trouble(ctx, err)
		}
	}
	if err == nil && f.Judged != nil && f.Classifier != nil {
		f.Judged(ctx, v)
	}
	if f.refuses(m, v) {
		return errSpam.Because(errors.New(strings.Join(v.Reasons, "; ")))
	}
	h := &m.Message.Header
	h.Strike(func(field mail.Field) bool {
		return field.Is(Field) || field.Is(StatusField) || field.Is(FlagField)
	})
	h.Prepend(fields(v)...)
	return f.Next.Handle(ctx, m)
}

var errSpam = mail.Reject(550, "5.7.1", "this message looks like spam and is not taken")

// refuses reports whether a mail is so surely spam that none of its recipients wants it.
func (f *Filter) refuses(m *mail.Mail, v Verdict) bool {
	if f.Reject == nil || v.Label != Yes || len(m.Envelope.To) == 0 {
		return false
	}
	for _, to := range m.Envelope.To {
		if !(v.Probability >= f.Reject(to.Address)) {
			return false
		}
	}
	return true
}

// fields writes a verdict down: for the reference's users, and as mail clients know it from
// SpamAssassin.
func fields(v Verdict) []mail.Field {
	status := map[Label]string{Yes: "Yes", No: "No", Unknown: "Unknown"}[v.Label]
	if v.Probability >= 0 && v.Probability <= 1 {
		status += ", probability=" + number(v.Probability)
	}
	if len(v.Reasons) > 0 {
		status += ",\r\n\treasons=" + folded(words(v.Reasons))
	}
	switch {
	case strings.Contains(status, ","): // clients look for the comma
	case v.Label == Unknown:
		status += ", not classified"
	default:
		status += ", without reasons"
	}
	out := []mail.Field{mail.NewField(Field, string(v.Label)), mail.NewField(StatusField, status)}
	if v.Label == Yes {
		out = append(out, mail.NewField(FlagField, "YES"))
	}
	return out
}

// number writes a probability with three digits. One close to 1 has more, and is rounded down, so
// that it reaches no limit that it does not.
func number(p float64) string {
	if p > 0.998 {
		return fmt.Sprintf("%.6f", math.Floor(p*1e6)/1e6)
	}
	return fmt.Sprintf("%.3f", p)
}

// folded joins words by commas, on lines that are not too long.
func folded(words []string) string {
	var b strings.Builder
	column := len("\treasons=")
	for i, w := range words {
		if i > 0 {
			b.WriteByte(',')
			if column++; column+len(w) > 76 {
				b.WriteString("\r\n\t")
				column = 8
			}
		}
		b.WriteString(w)
		column += len(w)
	}
	return b.String()
}

// words cuts reasons down to what a header field can hold.
func words(reasons []string) []string {
	const most, longest = 10, 60
	var out []string
	for _, r := range reasons[:min(len(reasons), most)] {
		r = strings.Map(func(c rune) rune {
			if c <= ' ' || c > '~' || c == ',' {
				return '_'
			}
			return c
		}, r)
		out = append(out, r[:min(len(r), longest)])
	}
	return out
}

var (
	errBusy  = errors.New("filter: too many mails are being classified")
	errOver  = errors.New("filter: classification took too long")
	errLabel = errors.New("filter: the classifier gave no proper label")
)

// classify asks the classifier on a goroutine of its own, which may overrun: then it works on
// for nothing, but can no longer read.
func (f *Filter) classify(ctx context.Context, m *mail.Mail) (Verdict, error) {
	if f.Classifier == nil {
		return Verdict{Label: Unknown, Probability: math.NaN()}, nil
	}
	if f.running.Add(1) > maxRunning {
		f.running.Add(-1)
		return Verdict{}, errBusy
	}
	timeout := f.Timeout
	if timeout == 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	loan := &loan{r: m.Message.Body}
	defer loan.end()
	c := m.Clone()
	c.Peer = mail.Peer{}
	c.Message.Body = io.NewSectionReader(loan, 0, m.Message.Body.Size())

	type answer struct {
		v   Verdict
		err error
	}
	done := make(chan answer, 1)
	go func() {
		defer f.running.Add(-1)
		var a answer
		defer func() {
			if p := recover(); p != nil {
				a = answer{err: fmt.Errorf("filter: the classifier panicked: %v", p)}
			}
			done <- a
		}()
		a.v, a.err = f.Classifier.Classify(ctx, c)
	}()
	select {
	case a := <-done:
		if a.err == nil && a.v.Label != Yes && a.v.Label != No && a.v.Label != Unknown {
			a.err = errLabel
		}
		return a.v, a.err
	case <-ctx.Done():
		return Verdict{}, errOver
	}
}

// A loan is a body that can be taken back.
type loan struct {
	mu    sync.RWMutex
	r     io.ReaderAt
	ended bool
}

func (l *loan) ReadAt(p []byte, off int64) (int, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.ended {
		return 0, errOver
	}
	return l.r.ReadAt(p, off)
}

// end waits for a read that is under way.
func (l *loan) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
}
