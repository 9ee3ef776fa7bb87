package smtp

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"stagecoach/mail"
)

// An attempt is one transaction: MAIL to the reply to the end of the message (RFC 5321 section 3.3). A
// recipient without a result is open: the mail may still reach him, and in the end it did.
type attempt struct {
	*job
	l    *link
	plan plan
	to   []int // recipients

	begun    bool // MAIL was sent
	answered bool // the server answered MAIL
	sent     bool // all of the message was sent
	again    bool // a new connection may be tried at once
}

// How much goes out before the first reply is read. The replies to one flight, and what of
// it the server has not read, must fit into the buffers of the two systems, or both ends
// would wait for each other (RFC 2920 section 3.1).
const (
	maxFlight     = 50
	maxEarlyChunk = 32 << 10
)

// run does all of it, and leaves the connection either ready for the next one or broken.
func (t *attempt) run() {
	l := t.l
	l.mails++
	l.deadline = time.Now().Add(l.wait.Total)
	release := l.guard(t.ctx)
	if !t.steps() && t.begun && !l.broken {
		t.reset()
	}
	l.deadline = time.Time{}
	if !release() {
		l.broken = true
	}
}

// steps returns whether the server took the message.
func (t *attempt) steps() bool {
	p, err := t.job.plan(t.l)
	if err != nil {
		t.fail(err)
		return false
	}
	t.plan = p
	t.refuseUTF8()
	if t.doomed() {
		return false
	}
	early, ok := t.envelope()
	switch {
	case !ok:
		return false
	case early && t.plan.chunks:
		return t.verdict("BDAT")
	case early:
		return t.data()
	case t.doomed():
		return false
	case t.plan.chunks:
		return t.chunks()
	}
	t.l.send("DATA")
	return t.push("DATA") && t.data()
}

// doomed reports whether the message is not to be sent any more.
func (t *attempt) doomed() bool {
	n := t.open()
	return n == 0 || t.all && n < len(t.to)
}

func (t *attempt) open() (n int) {
	for _, i := range t.to {
		if t.results[i] == nil {
			n++
		}
	}
	return n
}

// fail gives an error to all who are open.
func (t *attempt) fail(err error) {
	for _, i := range t.to {
		if t.results[i] == nil {
			t.results[i] = err
		}
	}
}

// refuseUTF8 refuses recipients whose addresses the server cannot take.
func (t *attempt) refuseUTF8() {
	for _, i := range t.to {
		if !t.mail.Envelope.To[i].IsASCII() && !t.l.has("SMTPUTF8") {
			t.results[i] = t.l.noUTF8("non-ASCII recipient")
		}
	}
}

// envelope sends MAIL and RCPT, and early, when it can, what follows them. It returns false
// when there is nothing more to say on this connection or in this transaction.
func (t *attempt) envelope() (early, ok bool) {
	l, flight := t.l, maxFlight
	t.begun = true
	l.send(t.mailLine(l, t.plan))
	if !l.has("PIPELINING") {
		flight = 1
		if !t.push("MAIL") || !t.hearMail() || t.doomed() {
			return false, false
		}
	}
	for rest := t.wanted(); len(rest) > 0; {
		group := rest[:min(flight, len(rest))]
		rest = rest[len(group):]
		for _, i := range group {
			l.send(t.rcptLine(l, t.plan, i))
		}
		if len(rest) == 0 && flight > 1 {
			if early, ok = t.early(); !ok {
				return false, false
			}
		}
		if !t.push("MAIL") {
			return false, false
		}
		t.sent = early && t.plan.chunks
		if !t.answered && !t.hearMail() || !t.hearRcpts(group) {
			return false, false
		}
		if t.open() == 0 {
			break
		}
	}
	return early, true
}

// wanted returns the recipients to name to the server.
func (t *attempt) wanted() []int {
	var to []int
	for _, i := range t.to {
		if t.results[i] == nil {
			to = append(to, i)
		}
	}
	return to
}

// early puts the message, or the command for it, behind the last RCPT where that is safe:
// where a message may go to those who are left when the server refuses some, which for one
// recipient is always. ok is false when the message cannot be read.
func (t *attempt) early() (early, ok bool) {
	if t.all && len(t.to) > 1 {
		return false, true
	}
	if !t.plan.chunks {
		t.l.send("DATA")
		return true, true
	}
	size := t.content.size
	if size > maxEarlyChunk || size > int64(t.hop.chunkSize()) {
		return false, true
	}
	src := t.content.source()
	t.l.send("BDAT ", strconv.FormatInt(size, 10), " LAST")
	if _, err := io.Copy(t.l.w, src); src.err != nil {
		t.l.broken = true
		t.fail(t.hop.ours(src.err))
		return false, false
	} else if err != nil {
		return true, true // push will see it too
	}
	return true, true
}

