package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stagecoach/name/authority"
)

// A zoneReport is what a primary says of itself, as JSON, to whoever connects to its socket.
type zoneReport struct {
	Healthy  bool                   `json:"healthy"` // the repository can be read, and no zone is stale
	Zones    []authority.ZoneStatus `json:"zones"`
	Problems []string               `json:"problems"`
}

func reportOf(a *authority.Authority) zoneReport {
	r := zoneReport{Healthy: a.Healthy(), Zones: a.Status(), Problems: []string{}}
	for _, problem := range a.Problems() {
		r.Problems = append(r.Problems, problem.String())
	}
	return r
}

// serveStatus answers zone status; no path is no socket. Without it names are served all the same.
func serveStatus(p *process, path string, a *authority.Authority) {
	if path == "" {
		return
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		p.log.Warn("zone status has no socket", "err", err)
		return
	}
	l, err := listen(p.front, "unix:"+path)
	if err != nil {
		p.log.Warn("zone status has no socket", "err", err)
		return
	}
	p.behind("status", func(ctx context.Context) error {
		stop := context.AfterFunc(ctx, func() { l.Close() })
		defer stop()
		for {
			c, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return nil
			}
			if err != nil {
				return err
			}
			c.SetDeadline(time.Now().Add(5 * time.Second)) //nolint:errcheck // then the write fails
			json.NewEncoder(c).Encode(reportOf(a))         //nolint:errcheck // who asked has gone
			c.Close()
		}
	})
}

// askStatus asks the primary behind a socket.
func askStatus(ctx context.Context, path string) (zoneReport, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return zoneReport{}, fmt.Errorf("no primary answers at its socket: %w", err)
	}
	defer c.Close()
	if t, ok := ctx.Deadline(); ok {
		c.SetDeadline(t) //nolint:errcheck // then the read fails
	}
	var r zoneReport
	if err := json.NewDecoder(c).Decode(&r); err != nil {
		return r, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

func (r zoneReport) print(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ZONE\tSERIAL\tRECORDS\tSINCE\tSTATE")
	for _, z := range r.Zones {
		state := "current"
		if z.Stale {
			state = "stale: the repository has a newer text that is broken"
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%s\t%s\n", z.Name, z.Serial, z.Records, z.Since.Format(time.DateTime), state)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, problem := range r.Problems {
		fmt.Fprintln(w, problem)
	}
	return nil
}

// zoneMetrics show under /metrics what is in service.
type zoneMetrics struct{ a *authority.Authority }

// Describe leaves the series open, as zones come and go.
func (zoneMetrics) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (m zoneMetrics) Collect(out chan<- prometheus.Metric) {
	gauge := func(name, help string, v float64, labels ...string) {
		var keys []string
		if len(labels) > 0 {
			keys = []string{"zone"}
		}
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, keys, nil), prometheus.GaugeValue, v, labels...)
	}
	truth := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	gauge("stagecoach_zones_healthy", "Whether the repository can be read and no zone is stale.", truth(m.a.Healthy()))
	gauge("stagecoach_zone_problems", "What is wrong with the files of the repository, warnings too.", float64(len(m.a.Problems())))
	for _, z := range m.a.Status() {
		gauge("stagecoach_zone_serial", "Serial in service.", float64(z.Serial), z.Name)
		gauge("stagecoach_zone_records", "Records in service.", float64(z.Records), z.Name)
		gauge("stagecoach_zone_stale", "Whether the repository has a newer text that is broken.", truth(z.Stale), z.Name)
	}
}
