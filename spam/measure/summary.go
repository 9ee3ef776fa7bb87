package measure

import (
	"fmt"
	"io"
	"math"
)

// A Summary is the mean over several splits. Shares are in per cent.
type Summary struct {
	Runs           int      `json:"runs"`
	FalsePositives Estimate `json:"false_positives_percent"`
	Misses         Estimate `json:"misses_percent"`
	AUC            Estimate `json:"one_minus_auc_percent"`
	MissesAt       Estimate `json:"misses_at_0.1_percent"`
	Unknown        Estimate `json:"unknown_percent"`
	LearnPerSecond float64  `json:"learn_per_second"`
	JudgePerSecond float64  `json:"judge_per_second"`
	Memory         float64  `json:"memory_megabytes"`
	Results        []Result `json:"results"`
}

// An Estimate is a mean, and how far off the true mean may be, at 95 %. Splits of one collection
// share mails, so the truth about other collections is less certain than that.
type Estimate struct {
	Mean float64 `json:"mean"`
	Plus float64 `json:"plus_minus"`
}

// Summarise puts results together.
func Summarise(results []Result) Summary {
	s := Summary{Runs: len(results), Results: results}
	share := func(of func(Result) (int, int)) Estimate {
		return estimate(results, func(r Result) float64 {
			n, all := of(r)
			return 100 * float64(n) / float64(max(all, 1))
		})
	}
	s.FalsePositives = share(func(r Result) (int, int) { return r.FalsePositives, r.Ham })
	s.Misses = share(func(r Result) (int, int) { return r.Misses, r.Spam })
	s.MissesAt = share(func(r Result) (int, int) { return r.MissesAt, r.Spam })
	s.Unknown = share(func(r Result) (int, int) { return r.Unknown, r.Ham + r.Spam })
	s.AUC = estimate(results, func(r Result) float64 { return r.AUC })
	for _, r := range results {
		s.LearnPerSecond += r.LearnPerSecond / float64(len(results))
		s.JudgePerSecond += r.JudgePerSecond / float64(len(results))
		s.Memory = max(s.Memory, r.MemoryMegabytes)
	}
	return s
}

func estimate(results []Result, of func(Result) float64) Estimate {
	var sum, squares float64
	for _, r := range results {
		sum += of(r)
	}
	n := float64(len(results))
	mean := sum / n
	for _, r := range results {
		squares += (of(r) - mean) * (of(r) - mean)
	}
	e := Estimate{Mean: mean}
	if n > 1 {
		e.Plus = 2 * math.Sqrt(squares/(n-1)/n)
	}
	return e
}

// Print writes the summary for people.
func (s Summary) Print(w io.Writer) error {
	r := s.Results[0]
	_, err := fmt.Fprintf(w, `%d run(s): learned %d mails, tested on %d good mails and %d spams
good mail called spam  %s %%
spam missed            %s %%
1 - AUC                %s %%
missed at 0.1 %%        %s %%   (at the cut-off where one good mail in a thousand is lost)
unknown                %s %%
speed                  %.0f mails/s judged, %.0f mails/s learned
memory                 %.1f MB
`, s.Runs, r.Learned, r.Ham, r.Spam, s.FalsePositives, s.Misses, s.AUC, s.MissesAt, s.Unknown, s.JudgePerSecond, s.LearnPerSecond, s.Memory)
	return err
}

// String writes the mean with its uncertainty.
func (e Estimate) String() string {
	if e.Plus == 0 {
		return fmt.Sprintf("%.4f", e.Mean)
	}
	return fmt.Sprintf("%.4f ± %.4f", e.Mean, e.Plus)
}