// push sends what is buffered. When that fails the server may have said why.
func (t *attempt) push(step string) bool {
	err := t.l.flush()
	if err == nil {
		return true
	}
	if r, e := t.l.read(2 * time.Second); e == nil && r.code >= 400 {
		t.fail(t.hop.said(step, r.refusal(), r.code == 421 || step == "MAIL" && r.code < 500))
		return false
	}
	t.lost(step, err)
	return false
}

// lost deals with a connection that broke, or on which somebody did not speak SMTP.
func (t *attempt) lost(step string, err error) {
	t.l.broken = true
	t.again = !t.answered && !t.sent
	if t.sent {
		err = fmt.Errorf("%w: %w", ErrReplyLost, err)
	}
	t.fail(t.hop.trouble(t.ctx, step, err))
}

// hear reads one reply. It returns false when there is no more to come.
func (t *attempt) hear(step string, d time.Duration) (reply, bool) {
	r, err := t.l.read(d)
	if err != nil {
		t.lost(step, err)
		return r, false
	}
	if r.code == 421 {
		t.again = step == "MAIL"
		t.fail(t.hop.said(step, r.refusal(), true))
		return r, false
	}
	return r, true
}

func (t *attempt) hearMail() bool {
	r, ok := t.hear("MAIL", t.l.wait.Command)
	if !ok {
		return false
	}
	t.answered = true
	if !r.ok() {
		t.fail(t.hop.said("MAIL", r.refusal(), r.code/100 != 5))
	}
	return true
}

// hearRcpts reads the replies to a group of RCPT. Every 2yz is a yes (RFC 5321 section
// 4.2.3 has 250 and 251, section 3.5.3 has 252).
func (t *attempt) hearRcpts(group []int) bool {
	for _, i := range group {
		r, ok := t.hear("RCPT", t.l.wait.Command)
		if !ok {
			return false
		}
		if !r.ok() && t.results[i] == nil {
			t.results[i] = t.hop.said("RCPT", r.rcptRefusal(), false)
		}
	}
	return true
}

// data reads the reply to DATA and sends the message. A server that wants a message which
// has lost its recipients is left: what a lone dot would mean to it nobody knows.
func (t *attempt) data() bool {
	r, ok := t.hear("DATA", t.l.wait.Data)
	if !ok {
		return false
	}
	if r.code != 354 {
		t.l.broken = t.l.broken || r.ok()
		t.fail(t.hop.said("DATA", r.refusal(), false))
		return false
	}
	if t.doomed() {
		t.l.broken = true
		return false
	}
	c, src := t.content, t.content.source()
	if err := c.scan(); err != nil {
		src.err = err
	} else {
		writeDots(t.l.w, src, make([]byte, min(c.size+1, 32<<10)), c.cut) //nolint:errcheck // push sees it
	}
	if src.err != nil {
		t.l.broken = true
		t.fail(t.hop.ours(src.err))
		return false
	}
	if !t.push("DATA") {
		return false
	}
	return t.verdict("DATA")
}

// chunks sends the message by BDAT (RFC 3030 section 2).
func (t *attempt) chunks() bool {
	src, left := t.content.source(), t.content.size
	for {
		n := min(left, int64(t.hop.chunkSize()))
		left -= n
		if left == 0 {
			t.l.send("BDAT ", strconv.FormatInt(n, 10), " LAST")
		} else {
			t.l.send("BDAT ", strconv.FormatInt(n, 10))
		}
		io.CopyN(t.l.w, src, n) //nolint:errcheck // what it means is seen below
		if src.err != nil {
			t.l.broken = true
			t.fail(t.hop.ours(src.err))
			return false
		}
		if !t.push("BDAT") {
			return false
		}
		if left == 0 {
			return t.verdict("BDAT")
		}
		r, ok := t.hear("BDAT", t.l.wait.Command)
		if !ok {
			return false
		}
		if !r.ok() {
			t.fail(t.hop.said("BDAT", r.refusal(), false))
			return false
		}
	}
}

// verdict reads the reply to the end of the message, for which there is all the time of RFC
// 5321 section 4.5.3.2.6: who gives up early makes duplicates.
func (t *attempt) verdict(step string) bool {
	t.sent = true
	t.l.deadline = time.Time{}
	r, ok := t.hear(step, t.l.wait.Final)
	if !ok {
		return false
	}
	if !r.ok() {
		t.fail(t.hop.said(step, r.refusal(), false))
		return false
	}
	took := t.open() > 0
	t.markUnreported()
	return took
}

// markUnreported tells Carry's caller of recipients whose success the server will not report.
func (t *attempt) markUnreported() {
	if t.all || t.l.has("DSN") {
		return
	}
	for _, i := range t.to {
		if t.results[i] == nil && t.mail.Envelope.To[i].Notify&mail.NotifySuccess != 0 {
			t.results[i] = Unreported{t.hop.Host}
		}
	}
}

// reset ends a transaction that came to nothing, so that the connection can be used again.
func (t *attempt) reset() {
	if r, err := t.l.ask(10*time.Second, "RSET"); err != nil || !r.ok() {
		t.l.broken = true
	}
}
