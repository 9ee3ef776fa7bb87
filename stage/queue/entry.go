package queue

import (
	"bytes"
	"fmt"
	"time"

	"stagecoach/mail"
)

// A Letter is what the queue keeps of a mail for all of its recipients. It never changes.
type Letter struct {
	ID       ID
	Envelope mail.Envelope
	Accepted time.Time     // by the wall clock
	Born     time.Duration // on the clock of ages
	Due      time.Duration // first attempt, on the clock of the schedule
	Deadline time.Duration // first look at its age, on the clock of ages
	Trace    string        // the id of its log lines
	Verified bool          // its sender was verified, and may be sent reports
	Report   bool          // a report of ours that waits to be signed
	Size     int64         // of the message

	record []byte // as stored, with the header and a small body
	header []byte // part of record
	body   []byte // part of record, unless file is set
	file   *bodyFile
	report []byte // the message of a report that is not stored yet
}

// A bodyFile is a large body in a file of its own, named by the letter's ID.
type bodyFile struct {
	size int64
	sum  uint32
}

// newLetter makes the letter of a mail; its message is taken by Put.
func (q *Queue) newLetter(m *mail.Mail) *Letter {
	c := q.clock
	now := c.now()
	return &Letter{
		ID:       newID(now),
		Envelope: m.Envelope.Clone(),
		Accepted: now.Round(0),
		Born:     c.age(),
		Due:      c.tick(),
		Deadline: q.deadline(c.age(), false),
		Size:     m.Message.Size(),
	}
}

// deadline returns when a mail of some birth is looked at: for the notice of a delay, and when
// that was given, for its end.
func (q *Queue) deadline(born time.Duration, noticed bool) time.Duration {
	if !noticed && q.settings.DelayAfter >= 0 {
		return born + min(q.settings.DelayAfter, q.settings.Life)
	}
	return born + q.settings.Life
}

// An Entry is what is left to do of one letter for one destination: the recipients without
// an outcome, and the history of the attempts.
type Entry struct {
	Key
	From        mail.Address
	Recipients  []Target // without an outcome yet
	Size        int64    // of the message
	Accepted    time.Time
	Born        time.Duration // on the clock of ages
	Due         time.Duration // next attempt, on the clock of the schedule
	Deadline    time.Duration // of a notice or of the end, on the clock of ages
	Attempts    int
	LastAttempt time.Time // zero before the first
	LastError   string    // of the last attempt, for operators
	Trace       string
	Report      bool // the letter is a report that waits to be signed
	Alone       bool // the letter has no other entry
	Held        bool // by a command
	Damaged     bool // quarantined
	Noticed     bool // the sender was told of the delay

	stored places // of what is on disk
	leased bool
}

// places are where the schedule on disk has an entry.
type places struct {
	due, deadline time.Duration
	fresh         bool
	scheduled     bool
}

// A Target is a recipient without an outcome.
type Target struct {
	mail.Recipient
	Code   int    // of the last reply, 0 when there was none
	Status string // of the last reply
	Reply  string // its text
	Host   string // of the server whose reply that is, "" if it is ours
	Cause  string // for operators

	expired bool // given up, its time is over
}

// text is the last result in one line, for operators.
func (t *Target) text() string {
	s := t.Reply
	if t.Code != 0 {
		s = fmt.Sprintf("%d %s %s", t.Code, t.Status, t.Reply)
	}
	if t.Cause != "" {
		s += ": " + t.Cause
	}
	return s
}

func (e *Entry) fresh() bool { return e.Attempts == 0 }

func (e *Entry) scheduled() bool { return !e.Held && !e.Damaged }

func (e *Entry) places() places {
	return places{e.Due, e.Deadline, e.fresh(), e.scheduled()}
}

// entries makes the first entries of a letter, one a destination domain in the order of
// their first recipients.
func (l *Letter) entries() []*Entry {
	var all []*Entry
	index := map[string]*Entry{}
	for _, to := range l.Envelope.To {
		domain := to.Domain()
		if l.Report {
			domain = ""
		}
		e := index[domain]
		if e == nil {
			e = &Entry{
				Key: Key{l.ID, domain}, From: l.Envelope.From, Size: l.Size, Accepted: l.Accepted,
				Born: l.Born, Due: l.Due, Deadline: l.Deadline, Trace: l.Trace, Report: l.Report,
			}
			index[domain] = e
			all = append(all, e)
		}
		e.Recipients = append(e.Recipients, Target{Recipient: to})
	}
	for _, e := range all {
		e.Alone = len(all) == 1
	}
	return all
}

// inMemory makes a message of a letter whose body is in memory.
func (l *Letter) inMemory() *mail.Message {
	return l.message(bytes.NewReader(l.body), int64(len(l.body)), nil)
}
