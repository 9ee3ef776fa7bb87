package smtp

import (
	"context"

	"stagecoach/mail"
)

// A job is one mail on its way through a NextHop.
type job struct {
	ctx     context.Context
	hop     *NextHop
	mail    *mail.Mail
	content *content
	all     bool    // for all recipients or for none
	results []error // one a recipient
}

func newJob(ctx context.Context, h *NextHop, m *mail.Mail) *job {
	return &job{ctx: ctx, hop: h, mail: m, content: newContent(m.Message), results: make([]error, len(m.Envelope.To))}
}

// deliver makes one transaction for as many of the recipients, given by their indexes, as
// one may have, and returns how many it dealt with.
//
// A connection from the pool may have been closed by the server meanwhile. When it shows
// that before it has answered MAIL, and the whole message was not sent behind it, the
// transaction is tried once more on a new connection.
func (j *job) deliver(to []int) int {
	for fresh := false; ; fresh = true {
		l, used, err := j.hop.take(j.ctx, fresh)
		if err != nil {
			return j.failAll(to, err)
		}
		batch := to[:j.batch(l, len(to))]
		t := &attempt{job: j, l: l, to: batch}
		t.run()
		j.hop.give(l)
		if !used || !t.again || j.ctx.Err() != nil {
			return len(batch)
		}
		j.hop.pool.drop()
		for _, i := range batch {
			j.results[i] = nil
		}
	}
}

// batch returns how many of n recipients go into one transaction. All of them do when the
// mail is for all or none.
func (j *job) batch(l *link, n int) int {
	if j.all {
		return n
	}
	n = min(n, j.hop.maxRecipients())
	if most := l.announced("RCPTMAX"); most > 0 {
		n = min(n, most)
	}
	return n
}

// failAll gives every one of to the same error.
func (j *job) failAll(to []int, err error) int {
	for _, i := range to {
		j.results[i] = err
	}
	return len(to)
}
