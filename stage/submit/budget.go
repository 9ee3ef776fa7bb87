package submit

import (
	"sync"
	"time"

	"stagecoach/mail"
)

// A budget counts what each user sends. The zero value is ready for use.
type budget struct {
	mu    sync.Mutex
	spent map[mail.Address]*spending
	swept time.Time
}

type spending struct {
	minute, day          time.Time
	messages, recipients int
}

var (
	errPerMinute = mail.Defer(450, "4.7.1", "you have sent too many messages in a minute, please go on later")
	errPerDay    = mail.Defer(450, "4.7.1", "you have sent to too many recipients in a day, please go on later")
	errPerMail   = mail.Reject(550, "5.7.1", "one message has more recipients than you may send to in a day")
)

// look returns whether a message for n recipients may be sent, and spends it when take is set.
func (b *budget) look(now time.Time, who mail.Address, r Rates, n int, take bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.of(now, who)
	switch {
	case n > r.RecipientsPerDay:
		return errPerMail
	case s.messages >= r.MessagesPerMinute:
		return errPerMinute
	case s.recipients+n > r.RecipientsPerDay:
		return errPerDay
	}
	if take {
		s.messages++
		s.recipients += n
	}
	return nil
}

// giveBack takes back a message that was not sent after all.
func (b *budget) giveBack(who mail.Address, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.spent[who]; s != nil {
		s.messages = max(0, s.messages-1)
		s.recipients = max(0, s.recipients-n)
	}
}

func (b *budget) of(now time.Time, who mail.Address) *spending {
	if b.spent == nil {
		b.spent = map[mail.Address]*spending{}
	}
	if now.Sub(b.swept) > time.Hour {
		for a, s := range b.spent {
			if now.Sub(s.day) >= 24*time.Hour && now.Sub(s.minute) >= time.Minute {
				delete(b.spent, a)
			}
		}
		b.swept = now
	}
	s := b.spent[who]
	if s == nil {
		s = &spending{}
		b.spent[who] = s
	}
	if d := now.Sub(s.minute); d >= time.Minute || d < 0 {
		s.minute, s.messages = now, 0
	}
	if d := now.Sub(s.day); d >= 24*time.Hour || d < 0 {
		s.day, s.recipients = now, 0
	}
	return s
}
