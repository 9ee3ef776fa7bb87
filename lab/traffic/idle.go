package traffic

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// perSource is how many idle connections come from one address: few enough for the limits
// that servers put on an address.
const perSource = 20

// An Idle holds connections open that say EHLO and nothing more.
type Idle struct {
	Dialer Dialer // its Source is not used: each perSource connections have an address in 127.64.0.0/10
	Count  int

	conns []*Conn
	first error
}

// Open opens the connections, 64 at a time, and returns how many stand. The error is the
// first trouble; connections that were had nevertheless are kept until Close.
func (i *Idle) Open(ctx context.Context) (int, error) {
	var mu sync.Mutex
	var all sync.WaitGroup
	next := make(chan int)
	for range min(64, i.Count) {
		all.Go(func() {
			for n := range next {
				d := i.Dialer
				d.Source = sourceOf(n / perSource)
				c, err := d.Dial(ctx)
				mu.Lock()
				if err == nil {
					i.conns = append(i.conns, c)
				} else if i.first == nil {
					i.first = fmt.Errorf("idle connection %d from %s: %w", n, d.Source, err)
				}
				mu.Unlock()
			}
		})
	}
	for n := range i.Count {
		if ctx.Err() != nil {
			break
		}
		next <- n
	}
	close(next)
	all.Wait()
	return len(i.conns), i.first
}

// Standing counts the connections that the server has not closed.
func (i *Idle) Standing() int {
	n := 0
	for _, c := range i.conns {
		c.c.SetReadDeadline(time.Now().Add(100 * time.Microsecond)) //nolint:errcheck // the read tells
		if _, err := c.r.Peek(1); err == nil || isTimeout(err) {
			n++
		}
	}
	return n
}

func isTimeout(err error) bool {
	t, ok := err.(interface{ Timeout() bool })
	return ok && t.Timeout()
}

// Close closes them all, without QUIT.
func (i *Idle) Close() {
	for _, c := range i.conns {
		c.Abort()
	}
	i.conns = nil
}

// sourceOf returns the n-th address to connect from, spread over networks of 24 bits.
func sourceOf(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, byte(64 + n>>14&63), byte(n >> 6), byte(1 + n&63)})
}
