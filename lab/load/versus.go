package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"

	"stagecoach/lab/traffic"
)

// A contender is a relay under test: a running server that passes all mail on to the sink.
type contender struct {
	name   string
	target string
	pid    int
	stop   func() error
}

// A comparison is what -versus has measured.
type comparison struct {
	Postfix   []*report `json:"postfix"`
	Ours      []*report `json:"stagecoach"`
	Accepted  float64   `json:"accepted_ratio"`  // medians of ours to Postfix's
	Delivered float64   `json:"delivered_ratio"` // likewise
	CPU       float64   `json:"cpu_ratio"`       // of Postfix's CPU per message to ours
}

// versus starts both servers, and puts the same load on one after the other, in turn.
func versus(ctx context.Context, o *options, out, progress io.Writer) (err error) {
	if o.target != "" || o.idle > 0 {
		return errors.New("-versus starts its own servers: it takes no -target and no -idle")
	}
	if os.Geteuid() != 0 {
		return errors.New("-versus postfix needs root: Postfix does not run without it")
	}
	dir, err := os.MkdirTemp(o.dir, "versus-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // Postfix runs as users of its own
		return err
	}
	o.sink = "127.0.0.1:0"
	stopSink, sink, err := startSink(ctx, o)
	if err != nil {
		return err
	}
	defer stopSink()
	post, err := startPostfix(ctx, filepath.Join(dir, "postfix"), o.sink, o.postfixProcesses)
	if err != nil {
		return fmt.Errorf("postfix: %w", err)
	}
	defer func() { err = errors.Join(err, post.stop()) }()
	ours, err := startOurs(ctx, filepath.Join(dir, "stagecoach"), o)
	if err != nil {
		return fmt.Errorf("stagecoach: %w", err)
	}
	defer func() { err = errors.Join(err, ours.stop()) }()
	c := &comparison{}
	for range o.rounds {
		for _, s := range []struct {
			*contender
			reports *[]*report
		}{{post, &c.Postfix}, {ours, &c.Ours}} {
			r, err := s.measure(ctx, o, sink)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			*s.reports = append(*s.reports, r)
			fmt.Fprintf(progress, "%-10s accepted %6.0f/s  delivered %6.0f/s  p99 %8.2f ms  CPU %5.0f us a message\n",
				s.name, r.PerSec, r.DeliveredPerSec, r.P99, r.CPUPerMessage)
		}
	}
	c.compare()
	return errors.Join(o.write(out, c), c.judge(o))
}

// measure runs the load once.
func (c *contender) measure(ctx context.Context, o *options, sink *traffic.Sink) (*report, error) {
	leg := *o
	leg.pid, leg.check = c.pid, false
	target, err := traffic.Loopback(ctx, c.target)
	if err != nil {
		return nil, err
	}
	leg.load.Dialer.Target = target
	r := &report{Target: c.name}
	return r, leg.put(ctx, r, sink)
}

func (c *comparison) compare() {
	ratio := func(of func(*report) float64) float64 {
		theirs := median(c.Postfix, of)
		if theirs == 0 {
			return 0
		}
		return median(c.Ours, of) / theirs
	}
	c.Accepted = ratio(func(r *report) float64 { return r.PerSec })
	c.Delivered = ratio(func(r *report) float64 { return r.DeliveredPerSec })
	if cpu := ratio(func(r *report) float64 { return r.CPUPerMessage }); cpu > 0 {
		c.CPU = 1 / cpu
	}
}

func median(rs []*report, of func(*report) float64) float64 {
	var v []float64
	for _, r := range rs {
		v = append(v, of(r))
	}
	slices.Sort(v)
	if len(v) == 0 {
		return 0
	}
	return (v[len(v)/2] + v[(len(v)-1)/2]) / 2
}

// judge holds the ratios against what the flags demand.
func (c *comparison) judge(o *options) error {
	var err error
	if c.Accepted < o.minAccepted {
		err = fmt.Errorf("accepted %.2f times what Postfix does, demanded %.2f", c.Accepted, o.minAccepted)
	}
	if c.Delivered < o.minDelivered {
		err = errors.Join(err, fmt.Errorf("delivered %.2f times what Postfix does, demanded %.2f", c.Delivered, o.minDelivered))
	}
	for _, r := range append(slices.Clone(c.Postfix), c.Ours...) {
		if r.Refused+r.Broken > 0 || !r.Drained {
			err = errors.Join(err, fmt.Errorf("%s: %d refused, %d broken, drained %t: %s", r.Target, r.Refused, r.Broken, r.Drained, r.Trouble))
		}
	}
	return err
}

func (c *comparison) print(w io.Writer) {
	row := func(name string, rs []*report) {
		m := func(of func(*report) float64) float64 { return median(rs, of) }
		fmt.Fprintf(w, "%-10s %12.0f %13.0f %9.2f %9.2f %11.0f %9.1f\n", name,
			m(func(r *report) float64 { return r.PerSec }), m(func(r *report) float64 { return r.DeliveredPerSec }),
			m(func(r *report) float64 { return r.P50 }), m(func(r *report) float64 { return r.P99 }),
			m(func(r *report) float64 { return r.CPUPerMessage }), m(func(r *report) float64 { return float64(r.PSS) / 1e6 }))
	}
	fmt.Fprintf(w, "%-10s %12s %13s %9s %9s %11s %9s\n", "medians", "accepted/s", "delivered/s", "p50 ms", "p99 ms", "CPU us/msg", "PSS MB")
	row("postfix", c.Postfix)
	row("stagecoach", c.Ours)
	fmt.Fprintf(w, "we accept %.2f times and deliver %.2f times what Postfix does, with 1/%.2f of its CPU a message\n", c.Accepted, c.Delivered, c.CPU)
}

// freePort returns a port of 127.0.0.1 that nobody uses at this moment.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
