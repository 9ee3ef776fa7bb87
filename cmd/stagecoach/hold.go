package main

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"stagecoach/mail"
	"stagecoach/spam/teach"
	"stagecoach/stage/filter"
	"stagecoach/stage/hold"
)

// In the state folder: held mail, and in its folder the key of release addresses.
const (
	heldFolder = "held"
	heldKey    = "key"
)

// holdFrom is the probability from which on spam is held unless the options say otherwise: of 7,370
// good mails that the model had not seen one was above, and seven in ten spams (docs/filter.md).
const holdFrom = "0.999"

// holder makes the stage between filter and forwarding that holds spam back, and runs what belongs
// to it. reader names who gets the mail to an address.
func (p *process) holder(o spamOptions, folder string, reader func(mail.Address) (string, bool), judge *filter.Spam, next mail.Handler) (*hold.Holder, error) {
	h, err := p.released(o, folder, reader, judge)
	if err != nil {
		return nil, err
	}
	rules := o.Hold
	if len(rules) == 0 {
		rules = []string{holdFrom}
	}
	if h.Limit, err = probabilities("hold", rules); err != nil {
		return nil, err
	}
	h.Next, h.Spares = next, judge.Spares
	if !p.idle {
		p.behind("hold", h.Run)
	}
	return h, nil
}

// released makes a holder that holds nothing: it marks what is to be released, and another one, on
// the same folder, does it.
func (p *process) released(o spamOptions, folder string, reader func(mail.Address) (string, bool), judge *filter.Spam) (*hold.Holder, error) {
	at, err := timeOfDay(o.Digest)
	if err != nil {
		return nil, fmt.Errorf("filter digest: %w", err)
	}
	folder = cmp.Or(o.Held, folder)
	store, err := hold.Open(folder, hold.Limits{Mails: o.HeldMails, Size: int64(o.HeldSize), Age: time.Duration(o.HeldFor)})
	if err != nil {
		return nil, err
	}
	key, err := ensureSecret(filepath.Join(folder, heldKey))
	if err != nil {
		return nil, err
	}
	return &hold.Holder{
		Store: store, Key: key, User: reader, DigestAt: at, Log: p.log,
		Teach: func(user string, m *mail.Message) error { return learnGood(judge, user, m) },
	}, nil
}

// learnGood teaches that a mail is good. To say so again is no error.
func learnGood(judge *filter.Spam, user string, m *mail.Message) error {
	j := judge.Judge()
	if judge.Lessons == nil || j == nil {
		return nil
	}
	if err := judge.Lessons.Teach(user, j, m, false); !errors.Is(err, teach.ErrTaught) {
		return err
	}
	return nil
}

// timeOfDay reads "07:00" as the time since midnight, and "never".
func timeOfDay(s string) (time.Duration, error) {
	if s == "never" {
		return hold.NoDigest, nil
	}
	t, err := time.Parse("15:04", s)
	if err != nil {
		return 0, fmt.Errorf("%q is no time of day: write it as 07:00, or never", s)
	}
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute, nil
}
