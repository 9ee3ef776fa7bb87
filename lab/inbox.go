package lab

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"stagecoach/mail"
	"stagecoach/rfc/authres"
)

// Received is one mail in an inbox.
type Received struct {
	At       time.Time
	Peer     mail.Peer       // who brought it
	Envelope mail.Envelope   // as it came, with all recipients of the transaction
	Raw      []byte          // with the receiver's own Authentication-Results and Received on top
	Results  authres.Results // that field
	Spam     bool            // it went to the folder for spam
}

// Message parses Raw anew.
func (r *Received) Message() *mail.Message { return mail.NewMessage(slices.Clone(r.Raw)) }

// MessageID returns the value of the Message-ID field, "" when there is none.
func (r *Received) MessageID() string { return r.Message().Header.Value("Message-ID") }

// Result returns what the receiver found by a method ("spf", "dkim", "dmarc", "iprev"), the
// best if there is more than one result; "" when there is none.
func (r *Received) Result(method string) string {
	value := ""
	for _, res := range r.Results.Results {
		if res.Method == method && (value == "" || res.Value == "pass") {
			value = res.Value
		}
	}
	return value
}

// maxInbox bounds an inbox; after that it is full.
const maxInbox = 20_000

// An Inbox is what a user of a Provider, or a sink, has received. Nothing is ever removed.
type Inbox struct {
	mu      sync.Mutex
	mails   []*Received
	changed chan struct{} // closed, and replaced, when a mail arrives
}

func newInbox() *Inbox { return &Inbox{changed: make(chan struct{})} }

func (i *Inbox) put(r *Received) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.mails) >= maxInbox {
		return mail.Defer(452, "4.2.2", "the mailbox is full")
	}
	i.mails = append(i.mails, r)
	close(i.changed)
	i.changed = make(chan struct{})
	return nil
}

// Mails returns what has arrived so far, the oldest first.
func (i *Inbox) Mails() []*Received {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.mails)
}

// Wait returns all mails once there are n, or an error when ctx ends before.
func (i *Inbox) Wait(ctx context.Context, n int) ([]*Received, error) {
	for {
		i.mu.Lock()
		mails, changed := slices.Clone(i.mails), i.changed
		i.mu.Unlock()
		if len(mails) >= n {
			return mails, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return mails, fmt.Errorf("%d of %d mails have arrived: %w", len(mails), n, ctx.Err())
		}
	}
}

// Find returns the first mail of which want is true, waiting for it until ctx ends.
func (i *Inbox) Find(ctx context.Context, want func(*Received) bool) (*Received, error) {
	for seen := 0; ; {
		i.mu.Lock()
		mails, changed := i.mails[seen:], i.changed
		i.mu.Unlock()
		for _, r := range mails {
			if want(r) {
				return r, nil
			}
		}
		seen += len(mails)
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("none of %d mails is the one: %w", seen, ctx.Err())
		}
	}
}
