package queue

import (
	"sync"
	"time"
)

// A task is a leased entry on its way to delivery.
type task struct {
	entry  *Entry
	letter *Letter // in memory, of mail that has just come; else nil, and read when its turn comes
	fresh  bool    // never tried
}

// octets is what the task keeps in memory besides its entry.
func (t *task) octets() int64 {
	if t.letter == nil {
		return 0
	}
	return int64(len(t.letter.record))
}

// A window is the part of the queue that is in memory: entries that wait for a turn or are
// being delivered, by destination. It is bounded; the backlog on disk is not.
//
// No destination can hold another up. The more room is taken, the less of the rest one
// destination may have: an eighth of what is free, of the places to wait as of the
// deliveries. The last eighth is for destinations that have nothing at all.
type window struct {
	settings Settings

	mu      sync.Mutex
	dests   map[string]*destination
	keys    map[Key]bool      // of all tasks
	ready   [2][]*destination // that have tasks of a class to start, in turn
	turn    int               // the class whose turn is next
	size    int               // tasks
	bytes   int64
	running int
	closed  bool
}

// A destination is a domain with tasks, or with a history of failures.
type destination struct {
	domain  string
	tasks   [2][]*task
	listed  [2]bool
	size    int // tasks, running ones included
	running int

	failures int       // attempts in a row that did not reach it
	resumes  time.Time // no attempts before
}

// How a destination that cannot be reached is spared: after this many failures in a row it
// is given a pause, which doubles. Then one attempt at a time probes it.
const (
	failuresToPause = 3
	firstPause      = 30 * time.Second
	maxPause        = 5 * time.Minute
	maxPaused       = 10000 // destinations whose failures are remembered
)

func newWindow(s Settings) *window {
	return &window{settings: s, dests: map[string]*destination{}, keys: map[Key]bool{}}
}

// share returns how many of all places one destination may have that has some of those
// taken. One that is alone may have all but the last eighth.
func share(all, taken, has, most int) int {
	free := all - taken
	switch {
	case has > 0 && free <= all/8:
		return min(most, has)
	case has == taken:
		return min(most, max(1, all-all/8))
	}
	return min(most, max(1, (free+has)/8))
}

// room returns how many more tasks of a domain fit.
func (w *window) room(domain string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.roomLocked(domain)
}

func (w *window) roomLocked(domain string) int {
	free := w.settings.Window - w.size
	if w.closed || free <= 0 {
		return 0
	}
	d := w.dests[domain]
	if d == nil {
		return min(free, share(w.settings.Window, w.size, 0, w.settings.Window))
	}
	if w.settings.Now().Before(d.resumes) {
		return 0
	}
	if d.failures >= failuresToPause {
		return max(0, 2-d.size)
	}
	return min(free, share(w.settings.Window, w.size, d.size, w.settings.Window)-d.size)
}

// free returns how many tasks fit in all.
func (w *window) free() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return 0
	}
	return w.settings.Window - w.size
}

// add takes a task in if it fits. The letter of one that would be too much for memory is
// read again when its turn comes.
func (w *window) add(t *task) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.roomLocked(t.entry.Domain) <= 0 {
		return false
	}
	if w.bytes+t.octets() > w.settings.WindowBytes {
		t.letter = nil
	}
	d := w.dests[t.entry.Domain]
	if d == nil {
		d = &destination{domain: t.entry.Domain}
		w.dests[t.entry.Domain] = d
	}
	c := class(t.fresh)
	d.tasks[c] = append(d.tasks[c], t)
	w.keys[t.entry.Key] = true
	d.size++
	w.size++
	w.bytes += t.octets()
	w.list(d)
	return true
}

// list puts a destination among those that are ready.
func (w *window) list(d *destination) {
	for c := range d.tasks {
		if len(d.tasks[c]) > 0 && !d.listed[c] {
			d.listed[c] = true
			w.ready[c] = append(w.ready[c], d)
		}
	}
}

// next returns a task to start, nil if there is none. New and deferred mail take turns, and
// so do destinations.
func (w *window) next() *task {
	w.mu.Lock()
	defer w.mu.Unlock()
	for range 2 {
		c := w.turn
		w.turn = 1 - c
		if t := w.nextOf(c); t != nil {
			return t
		}
	}
	return nil
}

