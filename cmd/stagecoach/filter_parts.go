package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"stagecoach/account"
	"stagecoach/mail"
	"stagecoach/spam/teach"
	"stagecoach/stage/filter"
	teacher "stagecoach/stage/teach"
)

type spamOptions struct {
	Model   string   `toml:"model" help:"Model file (default: the one in the binary); SIGHUP reads it again." placeholder:"FILE"`
	Lessons string   `toml:"lessons" help:"Folder of what users taught (default: in the state folder of the service; without one nothing is taught)." placeholder:"DIR"`
	Reject  []string `toml:"reject" help:"Refuse spam of this probability or more while its sender is on the line: 0.999 for all, DOMAIN=0.99, or USER@DOMAIN=0.99; 'never' for a number excepts. Without it spam is only labelled." placeholder:"[WHOM=]PROBABILITY"`
}

// spamJudge makes what judges mail. accounts may be nil; folder is where lessons are unless the
// options say.
func (p *process) spamJudge(id identityOptions, o spamOptions, folder string, accounts *account.Directory) (*filter.Spam, error) {
	s := &filter.Spam{ID: id.Name}
	load := func(context.Context) error {
		m, err := openModel(o.Model)
		if err == nil {
			s.Use(m)
		}
		return err
	}
	if err := load(p.front); err != nil {
		return nil, fmt.Errorf("spam filter: %w", err)
	}
	if o.Model != "" {
		p.hangup("spam model", load)
	}
	if o.Lessons != "" {
		folder = o.Lessons
	}
	if folder != "" {
		var err error
		if s.Lessons, err = teach.Open(folder); err != nil {
			return nil, fmt.Errorf("spam filter: %w", err)
		}
	}
	if accounts != nil {
		s.User = func(a mail.Address) (string, bool) {
			u, ok := accounts.Book().Lookup(a)
			if !ok {
				return "", false
			}
			return strings.ToLower(u.Address().String()), true
		}
	}
	return s, nil
}

// filter makes the stage that labels mail.
func (p *process) filter(judge *filter.Spam, o spamOptions, next mail.Handler) (*filter.Filter, error) {
	reject, err := rejection(o.Reject)
	if err != nil {
		return nil, err
	}
	return &filter.Filter{
		Classifier: judge, Next: next, Reject: reject,
		Judged: func(ctx context.Context, v filter.Verdict) {
			p.log.LogAttrs(ctx, slog.LevelInfo, "judged", slog.String("id", mail.Trace(ctx)), slog.String("stage", "filter"),
				slog.String("label", string(v.Label)), slog.Float64("probability", v.Probability), slog.String("reasons", strings.Join(v.Reasons, "; ")))
		},
		Trouble: func(ctx context.Context, err error) {
			p.log.ErrorContext(ctx, "not classified", "id", mail.Trace(ctx), "stage", "filter", "error", err.Error())
		},
	}, nil
}

// teacher makes the stage to which users forward what they want the filter to learn.
func (p *process) teacher(accounts *account.Directory, judge *filter.Spam, next mail.Handler) *teacher.Teacher {
	return &teacher.Teacher{
		Accounts: accounts, Lessons: judge.Lessons, Judge: judge.Judge, Next: next,
		Trouble: func(ctx context.Context, err error) {
			p.log.ErrorContext(ctx, "correspondents not remembered", "id", mail.Trace(ctx), "stage", "teach", "error", err.Error())
		},
	}
}

// never is a probability that nothing has.
const never = 2

// rejection reads who refuses what: the most particular rule holds.
func rejection(rules []string) (func(mail.Address) float64, error) {
	if len(rules) == 0 {
		return nil, nil
	}
	limits := map[string]float64{}
	for _, rule := range rules {
		whom, number, ok := strings.Cut(rule, "=")
		if !ok {
			whom, number = "", rule
		}
		limit := float64(never)
		if number != "never" {
			if _, err := fmt.Sscanf(number, "%g", &limit); err != nil || limit < 0.5 || limit > 1 {
				return nil, fmt.Errorf("filter reject %q: the probability is a number from 0.5 to 1, or never", rule)
			}
		}
		limits[strings.ToLower(whom)] = limit
	}
	return func(a mail.Address) float64 {
		for _, key := range []string{strings.ToLower(a.String()), a.Domain(), ""} {
			if limit, ok := limits[key]; ok {
				return limit
			}
		}
		return never
	}, nil
}
