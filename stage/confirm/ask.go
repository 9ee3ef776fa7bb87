package confirm

import (
	"context"
	"fmt"
	"strings"
	"time"

	"stagecoach/mail"
)

// How often a target is asked. A stranger whose address somebody mistyped is to be left alone.
const (
	MaxAsked = 3
	AskAgain = 24 * time.Hour
)

// maxRound bounds the mails of one round, so that many new users make no wave.
const maxRound = 20

// maxWait is how long to wait after the files of accounts could not be changed.
const maxWait = time.Hour

// Run asks and stores until ctx ends.
func (c *Confirmer) Run(ctx context.Context) error {
	every := c.Poll
	if every <= 0 {
		every = time.Minute
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		c.Round(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-c.waking():
		}
	}
}

// Round stores what was confirmed, and asks whom it is time to ask.
func (c *Confirmer) Round(ctx context.Context) {
	c.store(ctx)
	if err := c.ask(ctx); err != nil && ctx.Err() == nil {
		c.log().Error("a target could not be asked", "error", err.Error())
	}
}

// store writes into the files what only the Ledger knows, and lets the Ledger forget it when the
// accounts were read again.
func (c *Confirmer) store(ctx context.Context) {
	c.mu.Lock()
	early := c.now().Before(c.wait)
	c.mu.Unlock()
	todo := c.Ledger.confirmed()
	if c.Store == nil || len(todo) == 0 || early {
		return
	}
	for _, p := range todo {
		err := c.Store(ctx, p.user, p.target)
		if err == nil {
			err = c.Accounts.Refresh(ctx)
		}
		if err == nil {
			err = c.Ledger.forget(p)
		}
		if err != nil {
			c.log().Warn("that a target was confirmed is not in the users repository yet; it counts all the same",
				"user", p.user.String(), "error", err.Error())
			c.mu.Lock()
			c.wait = c.now().Add(maxWait)
			c.mu.Unlock()
			return
		}
	}
}

func (c *Confirmer) ask(ctx context.Context) error {
	now, n := c.now(), 0
	for u := range c.Accounts.Book().Users() {
		if u.Disabled {
			continue
		}
		for _, t := range u.Pending {
			p := pair{u.Address(), t}
			if !c.Ledger.due(p, now) {
				continue
			}
			if n++; n > maxRound {
				return nil
			}
			if err := c.askOne(ctx, p, now); err != nil {
				return err
			}
		}
	}
	return nil
}

// askOne counts before it sends: a crash between the two costs a day, never a mail too many.
func (c *Confirmer) askOne(ctx context.Context, p pair, now time.Time) error {
	times, err := c.Ledger.ask(p, now)
	if err != nil {
		return err
	}
	m, err := c.question(p, now)
	if err == nil {
		err = c.Send.Handle(ctx, m)
	}
	if err != nil {
		if undo := c.Ledger.unask(p); undo != nil {
			return fmt.Errorf("%w, and %w", err, undo)
		}
		return err
	}
	c.log().Info("target asked to confirm", "user", p.user.String(), "target", p.target.String(), "times", times, "of", MaxAsked)
	return nil
}

// question returns the mail to a target.
func (c *Confirmer) question(p pair, now time.Time) (*mail.Mail, error) {
	token := Token(c.Key, p.user, p.target)
	from, err := mail.NewAddress("postmaster", p.user.Domain())
	if err != nil {
		return nil, err
	}
	to, err := mail.NewAddress(prefix+token, p.user.Domain())
	if err != nil {
		return nil, err
	}
	fill := strings.NewReplacer("{domain}", from.Domain(), "{user}", p.user.String(), "{target}", p.target.String(),
		"{answer}", to.String(), "{times}", fmt.Sprint(MaxAsked), "{date}", now.Format(time.RFC1123Z),
		"{id}", fmt.Sprintf("%s.%d@%s", Token(c.Key, from, p.target)[:12], now.UnixNano(), from.Domain()), "\n", "\r\n")
	ascii := p.user.IsASCII() && p.target.IsASCII()
	text, encoding := question, "7bit"
	m := &mail.Mail{Envelope: mail.Envelope{From: from, To: []mail.Recipient{{Address: p.target}}, Submitter: from.String()}}
	if !ascii {
		m.Envelope.UTF8, m.Envelope.Body, encoding = true, mail.Body8BitMIME, "8bit"
	}
	text = strings.Replace(text, "{encoding}", encoding, 1)
	m.Message = mail.NewMessage([]byte(fill.Replace(text)))
	return m, nil
}

// question says what will happen and that nothing need be done; a text that urges to click is
// what forgers write. Auto-Submitted keeps vacation programs from answering (RFC 3834 section 2).
const question = `From: "Mail service of {domain}" <postmaster@{domain}>
To: {target}
Reply-To: {answer}
Subject: Do you want the mail to {user}?
Date: {date}
Message-ID: <{id}>
Auto-Submitted: auto-generated
X-Auto-Response-Suppress: All
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: {encoding}

Hello,

the mail service of {domain} is set up to forward what is written to

    {user}

to you, at {target}.

If you want that, answer this mail. The text does not matter: that the
answer goes to the following address is enough.

    {answer}

If you do not want it, or do not know what this is about, do nothing.
Nothing is forwarded to you before you agree, and you are asked {times} times
at the most. Questions reach a person at postmaster@{domain}.
`
