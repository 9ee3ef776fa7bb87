package traffic

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"sync"
	"time"
)

// A Load is mail for one server. The zero value of a field means what its comment says.
type Load struct {
	Dialer        Dialer
	From          string        // MAIL FROM; "load@load.example"
	To            []string      // RCPT TO of every message; "load@sink.example"
	Sessions      int           // connections at a time; 1
	Size          int           // octets of a message; 10,000
	Duration      time.Duration // when to begin no more messages; 10 s
	Count         int           // messages in all; 0 is no limit but Duration
	Rate          float64       // messages a second, begun whether the server keeps up or not (open loop); 0 sends as fast as answers come (closed loop)
	PerConnection int           // messages on one connection; 0 is no limit
	NoPipelining  bool          // each command waits for its answer
	Chunking      Chunking      // BDAT or DATA; Auto
	Persist       bool          // a lost connection is opened anew until Duration is over, instead of ending its session
	Ledger        *Ledger       // what was sent and acknowledged; may be nil
}

// Chunking says how the message itself is sent.
type Chunking int

// The values of Chunking.
const (
	Auto Chunking = iota // BDAT where the server offers CHUNKING
	BDAT
	DATA
)

func (l Load) withDefaults() Load {
	if l.From == "" {
		l.From = "load@load.example"
	}
	if len(l.To) == 0 {
		l.To = []string{"load@sink.example"}
	}
	l.Sessions = max(l.Sessions, 1)
	if l.Size <= 0 {
		l.Size = 10_000
	}
	if l.Duration <= 0 {
		l.Duration = 10 * time.Second
	}
	if l.Ledger == nil {
		l.Ledger = NewLedger(nil)
	}
	return l
}

// A Result is what the client saw of a Load.
type Result struct {
	Accepted  int           // messages answered with 250 at the end
	Refused   int           // messages refused
	Broken    int           // messages whose connection broke before the answer
	Late      int           // messages of an open loop that no session was free for
	Began     time.Time     //
	Took      time.Duration // from the first connection to the last answer
	Latencies Latencies     // of the accepted messages: from the first byte, or in an open loop from the moment it was due
	Err       error         // the first refusal or break, nil when there was none
}

// Rate returns accepted messages a second.
func (r *Result) Rate() float64 { return float64(r.Accepted) / max(r.Took.Seconds(), 1e-9) }

// Run puts the load on, and returns when it is over or ctx ends. The error is one of the
// arguments or of the first connection; trouble later is counted in the Result.
func (l Load) Run(ctx context.Context) (*Result, error) {
	l = l.withDefaults()
	ctx, cancel := context.WithTimeout(ctx, l.Duration)
	defer cancel()
	first, err := l.Dialer.Dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", l.Dialer.Target, err)
	}
	first.Close()

	var seed [4]byte
	rand.Read(seed[:]) //nolint:errcheck // it does not fail
	r := &run{Load: l, id: binary.BigEndian.Uint32(seed[:])}
	r.due, r.late = l.schedule(ctx)
	r.left.Store(int64(l.Count))
	began := time.Now()
	sessions := make([]session, l.Sessions)
	var all sync.WaitGroup
	for i := range sessions {
		s := &sessions[i]
		s.run, s.worker = r, uint32(i)
		all.Go(func() { s.work(ctx) })
	}
	all.Wait()
	res := &Result{Began: began, Took: time.Since(began), Late: int(r.late.Load())}
	for i := range sessions {
		res.add(&sessions[i])
	}
	res.Latencies.sort()
	return res, nil
}

func (r *Result) add(s *session) {
	r.Accepted += len(s.latencies)
	r.Refused += s.refused
	r.Broken += s.broken
	r.Latencies = append(r.Latencies, s.latencies...)
	if r.Err == nil {
		r.Err = s.err
	}
}
