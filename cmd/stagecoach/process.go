package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stagecoach/rfc/smtp"
)

// A process is what every serving command has in common: a log, metrics, servers that stop
// together, and what SIGHUP reads again.
//
// It stops in two steps, since a mail on its way must still find the queue: first the servers
// end their sessions, then what stands behind them ends.
type process struct {
	log *slog.Logger
	reg *prometheus.Registry
	obs *observer
	own netip.Prefix // our address and network, where they were given

	idle bool // only to see whether it would start

	front, back   context.Context // of the servers, and of what stands behind them
	stop, stopAll context.CancelFunc
	servers, rest sync.WaitGroup
	events        *prometheus.CounterVec
	onHangup      []namedReload
	closers       []func() error
	mu            sync.Mutex
	err           error
}

type namedReload struct {
	what   string
	reload func(context.Context) error
}

// The time that a message on its way has to arrive after SIGTERM, of the five seconds that
// stopping may take.
const grace = 2500 * time.Millisecond

func newProcess(ctx context.Context, o runOptions) (*process, error) {
	p := &process{log: o.Log.logger(os.Stderr), reg: newRegistry(), own: o.IPv4}
	p.obs = newObserver(p.log, p.reg)
	p.front, p.stop = context.WithCancel(ctx)
	p.back, p.stopAll = context.WithCancel(context.WithoutCancel(ctx))
	p.events = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "stagecoach_smtp_events_total", Help: "What happened in SMTP sessions, by listener, kind and reply code.",
	}, []string{"listener", "kind", "code"})
	p.reg.MustRegister(p.events)
	if o.Metrics != "" {
		l, err := listen(ctx, o.Metrics)
		if err != nil {
			return nil, err
		}
		context.AfterFunc(p.back, func() { l.Close() })
		p.behind("metrics", func(context.Context) error { return serveMetrics(l, p.reg) })
	}
	return p, nil
}

// server starts an SMTP server on its listeners, which are open when it returns.
func (p *process) server(name string, s *smtp.Server, addresses []string, wrap func(net.Listener) net.Listener) error {
	s.Log = p.log.With("listener", name)
	s.Grace = grace
	s.Stats = func(e smtp.Event) {
		code := ""
		if e.Code != 0 {
			code = fmt.Sprint(e.Code)
		}
		p.events.WithLabelValues(name, string(e.Kind), code).Inc()
	}
	for _, address := range addresses {
		l, err := listen(p.front, p.at(address))
		if err != nil {
			return err
		}
		p.log.Info("listening", "listener", name, "address", l.Addr().String())
		if wrap != nil {
			l = wrap(l)
		}
		p.servers.Go(func() { p.ended(name, s.Serve(p.front, l)) })
	}
	return nil
}

// at has an address that names no host be one of ours, where we know ours.
func (p *process) at(address string) string {
	if port, ok := strings.CutPrefix(address, ":"); ok && p.own.IsValid() {
		return net.JoinHostPort(p.own.Addr().String(), port)
	}
	return address
}

// trusted adds our own network to those of the options.
func (p *process) trusted(from []netip.Prefix) []netip.Prefix {
	if p.own.IsValid() {
		from = append(slices.Clip(from), p.own.Masked())
	}
	return from
}

// behind starts what must outlive the servers.
func (p *process) behind(name string, run func(context.Context) error) {
	p.rest.Go(func() { p.ended(name, run(p.back)) })
}

// closing says what is to be closed after everything has ended, the last one first.
func (p *process) closing(f func() error) { p.closers = append(p.closers, f) }

// hangup says what SIGHUP reads again.
func (p *process) hangup(what string, reload func(context.Context) error) {
	p.onHangup = append(p.onHangup, namedReload{what, reload})
}

// ended stops the process when a part of it fails.
func (p *process) ended(name string, err error) {
	if err == nil || errors.Is(err, context.Canceled) {
		return
	}
	p.mu.Lock()
	p.err = errors.Join(p.err, fmt.Errorf("%s: %w", name, err))
	p.mu.Unlock()
	p.stop()
}

// wait runs until the context of newProcess ends or a part fails, and stops cleanly.
func (p *process) wait() error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for running := true; running; {
		select {
		case <-hup:
			p.reloadAll()
		case <-p.front.Done():
			running = false
		}
	}
	return p.shutdown()
}

// shutdown stops the process cleanly. It may be called again.
func (p *process) shutdown() error {
	p.log.Info("stopping")
	p.stop()
	p.servers.Wait()
	p.stopAll()
	p.rest.Wait()
	for i := len(p.closers) - 1; i >= 0; i-- {
		p.err = errors.Join(p.err, p.closers[i]())
	}
	p.closers = nil
	return p.err
}

// abort gives back what was opened when the rest cannot be built.
func (p *process) abort(err error) error {
	p.err = nil
	return errors.Join(err, p.shutdown())
}

func (p *process) reloadAll() {
	for _, r := range p.onHangup {
		ctx, cancel := context.WithTimeout(p.front, time.Minute)
		if err := r.reload(ctx); err != nil {
			p.log.Error("reload failed, what was in use stays in use", "what", r.what, "error", err.Error())
		} else {
			p.log.Info("reloaded", "what", r.what)
		}
		cancel()
	}
}
