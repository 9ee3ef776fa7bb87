package traffic

import (
	"bufio"
	"fmt"
	"io"
	"sync"
)

// A Ledger keeps what the client knows of each message: that it was sent, that it was
// acknowledged with 250, or that it was refused. What was sent and neither acknowledged nor
// refused may or may not have been taken. It may be used by many goroutines.
type Ledger struct {
	mu     sync.Mutex
	state  map[ID]fate
	counts [4]int
	w      *bufio.Writer
	err    error
}

type fate uint8

const (
	sent fate = iota + 1
	acked
	refused
)

// NewLedger returns an empty ledger. Each line "acked ID" or "refused ID" or "sent ID" goes
// to w as well, which may be nil; Flush ends it.
func NewLedger(w io.Writer) *Ledger {
	l := &Ledger{state: make(map[ID]fate)}
	if w != nil {
		l.w = bufio.NewWriterSize(w, 1<<16)
	}
	return l
}

func (l *Ledger) note(id ID, f fate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if old := l.state[id]; old != 0 {
		l.counts[old]--
	}
	l.state[id] = f
	l.counts[f]++
	if l.w == nil {
		return
	}
	if _, err := fmt.Fprintf(l.w, "%s %s\n", [...]string{"", "sent", "acked", "refused"}[f], id); err != nil {
		l.err = err
	}
}

// Counts returns how many messages were acknowledged, how many refused, and of how many
// nobody knows.
func (l *Ledger) Counts() (acknowledged, refusals, unknown int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts[acked], l.counts[refused], l.counts[sent]
}

// Acked returns the ids of the acknowledged messages, in no order.
func (l *Ledger) Acked() []ID { return l.with(acked) }

// Unknown returns the ids of the messages that were sent and had no answer, in no order.
func (l *Ledger) Unknown() []ID { return l.with(sent) }

func (l *Ledger) with(f fate) []ID {
	l.mu.Lock()
	defer l.mu.Unlock()
	ids := make([]ID, 0, l.counts[f])
	for id, g := range l.state {
		if g == f {
			ids = append(ids, id)
		}
	}
	return ids
}

// Flush writes what is still buffered, and returns the first error of any write.
func (l *Ledger) Flush() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.w == nil {
		return nil
	}
	if err := l.w.Flush(); err != nil && l.err == nil {
		l.err = err
	}
	return l.err
}
