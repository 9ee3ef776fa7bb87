package queue

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"stagecoach/mail"
	"stagecoach/rfc/dsn"
)

// reports makes the reports that an outcome asks for. They are stored with the entry that
// caused them, and handed to Reports from there.
func (q *Queue) reports(l *Letter, m *mail.Message, o outcome) (reports []*Letter) {
	add := func(r *Letter) {
		if r != nil {
			reports = append(reports, r)
		}
	}
	add(q.report(l, m, dsn.Failed, wanting(o.failed, mail.NotifyFailure, true)))
	add(q.report(l, m, dsn.Relayed, wanting(o.relayed, mail.NotifySuccess, false)))
	return reports
}

// wanting returns the recipients for whom the sender wants to hear of an event
// (RFC 3461 section 4.1). given is the answer where NOTIFY= was not given.
func wanting(to []Target, event mail.Notify, given bool) []Target {
	var out []Target
	for _, t := range to {
		if t.Notify&event != 0 || t.Notify == 0 && given {
			out = append(out, t)
		}
	}
	return out
}

// report makes one report as a letter that waits to be signed; nil if nobody may have it: no
// report goes to the null path, to a sender whom nobody verified, or about a report.
func (q *Queue) report(l *Letter, m *mail.Message, action dsn.Action, to []Target) *Letter {
	if len(to) == 0 || l.Report || l.Envelope.From.IsZero() {
		return nil
	}
	if !l.Verified {
		q.counts.withheld.Add(1)
		q.settings.Log.Warn("no report, since the sender was not verified", "id", l.ID.String(),
			"trace", l.Trace, "from", l.Envelope.From, "action", string(action))
		return nil
	}
	now := q.settings.Now().Round(0)
	id := newID(now)
	r := &dsn.Report{
		Reporter: q.settings.Name, From: q.settings.Postmaster, To: l.Envelope.From, Date: now,
		MessageID:  id.String() + "@" + q.settings.Name,
		EnvelopeID: l.Envelope.ID, Arrived: l.Accepted, UTF8: l.Envelope.UTF8,
	}
	if m != nil {
		header := m.Clone().Header
		header.Strike(reveals(to))
		r.Header = &header
	}
	for _, t := range to {
		r.Recipients = append(r.Recipients, q.fate(l, action, t, now))
	}
	out := q.newLetter(r.Mail())
	out.ID, out.Report, out.Trace = id, true, l.Trace
	out.Envelope = r.Mail().Envelope
	out.report = []byte(r.Mail().Message.String())
	return out
}

// fate writes what became of one recipient, in the words that its sender may read.
func (q *Queue) fate(l *Letter, action dsn.Action, t Target, now time.Time) dsn.Recipient {
	r := dsn.Recipient{Original: t.Original, Final: t.Address, Action: action, Status: t.Status, RemoteMTA: t.Host, Attempted: now}
	if t.Code != 0 && action != dsn.Relayed {
		r.Diagnostic = fmt.Sprintf("%d %s %s", t.Code, t.Status, t.Reply)
	}
	switch action {
	case dsn.Relayed:
		r.Status, r.RemoteMTA = "2.0.0", ""
	case dsn.Delayed:
		r.RetryUntil = now.Add(q.settings.Life - (q.clock.age() - l.Born))
	}
	if t.expired {
		r.Status = "4.4.7"
	}
	if shown, hidden := shown(t); hidden {
		r.Final, r.RemoteMTA = shown, ""
		r.Diagnostic = scrub(r.Diagnostic, t.Address)
	}
	return r
}

// A hand carries a report to Reports. If that leads back to Handle in the same process, the
// signed mail comes into the store, and the report's entry goes, in one step: exactly once.
type hand struct {
	mu   sync.Mutex
	e    *Entry
	over bool
}

type handKey struct{}

func reportInHand(ctx context.Context) *hand {
	h, _ := ctx.Value(handKey{}).(*hand)
	return h
}

// entry returns the entry that the mail which is now stored takes the place of, or nil.
func (h *hand) entry() *Entry {
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over {
		return nil
	}
	return h.e
}

// done says that the entry is gone.
func (h *hand) done() {
	if h != nil {
		h.mu.Lock()
		h.over = true
		h.mu.Unlock()
	}
}

// handOn gives a report to Reports.
func (q *Queue) handOn(ctx context.Context, t *task) {
	e := t.entry
	l, m, err := q.load(ctx, t)
	if err != nil {
		q.unreadable(ctx, e, err)
		return
	}
	defer m.Close()
	h := &hand{e: e}
	next := q.Reports
	if next == nil {
		next = q
	}
	handed := context.WithValue(mail.WithTrace(ctx, e.Trace), handKey{}, h)
	err = next.Handle(handed, &mail.Mail{Envelope: l.Envelope.Clone(), Message: m.Clone()})
	log := q.settings.Log.With("id", e.ID.String(), "trace", e.Trace)
	switch kept := context.WithoutCancel(ctx); {
	case h.entry() == nil: // stored, whatever came after
	case err == nil:
		if err := q.store.Ack(kept, e); err != nil {
			log.Error("a report was handed on, and may be so again", "error", err)
		}
	case ctx.Err() != nil:
		q.store.Return(e)
	case mail.IsPermanent(err) || q.clock.age()-e.Born >= q.settings.Life:
		log.Error("ALARM: a report was refused, and is dropped", "error", err)
		q.counts.dropped.Add(1)
		if err := q.store.Ack(kept, e); err != nil {
			log.Error("a report could not be dropped", "error", err)
		}
	default:
		log.Warn("a report could not be handed on", "error", err)
		e.Attempts++
		e.LastAttempt, e.LastError = q.settings.Now().Round(0), shorten(err.Error())
		e.Due = q.clock.tick() + q.backoff(e.Attempts)
		due := e.Due
		if q.store.Defer(kept, e) == nil {
			q.retries.before(due)
		}
	}
}

// shown returns the address by which outsiders know a recipient, and whether that is another
// than where the mail goes. If ORCPT= is of a kind that is no mailbox, it is the zero Address.
func shown(t Target) (mail.Address, bool) {
	kind, text, ok := strings.Cut(t.Original, ";")
	if !ok {
		return t.Address, false
	}
	kind = strings.TrimSpace(kind)
	if !strings.EqualFold(kind, "rfc822") && !strings.EqualFold(kind, "utf-8") {
		return mail.Address{}, true
	}
	a, err := mail.ParseAddress(strings.TrimSpace(text))
	if err != nil {
		return mail.Address{}, true
	}
	return a, a != t.Address
}
