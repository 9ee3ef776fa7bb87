package smtp

import "time"

// past is a deadline that is over.
var past = time.Unix(1, 0)

// beforeRead runs before each read: it sends what waits to be sent and sets the deadline.
func (s *session) beforeRead() error {
	if err := s.flush(); err != nil {
		return err
	}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn.SetReadDeadline(s.deadline(now))
}

// deadline returns until when to wait for the client. A command has its time as a whole,
// not each of its octets.
func (s *session) deadline(now time.Time) time.Time {
	if s.expired || s.draining && !s.busy {
		return past
	}
	if s.now.receiving {
		return s.dataDeadline(now)
	}
	if s.lastTalk.IsZero() {
		s.lastTalk = now
		s.waiting = now
	}
	patience := s.limits.Command
	if s.state.gauge.pressed() {
		patience = min(patience, pressedCommand)
	}
	if s.in.hoards() {
		patience = min(patience, hoardTime)
	}
	return s.now.bound(s.lastTalk.Add(patience))
}

// hoardTime is how long a session waits for a command with a large buffer, before it goes
// on waiting with a small one.
const hoardTime = time.Second

// dataDeadline returns until when the next octets of a message must be there: so that its
// rate does not fall below the least, and within the time for a block and for all of it.
func (s *session) dataDeadline(now time.Time) time.Time {
	d := now.Add(s.limits.Data)
	if s.limits.MinRate > 0 {
		slack := minRateSlack
		if s.state.gauge.pressed() {
			slack = pressedCommand
		}
		due := slack + time.Duration(s.now.received)*time.Second/time.Duration(s.limits.MinRate)
		if rate := s.now.began.Add(due); rate.Before(d) {
			d = rate
		}
	}
	return s.now.bound(d)
}

// minRateSlack is how long a message may be slower than Limits.MinRate.
const minRateSlack = time.Minute

// hurry shortens the wait for a command to d.
func (s *session) hurry(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.waiting.IsZero() && !s.draining {
		s.conn.SetReadDeadline(s.waiting.Add(d)) //nolint:errcheck // the reader sees it
	}
}

// drain asks the session to end: at the next command, or at once when the grace is over.
func (s *session) drain(now bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	s.expired = s.expired || now
	if !s.busy || now {
		s.conn.SetReadDeadline(past) //nolint:errcheck // the reader sees it
	}
}

// setBusy says whether a message is on its way, so that the end of the server waits for it.
func (s *session) setBusy(busy bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy = busy
}
