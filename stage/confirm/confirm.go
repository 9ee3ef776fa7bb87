// Package confirm asks the people behind a new target whether they want the mail that is to be
// forwarded to them, and takes their answers.
//
// A target that the files of accounts have as unconfirmed gets a mail with an address to answer
// to, confirm+TOKEN@ our domain. The token is secret, so that no other proof is needed: who has
// it reads the mail of the target. Until then nothing is forwarded there.
package confirm

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"stagecoach/account"
	"stagecoach/mail"
)

// A Confirmer stands before forwarding. It takes what is for the addresses that it gave out, and
// hands the rest on. Its fields are set before use and not changed after. It is safe for
// concurrent use.
type Confirmer struct {
	Accounts *account.Directory
	Ledger   *Ledger
	Key      []byte       // of the tokens, at least 16 octets
	Next     mail.Handler // forwards
	Send     mail.Handler // takes our mails: it signs and queues them

	// Store writes into the files of accounts that a target is confirmed. Until it succeeds the
	// Ledger knows. nil: the files cannot be changed.
	Store func(ctx context.Context, user, target mail.Address) error

	Poll time.Duration // between looks at the accounts; default one minute
	Log  *slog.Logger  // nil is silent
	Now  func() time.Time

	once sync.Once
	wake chan struct{}

	mu     sync.Mutex
	book   *account.Book // of tokens
	tokens map[string]pair
	wait   time.Time // no Store before
}

var _ mail.Handler = (*Confirmer)(nil)

// A pair is a user and one of his targets.
type pair struct{ user, target mail.Address }

// Believe has the accounts take for confirmed what the Ledger says. It is called once, before
// use.
func (c *Confirmer) Believe() error { return c.Accounts.Believe(c.Ledger.Confirmed) }

// Takes reports whether an address confirms a target. It is for the gates at the edges, since
// nobody lives there.
func (c *Confirmer) Takes(a mail.Address) bool {
	_, ok := c.find(a)
	return ok
}

// find returns the pair that an address confirms, be it confirmed already or not.
func (c *Confirmer) find(a mail.Address) (pair, bool) {
	token, ok := tokenOf(a)
	if !ok {
		return pair{}, false
	}
	book := c.Accounts.Book()
	if !book.Hosts(a.Domain()) {
		return pair{}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.book != book {
		c.book, c.tokens = book, map[string]pair{}
		for u := range book.Users() {
			for _, list := range [][]mail.Address{u.Targets, u.Pending} {
				for _, t := range list {
					c.tokens[Token(c.Key, u.Address(), t)] = pair{u.Address(), t}
				}
			}
		}
	}
	p, ok := c.tokens[token]
	return p, ok && p.user.Domain() == a.Domain()
}

// Handle confirms what the recipients confirm, and passes the mail on to the others. When it
// returns without an error the confirmations are on disk. An answer that a program wrote
// confirms nothing, since a vacation notice is no consent; it is taken in silence.
func (c *Confirmer) Handle(ctx context.Context, m *mail.Mail) error {
	var rest []mail.Recipient
	var confirmed []pair
	for _, to := range m.Envelope.To {
		if p, ok := c.find(to.Address); ok {
			confirmed = append(confirmed, p)
		} else {
			rest = append(rest, to)
		}
	}
	if len(confirmed) == 0 {
		return c.Next.Handle(ctx, m)
	}
	if automatic(m) {
		c.log().Info("an automatic answer confirms nothing", "user", confirmed[0].user.String())
	} else if err := c.confirm(confirmed); err != nil {
		return err
	}
	if len(rest) == 0 {
		return nil
	}
	m.Envelope.To = rest
	return c.Next.Handle(ctx, m)
}

func (c *Confirmer) confirm(pairs []pair) error {
	for _, p := range pairs {
		u, ok := c.Accounts.Book().Holder(p.user)
		if !ok || !account.HasTarget(u.Pending, p.target) {
			continue // it is confirmed already
		}
		if err := c.Ledger.confirm(p, c.now()); err != nil {
			return err
		}
		c.log().Info("target confirmed", "user", p.user.String(), "target", p.target.String())
	}
	if err := c.Accounts.Reread(); err != nil {
		return err
	}
	c.Wake()
	return nil
}

// Wake has Run look at the accounts now.
func (c *Confirmer) Wake() {
	select {
	case c.waking() <- struct{}{}:
	default:
	}
}

func (c *Confirmer) waking() chan struct{} {
	c.once.Do(func() { c.wake = make(chan struct{}, 1) })
	return c.wake
}

func (c *Confirmer) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}

func (c *Confirmer) log() *slog.Logger {
	if c.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Log
}
