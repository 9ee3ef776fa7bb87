package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stagecoach/name/authority"
)

// A zoneReport is what a name server says of itself.
type zoneReport struct {
	Healthy  bool                   `json:"healthy"` // all zones are in service, as new as they are anywhere
	Zones    []authority.ZoneStatus `json:"zones"`
	Copies   []authority.CopyStatus `json:"copies,omitempty"` // of a secondary
	Problems []string               `json:"problems"`
}

func reportOf(a *authority.Authority) zoneReport {
	r := zoneReport{Healthy: a.Healthy(), Zones: a.Status(), Problems: []string{}}
	for _, problem := range a.Problems() {
		r.Problems = append(r.Problems, problem.String())
	}
	return r
}

func (r zoneReport) print(w io.Writer) error {
	if r.Copies != nil {
		return printCopies(w, r.Copies)
	}
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
