package verify

import (
	"context"
	"errors"
	"sync"

	"stagecoach/rfc/dns"
)

var errBudget = errors.New("too many queries for one mail")

// limited is an Exchanger that fails after so many queries.
type limited struct {
	x    dns.Exchanger
	mu   sync.Mutex
	left int
}

func limit(x dns.Exchanger, n int) dns.Exchanger { return &limited{x: x, left: n} }

func (l *limited) Exchange(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
	l.mu.Lock()
	l.left--
	over := l.left < 0
	l.mu.Unlock()
	if over {
		return nil, errBudget
	}
	return l.x.Exchange(ctx, q)
}

// memory is an Exchanger that asks each question once, for the time of one mail. A failure is
// remembered too: all of the verdict on a mail rests on the same answers.
type memory struct {
	x     dns.Exchanger
	mu    sync.Mutex
	calls map[dns.Question]*call
}

type call struct {
	done chan struct{}
	r    *dns.Msg
	err  error
}

func newMemory(x dns.Exchanger) *memory {
	return &memory{x: x, calls: map[dns.Question]*call{}}
}

func (y *memory) Exchange(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
	if len(q.Question) != 1 {
		return y.x.Exchange(ctx, q)
	}
	key := q.Question[0]
	key.Name = dns.Canonical(key.Name)
	y.mu.Lock()
	c := y.calls[key]
	first := c == nil
	if first {
		c = &call{done: make(chan struct{})}
		y.calls[key] = c
	}
	y.mu.Unlock()
	if first {
		y.ask(ctx, q, c)
	}
	<-c.done // ends with the context of the first, which is that of the same mail
	if c.err != nil || c.r == nil {
		return nil, c.err
	}
	r := c.r.Copy()
	r.Id = q.Id
	if len(r.Question) == 1 && dns.Canonical(r.Question[0].Name) == key.Name {
		r.Question[0] = q.Question[0]
	}
	return r, nil
}

func (y *memory) ask(ctx context.Context, q *dns.Msg, c *call) {
	defer close(c.done)
	c.r, c.err = y.x.Exchange(ctx, q)
}
