package queue

import (
	"context"
	"log/slog"
	"sync/atomic"
)

// Stats is a snapshot of a queue. Counts are since the start, and of recipients where not
// said otherwise.
type Stats struct {
	Accepted  int64 // mails
	Delivered int64
	Deferred  int64 // attempts that are to be made again
	Bounced   int64
	Reports   int64 // reports made
	Withheld  int64 // reports not made, since the sender was not verified
	Dropped   int64 // reports that could not be handed on, and entries dropped by command
	Damaged   int64 // records found damaged
	Entries   int64 // in the store: letters by destination
	Waiting   int   // entries in the window, under way included
	Running   int   // deliveries under way
	Bytes     int64 // octets of messages in the window
	Full      bool  // mail is refused for want of disk
	Fenced    string
	Rebuild   bool // the store is damaged, and rebuilt by the next start
}

type counts struct {
	accepted, delivered, deferred, bounced, reports, withheld, dropped, damaged atomic.Int64
}

func (c *counts) outcome(o outcome) {
	c.delivered.Add(int64(len(o.arrived) + len(o.relayed)))
	c.deferred.Add(int64(len(o.left)))
	c.bounced.Add(int64(len(o.failed)))
}

// Stats returns a snapshot.
func (q *Queue) Stats() Stats {
	h := q.store.Health()
	size, running, bytes := q.window.load()
	s := Stats{
		Accepted: q.counts.accepted.Load(), Delivered: q.counts.delivered.Load(),
		Deferred: q.counts.deferred.Load(), Bounced: q.counts.bounced.Load(),
		Reports: q.counts.reports.Load(), Withheld: q.counts.withheld.Load(),
		Dropped: q.counts.dropped.Load(), Damaged: h.Damaged + q.counts.damaged.Load(),
		Entries: h.Entries, Waiting: size, Running: running, Bytes: bytes,
		Full: h.Full, Rebuild: h.Rebuild,
	}
	if h.Fenced != nil {
		s.Fenced = h.Fenced.Error()
	}
	return s
}

// Healthy returns nil while the queue takes mail.
func (q *Queue) Healthy() error {
	h := q.store.Health()
	if h.Fenced == nil && h.Full {
		return ErrFull
	}
	return h.Fenced
}

// log writes one line for each recipient of an attempt.
func (q *Queue) log(e *Entry, o outcome, kept error) {
	line := func(level slog.Level, what string, to []Target) {
		for _, t := range to {
			a := []any{"id", e.Trace, "entry", e.ID.String(), "from", e.From, "to", t.Recipient.Address, "attempt", e.Attempts}
			if t.Reply != "" && what != "delivered" {
				a = append(a, "reply", t.text())
			}
			if kept != nil {
				a = append(a, "not kept", kept)
			}
			q.settings.Log.Log(context.Background(), level, what, a...)
		}
	}
	line(slog.LevelInfo, "delivered", o.arrived)
	line(slog.LevelInfo, "delivered", o.relayed)
	line(slog.LevelInfo, "deferred", o.left)
	line(slog.LevelWarn, "bounced", o.failed)
}
