package queue

import (
	"sync"
	"time"
)

// A ClockState is what a restart needs of the queue's clock.
type ClockState struct {
	Wall time.Time     // when it was saved
	Ran  time.Duration // for how long the queue has run, all processes together
	Off  time.Duration // how much of the time when it did not run counts for the schedule
}

// A clock tells the two times of a queue. Neither goes back or leaps when somebody sets the
// machine's clock, because while the process runs both follow the monotonic one.
//
// The age of a mail counts only time in which the queue has run. So it is never more than
// its true age, and no mail is given up early, whatever the wall clock does or however long
// the machine was off.
//
// The schedule counts the time between two runs as well, by the wall clock, but at most as
// much as the longest wait between attempts: more would change nothing.
type clock struct {
	now   func() time.Time
	start time.Time
	saved ClockState
}

func newClock(now func() time.Time, saved ClockState, maxOff time.Duration) *clock {
	t := now()
	if !saved.Wall.IsZero() {
		// The saved time has no monotonic part, so this compares wall clocks.
		saved.Off += min(max(t.Sub(saved.Wall), 0), maxOff+maxOff/4)
	}
	return &clock{now: now, start: t, saved: saved}
}

// age is the time by which lives are measured.
func (c *clock) age() time.Duration { return c.saved.Ran + c.now().Sub(c.start) }

// tick is the time of the schedule.
func (c *clock) tick() time.Duration { return c.age() + c.saved.Off }

// wall returns when the schedule will reach a tick.
func (c *clock) wall(tick time.Duration) time.Time {
	t := c.now()
	return t.Add(tick - c.tick()).Round(0)
}

func (c *clock) state() ClockState {
	return ClockState{Wall: c.now().Round(0), Ran: c.age(), Off: c.saved.Off}
}

// An alarm is a time at which to wake up; the earliest wins.
type alarm struct {
	mu sync.Mutex
	at time.Duration
}

// before lowers the alarm to t.
func (a *alarm) before(t time.Duration) {
	a.mu.Lock()
	a.at = min(a.at, t)
	a.mu.Unlock()
}

// take returns the alarm and clears it.
func (a *alarm) take() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.at
	a.at = Never
	return t
}

func (a *alarm) time() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.at
}
