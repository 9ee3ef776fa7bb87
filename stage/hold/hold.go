// Package hold keeps back what is very surely spam, so that it is not forwarded under our name, and
// tells its readers once a day. A held mail is released by a mail to an address that only its reader was told.
package hold

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"stagecoach/mail"
)

// A Holder stands between the filter, whose fields it believes, and forwarding. Its fields are set
// before use and not changed after. It is safe for concurrent use.
//
// A mail is taken when all of it is on disk or with the next stage. One for several readers of whom
// some hold it back is prepared for these, handed on for the others, and then held: should there
// be a crash between the last two, the sender tries again, and nothing is lost.
type Holder struct {
	Store *Store
	Key   []byte       // of release addresses, at least 16 octets
	Next  mail.Handler // forwards; digests and what is released go there too

	// Limit says from which probability on mail to an address is held; more than 1 is never.
	Limit func(to mail.Address) float64

	// User names the reader of the mail to an address, in small letters, if there is one.
	User func(mail.Address) (string, bool)

	// Spares reports whether a reader knows the sender, or has taught that such mail is good; nil
	// knows of none.
	Spares func(user string, m *mail.Mail) bool

	// Teach hears what a reader released who was logged in: it is good. nil: nothing is taught.
	Teach func(user string, m *mail.Message) error

	// DigestAt is when digests are sent, after midnight by the clock of Now; NoDigest is never.
	DigestAt time.Duration

	Poll time.Duration // between looks at what commands want; default one second
	Log  *slog.Logger  // nil is silent
	Now  func() time.Time

	once   sync.Once
	wake   chan struct{}
	looked time.Time            // at everything
	sent   map[string]time.Time // by folder, which digest was the last; of Round alone
}

// NoDigest is a Holder.DigestAt that never comes.
const NoDigest time.Duration = -1

var _ mail.Handler = (*Holder)(nil)

// Handle takes what releases a mail, holds what is to be held, and hands on the rest.
func (h *Holder) Handle(ctx context.Context, m *mail.Mail) error {
	if err := h.takeReleases(ctx, m); err != nil || len(m.Envelope.To) == 0 {
		return err
	}
	v := verdictOf(&m.Message.Header)
	if !v.spam || h.Limit == nil {
		return h.Next.Handle(ctx, m)
	}
	rest, held := h.split(m, v)
	if len(held) == 0 {
		return h.Next.Handle(ctx, m)
	}
	return h.hold(ctx, m, v, rest, held)
}

// A share is the part of a mail that is for one reader.
type share struct {
	user string
	to   []mail.Recipient
}

// split parts those who want the mail held from the others.
func (h *Holder) split(m *mail.Mail, v verdict) (rest []mail.Recipient, held []share) {
	spared := map[string]bool{}
	for _, to := range m.Envelope.To {
		user, ok := h.User(to.Address)
		if !ok || isRole(to.Address) || !(v.probability >= h.Limit(to.Address)) {
			rest = append(rest, to)
			continue
		}
		if _, asked := spared[user]; !asked {
			spared[user] = h.Spares != nil && h.Spares(user, m)
		}
		if spared[user] {
			rest = append(rest, to)
			continue
		}
		i := 0
		for i < len(held) && held[i].user != user {
			i++
		}
		if i == len(held) {
			held = append(held, share{user: user})
		}
		held[i].to = append(held[i].to, to)
	}
	return rest, held
}

// isRole reports whether complaints go to an address, which tend to look like what they complain of
// (RFC 2142 section 2).
func isRole(a mail.Address) bool {
	return strings.EqualFold(a.Local(), "postmaster") || strings.EqualFold(a.Local(), "abuse")
}

