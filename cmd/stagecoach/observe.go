package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stagecoach/mail"
)

// An observer times, counts and logs every boundary between stages, so that no stage needs
// a counter or a logger of its own.
type observer struct {
	log   *slog.Logger
	mails *prometheus.CounterVec
	took  *prometheus.HistogramVec
	ends  *prometheus.CounterVec
}

func newObserver(log *slog.Logger, reg prometheus.Registerer) *observer {
	o := &observer{
		log: log,
		mails: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "stagecoach_mails_total", Help: "Mails that a stage was handed, by stage and outcome (taken, refused, deferred).",
		}, []string{"stage", "outcome"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "stagecoach_stage_seconds", Help: "Time that a stage and all behind it took for a mail.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 4, 9),
		}, []string{"stage"}),
		ends: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "stagecoach_deliveries_total", Help: "Attempts at a recipient, by outcome (delivered, refused, deferred).",
		}, []string{"outcome"}),
	}
	reg.MustRegister(o.mails, o.took, o.ends)
	return o
}

// seen marks an error that the stage where it arose has logged already.
type seen struct{ error }

func (s seen) Unwrap() error { return s.error }

// stage observes a handler. The stage at the edge logs what it takes; the others speak only
// when they refuse. A refusal is logged where it arose and not on its way up.
func (o *observer) stage(name string, edge bool, h mail.Handler) mail.Handler {
	return mail.HandlerFunc(func(ctx context.Context, m *mail.Mail) error {
		attrs := describe(m)
		start := time.Now()
		err := h.Handle(ctx, m)
		took := time.Since(start)
		o.took.WithLabelValues(name).Observe(took.Seconds())
		o.mails.WithLabelValues(name, outcome(err, "taken")).Inc()

		var s seen
		switch {
		case err == nil && edge:
			o.line(ctx, slog.LevelInfo, name, "taken", nil, took, attrs)
		case err != nil && !errors.As(err, &s):
			o.line(ctx, levelOf(err), name, outcome(err, ""), err, took, attrs)
			err = seen{err}
		}
		return err
	})
}

func (o *observer) line(ctx context.Context, level slog.Level, stage, what string, err error, took time.Duration, attrs []slog.Attr) {
	all := append([]slog.Attr{slog.String("id", mail.Trace(ctx)), slog.String("stage", stage)}, attrs...)
	all = append(all, slog.Duration("took", took.Round(time.Microsecond)))
	if err != nil {
		all = append(all, slog.String("reply", err.Error()))
	}
	o.log.LogAttrs(ctx, level, what, all...)
}

// describe takes down what the line will say before the stage changes the mail.
func describe(m *mail.Mail) []slog.Attr {
	attrs := make([]slog.Attr, 0, 6)
	if m.Peer.Addr.IsValid() {
		attrs = append(attrs, slog.String("peer", m.Peer.Addr.String()))
	}
	if m.Peer.User != "" {
		attrs = append(attrs, slog.String("user", m.Peer.User))
	}
	to := ""
	for i, r := range m.Envelope.To {
		if i == 3 {
			to += ", …"
			break
		}
		if i > 0 {
			to += ", "
		}
		to += r.String()
	}
	return append(attrs, slog.String("from", "<"+m.Envelope.From.String()+">"), slog.String("to", to),
		slog.Int("recipients", len(m.Envelope.To)), slog.Int64("size", m.Message.Size()))
}

func outcome(err error, good string) string {
	switch {
	case err == nil:
		return good
	case mail.IsPermanent(err):
		return "refused"
	default:
		return "deferred"
	}
}

// levelOf makes our own trouble stand out from what others did wrong.
func levelOf(err error) slog.Level {
	var r *mail.Refusal
	if errors.As(err, &r) {
		return slog.LevelInfo
	}
	return slog.LevelError
}

// courier carries mails behind the queue, and answers per recipient.
type courier interface {
	Carry(ctx context.Context, m *mail.Mail) []error
}

type observedCourier struct {
	o    *observer
	next courier
}

// Carry counts the outcomes; the queue logs them.
func (c observedCourier) Carry(ctx context.Context, m *mail.Mail) []error {
	start := time.Now()
	results := c.next.Carry(ctx, m)
	c.o.took.WithLabelValues("relay").Observe(time.Since(start).Seconds())
	for _, err := range results {
		if r, ok := err.(interface{ Relayed() bool }); ok && r.Relayed() {
			err = nil // an arrival too, see queue.Courier
		}
		c.o.ends.WithLabelValues(outcome(err, "delivered")).Inc()
	}
	return results
}
