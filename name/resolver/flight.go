package resolver

import (
	"context"
	"fmt"
	"sync"
)

// flights merges what is asked more than once at a time.
type flights[K comparable, V any] struct {
	mu sync.Mutex
	m  map[K]*flight[V]
}

type flight[V any] struct {
	done  chan struct{}
	value V
	err   error
}

// join returns the flight for k. Where there is none, it begins one in a goroutine of its own,
// so that nobody who waits for it can end it for the others.
func (f *flights[K, V]) join(k K, work func() (V, error)) (fl *flight[V], first bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl := f.m[k]; fl != nil {
		return fl, false
	}
	if f.m == nil {
		f.m = map[K]*flight[V]{}
	}
	fl = &flight[V]{done: make(chan struct{})}
	f.m[k] = fl
	go func() {
		defer func() {
			if p := recover(); p != nil { // what strangers send must not end the process
				fl.err = fmt.Errorf("panic: %v", p)
			}
			f.mu.Lock()
			delete(f.m, k)
			f.mu.Unlock()
			close(fl.done)
		}()
		fl.value, fl.err = work()
	}()
	return fl, true
}

// wait returns what came of a flight, or the end of ctx.
func (fl *flight[V]) wait(ctx context.Context) (v V, err error) {
	select {
	case <-fl.done:
		return fl.value, fl.err
	case <-ctx.Done():
		return v, context.Cause(ctx)
	}
}
