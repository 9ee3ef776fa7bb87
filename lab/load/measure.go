package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"stagecoach/lab/traffic"
)

// A report is what one run has measured.
type report struct {
	Target       string  `json:"target"`
	Sessions     int     `json:"sessions"`
	Octets       int     `json:"octets_per_message"`
	OpenLoopRate float64 `json:"open_loop_rate,omitempty"`
	Seconds      float64 `json:"seconds"`

	Accepted int     `json:"accepted"`
	PerSec   float64 `json:"accepted_per_second"`
	Refused  int     `json:"refused"`
	Broken   int     `json:"broken"`
	Late     int     `json:"late,omitempty"`
	P50      float64 `json:"p50_ms"`
	P99      float64 `json:"p99_ms"`
	Max      float64 `json:"max_ms"`
	Trouble  string  `json:"first_trouble,omitempty"`

	Delivered       int              `json:"delivered,omitempty"`
	DeliveredPerSec float64          `json:"delivered_per_second,omitempty"`
	Drained         bool             `json:"drained,omitempty"`
	Verdict         *traffic.Verdict `json:"verdict,omitempty"`

	CPUPerMessage float64     `json:"cpu_us_per_message,omitempty"`
	RSS           int64       `json:"rss_octets,omitempty"`
	PSS           int64       `json:"pss_octets,omitempty"`
	Idle          *idleReport `json:"idle,omitempty"`
}

// An idleReport is what idle connections cost.
type idleReport struct {
	Connections int     `json:"connections"`
	OpenSeconds float64 `json:"seconds_to_open"`
	RSS         int64   `json:"rss_octets_per_connection"`
	PSS         int64   `json:"pss_octets_per_connection"`
	Standing    int     `json:"standing_at_the_end"`
	Trouble     string  `json:"first_trouble,omitempty"`
}

// measure runs a load, with a sink and idle connections as the flags say.
func measure(ctx context.Context, o *options) (*report, error) {
	target, err := traffic.Loopback(ctx, o.target)
	if err != nil {
		return nil, err
	}
	o.load.Dialer.Target = target
	r := &report{Target: o.target}
	var sink *traffic.Sink
	if o.sink != "" {
		stop, s, err := startSink(ctx, o)
		if err != nil {
			return nil, err
		}
		defer stop()
		sink = s
	}
	if o.idle > 0 {
		idle, err := openIdle(ctx, o, r)
		if err != nil {
			return nil, err
		}
		defer idle.Close()
		defer func() { r.Idle.Standing = idle.Standing() }()
	}
	if o.load.Sessions == 0 {
		return r, wait(ctx, o.load.Duration)
	}
	return r, o.put(ctx, r, sink)
}

// put runs the load itself and fills the report.
func (o *options) put(ctx context.Context, r *report, sink *traffic.Sink) error {
	l := o.load
	if o.ledger != "" {
		f, err := os.Create(o.ledger)
		if err != nil {
			return err
		}
		defer f.Close()
		l.Ledger = traffic.NewLedger(f)
	} else {
		l.Ledger = traffic.NewLedger(nil)
	}
	var before traffic.Usage
	if o.pid != 0 {
		var err error
		if before, err = traffic.UsageOf(o.pid); err != nil {
			return err
		}
	}
	already := 0
	if sink != nil {
		already = sink.Messages()
	}
	res, err := l.Run(ctx)
	if err != nil {
		return err
	}
	r.fill(l, res)
	if sink != nil {
		r.await(ctx, sink, already, res, o.drain)
		if o.check {
			v := traffic.Check(l.Ledger, sink.Times(), l.To, nil)
			r.Verdict = &v
		}
	}
	if o.pid != 0 {
		after, err := traffic.UsageOf(o.pid)
		if err != nil {
			return err
		}
		r.RSS, r.PSS = after.RSS, after.PSS
		if res.Accepted > 0 {
			r.CPUPerMessage = float64((after.CPU - before.CPU).Microseconds()) / float64(res.Accepted)
		}
	}
	return l.Ledger.Flush()
}

func (r *report) fill(l traffic.Load, res *traffic.Result) {
	ms := func(q float64) float64 { return float64(res.Latencies.Quantile(q).Microseconds()) / 1000 }
	r.Sessions, r.Octets, r.OpenLoopRate, r.Seconds = l.Sessions, l.Size, l.Rate, res.Took.Seconds()
	r.Accepted, r.PerSec, r.Refused, r.Broken, r.Late = res.Accepted, res.Rate(), res.Refused, res.Broken, res.Late
	r.P50, r.P99, r.Max = ms(0.5), ms(0.99), ms(1)
	if res.Err != nil {
		r.Trouble = res.Err.Error()
	}
}

