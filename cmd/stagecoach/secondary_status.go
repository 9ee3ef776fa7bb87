package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stagecoach/name/authority"
)

// serveCopies answers zone status for a secondary.
func serveCopies(p *process, path string, s *authority.Secondary) {
	serveControl(p, path, func(_ context.Context, command, _ string) (out zoneAnswer) {
		if command != askForStatus {
			out.Error = fmt.Sprintf("%q is no command of a secondary", command)
			return out
		}
		out.Healthy, out.Copies, out.Problems = true, s.Status(), []string{}
		for _, c := range out.Copies {
			out.Healthy = out.Healthy && c.Live && c.Failures == 0
			if c.Error != "" {
				out.Problems = append(out.Problems, c.Name+": "+c.Error)
			}
		}
		return out
	})
}

func printCopies(w io.Writer, copies []authority.CopyStatus) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ZONE\tSERIAL\tRECORDS\tCHECKED\tEXPIRES\tSTATE")
	for _, c := range copies {
		state := "current"
		switch {
		case c.Checked.IsZero():
			state = "not there yet"
		case !c.Live:
			state = "expired"
		case c.Failures > 0:
			state = fmt.Sprintf("served, %d failures", c.Failures)
		}
		if c.Error != "" {
			state += ": " + printable(c.Error)
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%s\t%s\t%s\n", c.Name, c.Serial, c.Records, day(c.Checked), day(c.Expires), state)
	}
	return table.Flush()
}

// copyMetrics show under /metrics how it stands with the zones of a secondary.
type copyMetrics struct{ s *authority.Secondary }

// Describe leaves the series open.
func (copyMetrics) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (m copyMetrics) Collect(out chan<- prometheus.Metric) {
	gauge := func(name, help string, v float64, zone string) {
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, []string{"zone"}, nil), prometheus.GaugeValue, v, zone)
	}
	for _, c := range m.s.Status() {
		left := 0.0
		if c.Live {
			left = time.Until(c.Expires).Seconds()
		}
		gauge("stagecoach_zone_serial", "Serial in service.", float64(c.Serial), c.Name)
		gauge("stagecoach_zone_records", "Records in service.", float64(c.Records), c.Name)
		gauge("stagecoach_zone_left_seconds", "How long a copy is served if its primary says nothing; 0 where it is not served.", left, c.Name)
		gauge("stagecoach_zone_transfer_failures", "Failures to ask the primary since the last success.", float64(c.Failures), c.Name)
	}
}
