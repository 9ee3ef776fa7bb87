package resolver

import "sync"

// An lru is a map that keeps what was used last, up to a total cost: what is used is marked, and
// gets another round instead of its end (the clock algorithm), so that a look moves nothing.
type lru[K comparable, V any] struct {
	mu    sync.Mutex
	limit int
	used  int
	nodes map[K]*node[K, V]
	ends  node[K, V] // next is what came last, prev what is looked at first to make room
	lost  uint64     // how many made room
}

type node[K comparable, V any] struct {
	prev, next *node[K, V]
	key        K
	value      V
	cost       int32
	used       bool // since it was last at the front
}

func newLRU[K comparable, V any](limit int) *lru[K, V] {
	l := &lru[K, V]{limit: limit, nodes: map[K]*node[K, V]{}}
	l.ends.prev, l.ends.next = &l.ends, &l.ends
	return l
}

func (n *node[K, V]) unlink() { n.prev.next, n.next.prev = n.next, n.prev }

func (l *lru[K, V]) front(n *node[K, V]) {
	n.prev, n.next = &l.ends, l.ends.next
	n.prev.next, n.next.prev = n, n
}

func (l *lru[K, V]) get(k K) (v V, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.nodes[k]
	if n == nil {
		return v, false
	}
	n.used = true
	return n.value, true
}

// put keeps v, unless it is an eighth of all that may be kept or more.
func (l *lru[K, V]) put(k K, v V, cost int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := l.nodes[k]; n != nil {
		l.drop(n)
	}
	l.keep(k, v, cost)
}

func (l *lru[K, V]) keep(k K, v V, cost int) {
	if cost > l.limit/8 {
		return
	}
	n := &node[K, V]{key: k, value: v, cost: int32(cost)}
	l.nodes[k] = n
	l.front(n)
	l.used += cost
	for l.used > l.limit {
		last := l.ends.prev
		if last.used && last != n {
			last.used = false
			last.unlink()
			l.front(last)
			continue
		}
		l.drop(last)
		l.lost++
	}
}

func (l *lru[K, V]) drop(n *node[K, V]) {
	n.unlink()
	delete(l.nodes, n.key)
	l.used -= int(n.cost)
}

func (l *lru[K, V]) remove(k K) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := l.nodes[k]; n != nil {
		l.drop(n)
	}
}

// getOrPut returns what is kept for k, or keeps and returns what make makes.
func (l *lru[K, V]) getOrPut(k K, cost int, make func() V) V {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := l.nodes[k]; n != nil {
		n.used = true
		return n.value
	}
	v := make()
	l.keep(k, v, cost)
	return v
}

// removeIf removes what f says, and returns how much it was.
func (l *lru[K, V]) removeIf(f func(K, V) bool) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	count := 0
	for _, n := range l.nodes {
		if f(n.key, n.value) {
			l.drop(n)
			count++
		}
	}
	return count
}

// each calls f for all that is kept, in no order, until it returns false.
func (l *lru[K, V]) each(f func(K, V) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range l.nodes {
		if !f(n.key, n.value) {
			return
		}
	}
}

// size returns how many are kept, at what cost, and how many had to go.
func (l *lru[K, V]) size() (n, used int, lost uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.nodes), l.used, l.lost
}
