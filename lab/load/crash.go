package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"stagecoach/lab/traffic"
)

// A crashReport is what -kill has found.
type crashReport struct {
	Kills      int             `json:"kills"`
	Sent       int             `json:"sent"` // messages begun
	Refused    int             `json:"refused"`
	Broken     int             `json:"broken"`    // whose connection broke before the answer
	InFlight   int             `json:"in_flight"` // messages at the sink at the moments of the kills, together
	Verdict    traffic.Verdict `json:"verdict"`
	MaxRestart float64         `json:"max_seconds_to_greeting"`
	Seconds    float64         `json:"seconds"`
	LostIDs    []string        `json:"lost_ids,omitempty"`
}

// Between two kills a relay lives at least minLife and up to spread longer.
const (
	minLife = 100 * time.Millisecond
	spread  = 1200 * time.Millisecond
)

// crash kills our relay under load, again and again, and then looks for every message.
func crash(ctx context.Context, o *options, out, progress io.Writer) error {
	dir, err := os.MkdirTemp(o.dir, "crash-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if o.sink == "" {
		o.sink = "127.0.0.1:0"
	}
	o.check = true
	stopSink, sink, err := startSink(ctx, o)
	if err != nil {
		return err
	}
	defer stopSink()
	r, err := newRelay(filepath.Join(dir, "relay"), o)
	if err != nil {
		return err
	}
	if err := r.start(ctx); err != nil {
		return err
	}
	rep, err := o.crashUnderLoad(ctx, r, sink, progress)
	err = errors.Join(err, r.stop())
	if rep == nil {
		return err
	}
	return errors.Join(err, o.write(out, rep), rep.judge(o))
}

func (o *options) crashUnderLoad(ctx context.Context, r *relay, sink *traffic.Sink, progress io.Writer) (*crashReport, error) {
	l := o.load
	var err error
	if l.Dialer.Target, err = traffic.Loopback(ctx, r.listen); err != nil {
		return nil, err
	}
	l.Ledger, l.Persist, l.Duration, l.Count = traffic.NewLedger(nil), true, maxDuration, 0
	loading, endLoad := context.WithCancel(ctx)
	defer endLoad()
	type outcome struct {
		res *traffic.Result
		err error
	}
	loaded := make(chan outcome, 1)
	go func() {
		res, err := l.Run(loading)
		loaded <- outcome{res, err}
	}()
	began := time.Now()
	rep := &crashReport{}
	trouble := rep.killAll(ctx, o, r, sink, progress)
	endLoad()
	end := <-loaded
	if err := errors.Join(trouble, end.err); err != nil {
		return nil, err
	}
	rep.settle(ctx, sink, l, o.drain)
	rep.Refused, rep.Broken = end.res.Refused, end.res.Broken
	acknowledged, refused, unknown := l.Ledger.Counts()
	rep.Sent, rep.Seconds = acknowledged+refused+unknown, time.Since(began).Seconds()
	return rep, nil
}

// killAll kills and restarts the relay as often as it is told.
func (rep *crashReport) killAll(ctx context.Context, o *options, r *relay, sink *traffic.Sink, progress io.Writer) error {
	for rep.Kills < o.kills {
		if err := wait(ctx, minLife+rand.N(spread)); err != nil {
			return err
		}
		rep.InFlight += sink.InFlight()
		r.kill()
		rep.Kills++
		began := time.Now()
		if err := r.start(ctx); err != nil {
			return fmt.Errorf("after kill %d: %w", rep.Kills, err)
		}
		rep.MaxRestart = max(rep.MaxRestart, time.Since(began).Seconds())
		if rep.Kills%25 == 0 {
			fmt.Fprintf(progress, "%d kills, %d messages at the sink\n", rep.Kills, sink.Messages())
		}
	}
	return nil
}

// settle waits until nothing that was acknowledged is missing, and then for a while without
// news: what comes twice may come late.
func (rep *crashReport) settle(ctx context.Context, sink *traffic.Sink, l traffic.Load, patience time.Duration) {
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		before := sink.Messages()
		if wait(ctx, time.Second) != nil {
			break
		}
		if rep.Verdict = traffic.Check(l.Ledger, sink.Times(), l.To, nil); rep.Verdict.Lost == 0 && sink.Messages() == before {
			break
		}
	}
	for _, id := range rep.Verdict.LostIDs {
		rep.LostIDs = append(rep.LostIDs, id.String())
	}
}

// judge says whether the relay has kept its word.
func (rep *crashReport) judge(o *options) error {
	v := rep.Verdict
	switch {
	case v.Acked == 0:
		return errors.New("no message was acknowledged: nothing was tested")
	case v.Lost > 0:
		return fmt.Errorf("%d acknowledged messages are lost", v.Lost)
	case v.Duplicates > rep.Kills*o.maxDuplicates:
		return fmt.Errorf("%d duplicates, more than %d for each of %d kills", v.Duplicates, o.maxDuplicates, rep.Kills)
	}
	return nil
}

func (rep *crashReport) print(w io.Writer) {
	fmt.Fprintf(w, "%d kills in %.0f s, at most %.2f s to the greeting; %d messages sent, %d refused, %d broken off, %d in flight at the kills\n",
		rep.Kills, rep.Seconds, rep.MaxRestart, rep.Sent, rep.Refused, rep.Broken, rep.InFlight)
	fmt.Fprintln(w, rep.Verdict)
	for _, id := range rep.LostIDs {
		fmt.Fprintln(w, "lost:", id)
	}
}
