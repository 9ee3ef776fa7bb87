package traffic

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A Sink is an SMTP server that accepts everything with as little work as it can, and
// counts. It offers PIPELINING, CHUNKING, 8BITMIME, SMTPUTF8, SIZE and DSN, and keeps no message.
type Sink struct {
	Record  bool          // remember each Delivery: it costs memory, about 100 octets each
	Latency time.Duration // wait up to this long, at random, before the last 250

	messages   atomic.Int64
	deliveries atomic.Int64
	octets     atomic.Int64
	active     atomic.Int64
	lastNano   atomic.Int64

	mu    sync.Mutex
	names map[string]string // one copy of each recipient's text
	times map[Delivery]int
}

// Serve accepts connections until ctx ends, closes them all, and returns.
func (s *Sink) Serve(ctx context.Context, l net.Listener) error {
	var all sync.WaitGroup
	defer all.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		all.Go(func() {
			end := context.AfterFunc(ctx, func() { c.Close() })
			defer end()
			s.talk(ctx, c)
		})
	}
}

// Messages returns how many messages were accepted.
func (s *Sink) Messages() int { return int(s.messages.Load()) }

// Deliveries returns how many recipients they had together.
func (s *Sink) Deliveries() int { return int(s.deliveries.Load()) }

// Octets returns their size together.
func (s *Sink) Octets() int64 { return s.octets.Load() }

// InFlight returns how many messages are between their first octet and the answer.
func (s *Sink) InFlight() int { return int(s.active.Load()) }

// Last returns when the last message was accepted; zero when none was.
func (s *Sink) Last() time.Time {
	n := s.lastNano.Load()
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n)
}

// Times returns how often each message was accepted for each recipient, when Record is set.
func (s *Sink) Times() map[Delivery]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := make(map[Delivery]int, len(s.times))
	for d, n := range s.times {
		c[d] = n
	}
	return c
}

// accept counts one message. It is called before the 250 is written: what the client may
// have seen acknowledged is always counted.
func (s *Sink) accept(ctx context.Context, head []byte, to []string, size int64) bool {
	if s.Latency > 0 && !pause(ctx, rand.N(s.Latency)) {
		return false
	}
	if s.Record {
		if id, ok := FindID(head); ok {
			s.record(id, to)
		}
	}
	s.messages.Add(1)
	s.deliveries.Add(int64(len(to)))
	s.octets.Add(size)
	s.lastNano.Store(time.Now().UnixNano())
	return true
}

func (s *Sink) record(id ID, to []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.times == nil {
		s.times, s.names = make(map[Delivery]int), make(map[string]string)
	}
	for _, a := range to {
		name, ok := s.names[a]
		if !ok {
			name = a
			s.names[a] = a
		}
		s.times[Delivery{id, name}]++
	}
}