// hold keeps the shares. Who cannot have his held, for whatever reason, gets it labelled.
func (h *Holder) hold(ctx context.Context, m *mail.Mail, v verdict, rest []mail.Recipient, held []share) error {
	var ready []*staged
	defer func() {
		for _, w := range ready {
			w.discard() // of no effect on what counts
		}
	}()
	var kept []share
	for _, s := range held {
		part := m.Clone()
		part.Envelope.To = s.to
		w, err := h.Store.stage(s.user, part, h.now(), v)
		if err != nil {
			h.log().Warn("spam is forwarded, since it cannot be held", "id", mail.Trace(ctx), "user", s.user, "error", err.Error())
			rest = append(rest, s.to...)
			continue
		}
		ready, kept = append(ready, w), append(kept, s)
	}
	var later *mail.Mail // the next stage may change m
	if len(rest) > 0 {
		later = m.Clone()
		m.Envelope.To = rest
		if err := h.Next.Handle(ctx, m); err != nil {
			return err
		}
	}
	var failed []mail.Recipient
	for i, w := range ready {
		if err := w.commit(); err != nil {
			h.log().Error("spam is forwarded, since it cannot be held", "id", mail.Trace(ctx), "user", kept[i].user, "error", err.Error())
			failed = append(failed, kept[i].to...)
			continue
		}
		h.log().Info("held", "id", mail.Trace(ctx), "stage", "hold", "user", kept[i].user, "held", w.id, "probability", v.probability, "reason", v.reason)
	}
	if len(failed) == 0 {
		return nil
	}
	if later == nil {
		later = m
	}
	later.Envelope.To = failed
	return h.Next.Handle(ctx, later)
}

// Takes reports whether an address releases a mail. It is for the gates at the edges, since nobody
// lives there. The address of a mail that is gone is taken too.
func (h *Holder) Takes(a mail.Address) bool {
	_, ok := released(h.Key, a)
	return ok
}

// Releases returns a Handler for the way of our users' mail: it takes what releases a mail, and hands
// everything else to next.
func (h *Holder) Releases(next mail.Handler) mail.Handler {
	return mail.HandlerFunc(func(ctx context.Context, m *mail.Mail) error {
		if err := h.takeReleases(ctx, m); err != nil || len(m.Envelope.To) == 0 {
			return err
		}
		return next.Handle(ctx, m)
	})
}

// takeReleases marks what is to be released, and takes its addresses out of the envelope. A mail that
// a program wrote releases nothing, and is taken in silence.
func (h *Holder) takeReleases(ctx context.Context, m *mail.Mail) error {
	var rest []mail.Recipient
	var ids []string
	for _, to := range m.Envelope.To {
		if id, ok := released(h.Key, to.Address); ok {
			ids = append(ids, id)
		} else {
			rest = append(rest, to)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	m.Envelope.To = rest
	if automatic(m) {
		h.log().Info("an automatic answer releases nothing", "id", mail.Trace(ctx))
		return nil
	}
	for _, id := range ids {
		if err := h.release(id, m.Envelope.Submitter); err != nil {
			return fmt.Errorf("releasing a held mail: %w", err)
		}
	}
	return nil
}

// release marks one mail. by is who is logged in.
func (h *Holder) release(id, by string) error {
	it, err := h.Store.Find(id)
	if errors.Is(err, ErrNotHeld) {
		return nil // released before
	}
	if err != nil {
		return err
	}
	if err := h.teach(it, by); err != nil {
		return err
	}
	if err := h.Store.Release(it); err != nil && !errors.Is(err, ErrNotHeld) {
		return err
	}
	h.log().Info("released", "stage", "hold", "user", it.User, "held", it.ID, "by", by)
	select {
	case h.waking() <- struct{}{}:
	default:
	}
	return nil
}

func (h *Holder) teach(it Item, by string) error {
	a, err := mail.ParseAddress(by)
	if err != nil || h.Teach == nil {
		return nil
	}
	if user, ok := h.User(a); !ok || user != it.User {
		return nil
	}
	m, err := it.Mail()
	if err != nil {
		return err
	}
	defer m.Message.Close()
	return h.Teach(it.User, m.Message)
}

// automatic reports whether a program wrote a mail (RFC 5321 section 4.5.5, RFC 3834 section 5).
func automatic(m *mail.Mail) bool {
	if m.Envelope.From.IsZero() {
		return true
	}
	for f := range m.Message.Header.Fields("Auto-Submitted") {
		word, _, _ := strings.Cut(f.Value(), ";")
		word, _, _ = strings.Cut(word, "(")
		if !strings.EqualFold(strings.TrimSpace(word), "no") {
			return true
		}
	}
	return false
}

func (h *Holder) waking() chan struct{} {
	h.once.Do(func() { h.wake = make(chan struct{}, 1) })
	return h.wake
}

func (h *Holder) now() time.Time {
	if h.Now != nil {
		return h.Now()
	}
	return time.Now()
}

func (h *Holder) log() *slog.Logger {
	if h.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return h.Log
}