// await waits until all that was accepted has arrived, and fills in the rate of delivery: over
// the time from the beginning of the run to the last arrival.
func (r *report) await(ctx context.Context, sink *traffic.Sink, already int, res *traffic.Result, patience time.Duration) {
	deadline := time.Now().Add(patience)
	want := already + res.Accepted
	for sink.Messages() < want && time.Now().Before(deadline) && wait(ctx, 10*time.Millisecond) == nil {
	}
	r.Drained = sink.Messages() >= want
	r.Delivered = sink.Messages() - already
	if took := sink.Last().Sub(res.Began); r.Delivered > 0 && took > 0 {
		r.DeliveredPerSec = float64(r.Delivered) / took.Seconds()
	}
}

func openIdle(ctx context.Context, o *options, r *report) (*traffic.Idle, error) {
	if o.pid == 0 {
		return nil, errors.New("-idle needs -pid, to measure what the connections cost")
	}
	before, err := traffic.UsageOf(o.pid)
	if err != nil {
		return nil, err
	}
	idle := &traffic.Idle{Dialer: o.load.Dialer, Count: o.idle}
	began := time.Now()
	n, trouble := idle.Open(ctx)
	r.Idle = &idleReport{Connections: n, OpenSeconds: time.Since(began).Seconds()}
	if trouble != nil {
		r.Idle.Trouble = trouble.Error()
	}
	if err := wait(ctx, time.Second); err != nil { // for the server to come to rest
		idle.Close()
		return nil, err
	}
	after, err := traffic.UsageOf(o.pid)
	if err != nil {
		idle.Close()
		return nil, err
	}
	if n > 0 {
		r.Idle.RSS = (after.RSS - before.RSS) / int64(n)
		r.Idle.PSS = (after.PSS - before.PSS) / int64(n)
	}
	return idle, nil
}

// startSink runs a sink in this process until stop is called.
func startSink(ctx context.Context, o *options) (stop func(), s *traffic.Sink, err error) {
	addr, err := traffic.Loopback(ctx, o.sink)
	if err != nil {
		return nil, nil, err
	}
	listener, err := net.Listen("tcp", addr.String())
	if err != nil {
		return nil, nil, err
	}
	o.sink = listener.Addr().String() // with its port, where none was given
	s = &traffic.Sink{Record: o.check, Latency: o.sinkLatency}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Serve(ctx, listener) //nolint:errcheck // a sink that fails shows in what arrives
	}()
	return func() { cancel(); <-done }, s, nil
}

// A sinkReport is what a sink by itself has counted.
type sinkReport struct {
	Messages   int     `json:"messages"`
	Deliveries int     `json:"deliveries"`
	Octets     int64   `json:"octets"`
	Seconds    float64 `json:"seconds"`
}

// sinkOnly runs a sink for the duration of the run.
func sinkOnly(ctx context.Context, o *options) (*sinkReport, error) {
	stop, s, err := startSink(ctx, o)
	if err != nil {
		return nil, err
	}
	defer stop()
	began := time.Now()
	wait(ctx, o.load.Duration) //nolint:errcheck // an interrupt ends it as well
	return &sinkReport{s.Messages(), s.Deliveries(), s.Octets(), time.Since(began).Seconds()}, nil
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func (s *sinkReport) print(w io.Writer) {
	fmt.Fprintf(w, "%d messages, %d deliveries, %d octets in %.1f s\n", s.Messages, s.Deliveries, s.Octets, s.Seconds)
}

func (r *report) print(w io.Writer) {
	if r.Sessions > 0 {
		fmt.Fprintf(w, "%s: %d sessions, %d octets a message, %.1f s\n", r.Target, r.Sessions, r.Octets, r.Seconds)
		fmt.Fprintf(w, "accepted   %8d  %9.0f/s   p50 %.2f ms  p99 %.2f ms  max %.2f ms\n", r.Accepted, r.PerSec, r.P50, r.P99, r.Max)
		fmt.Fprintf(w, "refused %d, broken %d, late %d\n", r.Refused, r.Broken, r.Late)
	}
	if r.Trouble != "" {
		fmt.Fprintf(w, "first trouble: %s\n", r.Trouble)
	}
	if r.Delivered > 0 || r.Drained {
		fmt.Fprintf(w, "delivered  %8d  %9.0f/s   all that was accepted: %t\n", r.Delivered, r.DeliveredPerSec, r.Drained)
	}
	if r.Verdict != nil {
		fmt.Fprintln(w, r.Verdict)
	}
	if r.RSS > 0 {
		fmt.Fprintf(w, "CPU %.0f us a message, memory RSS %.1f MB, PSS %.1f MB\n", r.CPUPerMessage, float64(r.RSS)/1e6, float64(r.PSS)/1e6)
	}
	if i := r.Idle; i != nil {
		fmt.Fprintf(w, "idle: %d connections in %.1f s, RSS %d octets each, PSS %d octets each, %d standing at the end\n",
			i.Connections, i.OpenSeconds, i.RSS, i.PSS, i.Standing)
		if i.Trouble != "" {
			fmt.Fprintf(w, "first trouble: %s\n", i.Trouble)
		}
	}
}
