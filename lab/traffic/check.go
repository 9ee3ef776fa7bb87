package traffic

import "fmt"

// A Delivery is one message accepted for one recipient.
type Delivery struct {
	ID ID
	To string // as it stood in RCPT TO
}

// A Verdict says what became of the messages of a run.
type Verdict struct {
	Acked      int  `json:"acked"`
	Delivered  int  `json:"delivered"`  // of the acknowledged, arrived for every recipient
	Lost       int  `json:"lost"`       // acknowledged, and not delivered, reported or queued
	Duplicates int  `json:"duplicates"` // deliveries beyond the first of one message to one recipient
	Unasked    int  `json:"unasked"`    // deliveries of messages without an answer: allowed, the answer was lost
	LostIDs    []ID `json:"-"`          // the first hundred
}

// Check holds the ledger against what arrived. times says how often the receiver accepted a
// message for a recipient; to is whom each message was sent to. elsewhere reports whether a
// delivery that did not happen has another outcome (a failure report arrived, or it is still
// queued); it may be nil.
func Check(l *Ledger, times map[Delivery]int, to []string, elsewhere func(Delivery) bool) Verdict {
	var v Verdict
	known := make(map[ID]bool)
	for _, id := range l.Acked() {
		known[id] = true
		v.Acked++
		missing, lost := 0, false
		for _, a := range to {
			d := Delivery{id, a}
			if times[d] == 0 {
				missing++
				lost = lost || elsewhere == nil || !elsewhere(d)
			}
		}
		if missing == 0 {
			v.Delivered++
		}
		if lost {
			v.Lost++
			if len(v.LostIDs) < 100 {
				v.LostIDs = append(v.LostIDs, id)
			}
		}
	}
	for d, n := range times {
		v.Duplicates += n - 1
		if !known[d.ID] {
			v.Unasked++
		}
	}
	return v
}

// String returns the verdict on one line. With no loss in n acknowledged messages, the true
// rate of loss is below 3/n with a confidence of 95 %.
func (v Verdict) String() string {
	s := fmt.Sprintf("%d acknowledged, %d delivered, %d lost, %d duplicates, %d without an answer arrived",
		v.Acked, v.Delivered, v.Lost, v.Duplicates, v.Unasked)
	if v.Lost == 0 && v.Acked > 0 {
		s += fmt.Sprintf(" (loss below %.2g with 95%% confidence)", 3/float64(v.Acked))
	}
	return s
}
