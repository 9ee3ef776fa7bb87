package resolver

import "sync"

// An lru is a map that keeps what was used last, up to a total cost.
type lru[K comparable, V any] struct {
	mu    sync.Mutex
	limit int
	used  int
	nodes map[K]*node[K, V]
	ends  node[K, V] // next is what was used last, prev what was used first
	lost  uint64     // how many made room
}

type node[K comparable, V any] struct {
	prev, next *node[K, V]
	key        K
	value      V
	cost       int
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
	if l.ends.next != n {
		n.unlink()
		l.front(n)
	}
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
	n := &node[K, V]{key: k, value: v, cost: cost}
	l.nodes[k] = n
	l.front(n)
	l.used += cost
	for l.used > l.limit {
		l.drop(l.ends.prev)
		l.lost++
	}
}

func (l *lru[K, V]) drop(n *node[K, V]) {
	n.unlink()
	delete(l.nodes, n.key)
	l.used -= n.cost
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
		n.unlink()
		l.front(n)
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
