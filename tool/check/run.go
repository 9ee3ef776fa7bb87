package check

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options of Run.
type Options struct {
	Only []string // names of the checks to make; none: all
	Skip []string // names of checks to leave out
	// Time bounds all of it; 0 is 60 s. What is not known then is Unknown.
	Time time.Duration
	// Progress, if any, is told the checks that are not finished, whenever one is. It is called
	// by one goroutine at a time.
	Progress func(waiting []string)
}

// Validate says which names are no checks.
func (o Options) Validate() error {
	known := IDs()
	for _, id := range slices.Concat(o.Only, o.Skip) {
		if !slices.Contains(known, id) {
			return fmt.Errorf("%q is no check; there are: %s", id, strings.Join(known, ", "))
		}
	}
	return nil
}

func (o Options) wants(id string) bool {
	return (len(o.Only) == 0 || slices.Contains(o.Only, id)) && !slices.Contains(o.Skip, id)
}

// Run makes the checks, all at the same time. It fails only where the options make no sense.
func Run(ctx context.Context, e *Env, t Target, o Options) (*Report, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	env := e.withDefaults()
	limit := o.Time
	if limit <= 0 {
		limit = time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	start := time.Now()
	report := &Report{Version: SchemaVersion, Domain: t.Domain, Time: env.Now().UTC().Truncate(time.Second)}
	r := &round{options: o, look: newLook(ctx, env, t), done: map[string]chan struct{}{}, found: map[string]*findings{}}
	r.choose()
	r.work(ctx)
	for _, c := range r.checks {
		if o.wants(c.ID) {
			report.Lines = append(report.Lines, r.found[c.ID].lines...)
		}
	}
	report.Result, report.Took = result(report.Lines), time.Since(start).Round(time.Millisecond).Seconds()
	return report, nil
}

// A round is one run of the checks.
type round struct {
	options Options
	look    *look
	checks  []Check // those that are wanted, and those that they judge
	done    map[string]chan struct{}
	found   map[string]*findings

	mu      sync.Mutex
	waiting []string
}

// choose finds the checks to make: also those which others that are wanted judge, unless they
// are to be left out.
func (r *round) choose() {
	needed := map[string]bool{}
	all := Checks()
	for _, c := range all {
		if r.options.wants(c.ID) {
			needed[c.ID] = true
			for _, id := range c.after {
				needed[id] = !slices.Contains(r.options.Skip, id)
			}
		}
	}
	for _, c := range all {
		if needed[c.ID] {
			r.checks = append(r.checks, c)
			r.waiting = append(r.waiting, c.ID)
			r.done[c.ID] = make(chan struct{})
			r.found[c.ID] = &findings{check: c, shown: r.options.wants}
		}
	}
}

func (r *round) work(ctx context.Context) {
	var all sync.WaitGroup
	r.progress("")
	for _, c := range r.checks {
		all.Go(func() {
			f := r.found[c.ID]
			defer r.progress(c.ID)
			defer close(r.done[c.ID])
			for _, id := range c.after {
				if done := r.done[id]; done != nil {
					<-done
				}
			}
			if len(c.after) > 0 {
				f.judge(r.before(c))
				return
			}
			c.run(ctx, r.look, f)
			if len(f.lines) == 0 {
				f.unknown("", "nothing was found out")
			}
		})
	}
	all.Wait()
}

// before returns the lines of the checks that c judges. They are finished.
func (r *round) before(c Check) []Line {
	var out []Line
	for _, id := range c.after {
		if f := r.found[id]; f != nil {
			out = append(out, f.lines...)
		}
	}
	return out
}

func (r *round) progress(finished string) {
	if r.options.Progress == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = slices.DeleteFunc(r.waiting, func(id string) bool { return id == finished })
	r.options.Progress(slices.Clone(r.waiting))
}