func (w *window) nextOf(c int) *task {
	for len(w.ready[c]) > 0 && !w.closed && w.running < w.settings.Concurrency {
		d := w.ready[c][0]
		w.ready[c] = w.ready[c][1:]
		d.listed[c] = false
		// One that may not start now is listed again when it may: when one of its own
		// deliveries ends, or its pause.
		if len(d.tasks[c]) == 0 || !w.mayStart(d) {
			continue
		}
		t := d.tasks[c][0]
		d.tasks[c][0] = nil
		d.tasks[c] = d.tasks[c][1:]
		d.running++
		w.running++
		w.list(d)
		return t
	}
	return nil
}

func (w *window) mayStart(d *destination) bool {
	switch {
	case w.settings.Now().Before(d.resumes):
		return false
	case d.failures >= failuresToPause:
		return d.running == 0
	}
	return d.running < share(w.settings.Concurrency, w.running, d.running, w.settings.PerDestination)
}

// done takes a task that next returned out. reached says whether its destination was; nil
// says nothing about it.
func (w *window) done(t *task, reached *bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.keys, t.entry.Key)
	d := w.dests[t.entry.Domain]
	d.running--
	d.size--
	w.running--
	w.size--
	w.bytes -= t.octets()
	if reached != nil {
		w.judge(d, *reached)
	}
	w.list(d)
	w.forget(d)
}

// judge keeps the history of a destination.
func (w *window) judge(d *destination, reached bool) {
	if reached {
		d.failures, d.resumes = 0, time.Time{}
		return
	}
	d.failures++
	if over := d.failures - failuresToPause; over >= 0 {
		d.resumes = w.settings.Now().Add(min(firstPause<<min(over, 10), maxPause))
	}
}

// forget drops a destination that has nothing to remember.
func (w *window) forget(d *destination) {
	if d.size == 0 && (d.failures == 0 || len(w.dests) > maxPaused) {
		delete(w.dests, d.domain)
	}
}

// remove takes out a waiting task by its key, and returns its entry; nil if it is not waiting.
func (w *window) remove(k Key) *Entry {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := w.dests[k.Domain]
	if d == nil {
		return nil
	}
	for c := range d.tasks {
		for i, t := range d.tasks[c] {
			if t.entry.Key == k {
				d.tasks[c] = append(d.tasks[c][:i:i], d.tasks[c][i+1:]...)
				w.drop(d, t)
				return t.entry
			}
		}
	}
	return nil
}

// has reports whether an entry is in the window, waiting or under way.
func (w *window) has(k Key) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.keys[k]
}

func (w *window) drop(d *destination, t *task) {
	delete(w.keys, t.entry.Key)
	d.size--
	w.size--
	w.bytes -= t.octets()
	w.forget(d)
}

// resume lists the destinations whose pause is over, and takes the waiting tasks of those
// that pause out, so that others have their places. It returns when the next pause ends.
func (w *window) resume() (evicted []*task, next time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.settings.Now()
	for _, d := range w.dests {
		switch {
		case !now.Before(d.resumes):
			w.list(d)
			continue
		case next.IsZero() || d.resumes.Before(next):
			next = d.resumes
		}
		for c := range d.tasks {
			for _, t := range d.tasks[c] {
				w.drop(d, t)
				evicted = append(evicted, t)
			}
			d.tasks[c] = nil
		}
	}
	return evicted, next
}

// wake makes a destination that pauses ready at once, by a command.
func (w *window) wake(domain string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if d := w.dests[domain]; d != nil {
		d.failures, d.resumes = 0, time.Time{}
		w.list(d)
	}
}

// close ends the window: nothing is started or taken in any more. It returns what waited.
func (w *window) close() (waiting []*task) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for _, d := range w.dests {
		for c := range d.tasks {
			for _, t := range d.tasks[c] {
				w.drop(d, t)
				waiting = append(waiting, t)
			}
			d.tasks[c] = nil
		}
	}
	return waiting
}

func (w *window) load() (size, running int, bytes int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.size, w.running, w.bytes
}
