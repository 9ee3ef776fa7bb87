package submit

import "container/list"

// A recent is a map of a bounded size, which forgets what was not used for the longest time.
type recent[K comparable, V any] struct {
	max   int
	order *list.List // of pair, the last used in front
	at    map[K]*list.Element
}

type pair[K comparable, V any] struct {
	key   K
	value V
}

func newRecent[K comparable, V any](max int) *recent[K, V] {
	return &recent[K, V]{max: max, order: list.New(), at: map[K]*list.Element{}}
}

// get returns the value of a key, which it makes when there is none.
func (r *recent[K, V]) get(key K, make func() V) V {
	if e, ok := r.at[key]; ok {
		r.order.MoveToFront(e)
		return e.Value.(pair[K, V]).value
	}
	v := make()
	r.put(key, v)
	return v
}

func (r *recent[K, V]) has(key K) bool {
	e, ok := r.at[key]
	if ok {
		r.order.MoveToFront(e)
	}
	return ok
}

func (r *recent[K, V]) put(key K, v V) {
	if e, ok := r.at[key]; ok {
		e.Value = pair[K, V]{key, v}
		r.order.MoveToFront(e)
		return
	}
	r.at[key] = r.order.PushFront(pair[K, V]{key, v})
	if len(r.at) > r.max {
		last := r.order.Back()
		r.order.Remove(last)
		delete(r.at, last.Value.(pair[K, V]).key)
	}
}
