package traffic

import (
	"slices"
	"time"
)

// Latencies is a set of durations, sorted once the run is over.
type Latencies []time.Duration

func (l Latencies) sort() { slices.Sort(l) }

// Quantile returns the duration below which the share q of all lies (0.5 is the median, 1
// the longest); zero for an empty set. It counts every one: nothing is sampled.
func (l Latencies) Quantile(q float64) time.Duration {
	if len(l) == 0 {
		return 0
	}
	return l[min(len(l)-1, int(q*float64(len(l))))]
}
