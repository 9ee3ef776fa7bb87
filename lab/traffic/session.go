package traffic

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// A run is one Load under way.
type run struct {
	Load
	id   uint32
	left atomic.Int64 // messages to go, when Count is set
	late *atomic.Int64
	due  <-chan time.Time // when the next message is due, for an open loop
}

// A session is one connection after the other, with its own counts.
type session struct {
	*run
	worker    uint32
	seq       uint32
	conn      *Conn
	onConn    int
	letter    *letter
	latencies []time.Duration
	refused   int
	broken    int
	err       error
}

func (s *session) work(ctx context.Context) {
	defer func() {
		if s.conn != nil {
			s.conn.Close()
		}
	}()
	for {
		began, ok := s.next(ctx)
		if !ok {
			return
		}
		if err := s.connected(ctx); err != nil {
			s.note(err)
			if !s.Persist || !pause(ctx, 20*time.Millisecond) {
				return
			}
			continue
		}
		if s.due == nil {
			began = time.Now()
		}
		if !s.one(began) && !s.Persist {
			return
		}
	}
}

// next waits until a message is to be sent, and returns when it was due.
func (s *session) next(ctx context.Context) (time.Time, bool) {
	if ctx.Err() != nil || s.Count > 0 && s.left.Add(-1) < 0 {
		return time.Time{}, false
	}
	if s.due == nil {
		return time.Now(), true
	}
	t, ok := <-s.due
	return t, ok
}

func (s *session) connected(ctx context.Context) error {
	if s.conn != nil && s.PerConnection > 0 && s.onConn >= s.PerConnection {
		s.conn.Close()
		s.conn = nil
	}
	if s.conn != nil {
		return nil
	}
	c, err := s.Dialer.Dial(ctx)
	if err != nil {
		return err
	}
	chunking := s.Chunking == BDAT || s.Chunking == Auto && c.Chunking
	if s.letter == nil || s.letter.chunking != chunking {
		if s.letter, err = newLetter(s.From, s.To, s.Size, chunking); err != nil {
			c.Abort()
			return err
		}
	}
	s.conn, s.onConn = c, 0
	return nil
}

// one sends one message, and reports whether the session may go on.
func (s *session) one(began time.Time) bool {
	id := ID{s.id, s.worker, s.seq}
	s.seq++
	s.onConn++
	s.letter.stamp(id)
	s.Ledger.note(id, sent)
	err := s.letter.deliver(s.conn, s.conn.Pipeline && !s.NoPipelining)
	if err == nil {
		s.latencies = append(s.latencies, time.Since(began))
		s.Ledger.note(id, acked)
		return true
	}
	s.note(err)
	s.conn.Abort() // after a refusal too: what state the server is in is not worth a guess
	s.conn = nil
	var no *ReplyError
	if !errors.As(err, &no) {
		s.broken++
		return false
	}
	s.refused++
	s.Ledger.note(id, refused)
	return true
}

// note keeps the first trouble that is not the end of the run itself.
func (s *session) note(err error) {
	if s.err == nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
		s.err = err
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// schedule sends the moments at which messages of an open loop are due. It is nil for a
// closed loop. A moment for which no session is free waits in the channel, and the wait
// counts as latency; when the channel is full the message is late, and counted as such.
func (l Load) schedule(ctx context.Context) (<-chan time.Time, *atomic.Int64) {
	late := new(atomic.Int64)
	if l.Rate <= 0 {
		return nil, late
	}
	due := make(chan time.Time, max(1024, int(l.Rate)))
	go func() {
		defer close(due)
		began, step := time.Now(), time.Duration(float64(time.Second)/l.Rate)
		for n := 1; ; n++ {
			at := began.Add(time.Duration(n) * step)
			if wait := time.Until(at); wait > 0 && !pause(ctx, wait) || ctx.Err() != nil {
				return
			}
			select {
			case due <- at:
			default:
				late.Add(1)
			}
		}
	}()
	return due, late
}
