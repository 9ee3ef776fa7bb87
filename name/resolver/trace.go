package resolver

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"stagecoach/rfc/dns"
)

// A Trace is what was done for one question, step by step, for people to read.
type Trace struct {
	mu    sync.Mutex
	start time.Time
	Steps []Step
}

// A Step is one thing that was done or found out.
type Step struct {
	After time.Duration // since the question
	Zone  string        // that it is about, "" for none
	Text  string
}

// maxSteps bounds a Trace.
const maxSteps = 2000

func (j *job) note(zone, format string, args ...any) {
	t := j.trace
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.Steps) < maxSteps {
		t.Steps = append(t.Steps, Step{time.Since(t.start), zone, fmt.Sprintf(format, args...)})
	}
}

func (j *job) noteFound(f *found, how string) {
	if j.trace == nil {
		return
	}
	text := fmt.Sprintf("%s %s: %s, %s", f.key.name, dns.TypeName(f.key.t), kindNames[f.kind], how)
	if f.from.IsValid() {
		text += fmt.Sprintf(" at %s", f.from)
	}
	if f.security != Unchecked {
		text += ", " + f.security.String()
	}
	j.note(f.zone, "%s", text)
}

// background returns a job of the resolver's own.
func (r *Resolver) background() (*job, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.Background(), r.Limits.Time)
	return &job{r: r, ctx: ctx}, cancel
}

// An Explanation is an answer with the reasons for it.
type Explanation struct {
	Response *dns.Msg
	Security Security
	Took     time.Duration
	Chain    []string // of trust, a line each
	Steps    []Step
}

// Explain answers q as Exchange does, and says how. It works the question out anew from what
// is remembered of its parts.
func (r *Resolver) Explain(ctx context.Context, q *dns.Msg) (*Explanation, error) {
	r.start()
	if m := r.refuse(q); m != nil {
		return &Explanation{Response: m}, nil
	}
	t := &Trace{start: time.Now()}
	w := wantOf(q)
	done := make(chan *result, 1)
	var chain []string
	go func() {
		res, _ := r.work(w, t) //nolint:errcheck // it returns none
		chain = (&job{r: r}).chains(w, res)
		done <- res
	}()
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case res := <-done:
		t.mu.Lock()
		defer t.mu.Unlock()
		return &Explanation{Response: r.reply(q, w, res), Security: res.security, Took: time.Since(t.start), Chain: chain, Steps: t.Steps}, nil
	}
}

// String writes the explanation for a person: the answer, whether it can be trusted, and the
// way to it.
func (e *Explanation) String() string {
	var b strings.Builder
	b.WriteString(dns.RcodeName(e.Response.Rcode))
	if e.Security != Unchecked {
		fmt.Fprintf(&b, ", %s", e.Security)
	}
	fmt.Fprintf(&b, ", after %v\n", e.Took.Round(time.Millisecond))
	for _, x := range dns.ExtendedErrors(e.Response) {
		fmt.Fprintf(&b, "  %s", x.Name())
		if x.Text != "" {
			fmt.Fprintf(&b, ": %s", x.Text)
		}
		b.WriteByte('\n')
	}
	for _, rr := range e.Response.Answer {
		fmt.Fprintf(&b, "%s\n", rr)
	}
	if len(e.Response.Answer) == 0 {
		for _, rr := range e.Response.Ns {
			fmt.Fprintf(&b, "%s\n", rr)
		}
	}
	if len(e.Chain) > 0 {
		fmt.Fprintf(&b, "\n%s\n", strings.Join(e.Chain, "\n"))
	}
	b.WriteString("\nHow it was found:\n")
	for _, s := range e.Steps {
		fmt.Fprintf(&b, "%6dms  %s\n", s.After.Milliseconds(), s.Text)
	}
	return b.String()
}
