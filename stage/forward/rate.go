package forward

import (
	"sync"
	"time"

	"stagecoach/mail"
)

// maxReturns is how many senders the rate remembers. When there are more within an hour it
// begins anew, which lets a few more through.
const maxReturns = 65536

// A rate counts mails to an address by the hour. The zero value is ready for use.
type rate struct {
	mu    sync.Mutex
	since time.Time
	count map[mail.Address]int
}

// spend counts the mails that go back through SRS addresses, for all or for none.
func (f *Forwarder) spend(to []mail.Address) error {
	if len(to) == 0 {
		return nil
	}
	limit := f.ReturnsPerHour
	if limit == 0 {
		limit = 60
	}
	return f.returns.spend(f.now(), to, limit)
}

func (r *rate) spend(now time.Time, to []mail.Address, limit int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if d := now.Sub(r.since); d >= time.Hour || d < 0 || len(r.count) > maxReturns || r.count == nil {
		r.since, r.count = now, map[mail.Address]int{}
	}
	for i, a := range to {
		if r.count[a] >= limit {
			for _, before := range to[:i] {
				r.count[before]--
			}
			return errSRSRate
		}
		r.count[a]++
	}
	return nil
}
