package smtp

import (
	"context"
	"sync"
	"time"
)

// A pool holds the connections of a NextHop that wait for the next mail, and counts those
// in use.
type pool struct {
	once   sync.Once
	places chan struct{} // one token a connection in use

	mu     sync.Mutex
	idle   []*link // the last used one last
	closed bool
}

// enter waits for one of max places.
func (p *pool) enter(ctx context.Context, max int) error {
	p.once.Do(func() { p.places = make(chan struct{}, max) })
	select {
	case p.places <- struct{}{}:
		return nil
	default:
	}
	select {
	case p.places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p *pool) leave() { <-p.places }

// pop returns an idle connection that still lives, or nil.
func (p *pool) pop() *link {
	for {
		l := p.popAny()
		if l == nil || l.alive() {
			return l
		}
		l.close()
	}
}

func (p *pool) popAny() *link {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle)
	if n == 0 {
		return nil
	}
	l := p.idle[n-1]
	p.idle[n-1] = nil
	p.idle = p.idle[:n-1]
	l.expiry.Stop()
	return l
}

// push keeps a connection for at most keep, or reports false when there is no room.
func (p *pool) push(l *link, max int, keep time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.idle) >= max {
		return false
	}
	p.idle = append(p.idle, l)
	l.expiry = time.AfterFunc(keep, func() {
		if p.remove(l) {
			l.quit()
		}
	})
	return true
}

// remove takes l out of the idle ones; false: somebody else took it.
func (p *pool) remove(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, other := range p.idle {
		if other == l {
			p.idle = append(p.idle[:i], p.idle[i+1:]...)
			return true
		}
	}
	return false
}

// drop ends all idle connections.
func (p *pool) drop() {
	for l := p.popAny(); l != nil; l = p.popAny() {
		l.quit()
	}
}

// close is drop, and keeps none from now on.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.drop()
}
