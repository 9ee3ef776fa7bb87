package main

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"

	"stagecoach/account"
	"stagecoach/mail"
	"stagecoach/spam/teach"
	"stagecoach/stage/confirm"
	"stagecoach/stage/filter"
	"stagecoach/stage/hold"
	teacher "stagecoach/stage/teach"
)

// taughtOptions are of what users decide, and both chains have to know.
type taughtOptions struct {
	Model   string `toml:"model" help:"Model file (default: the one in the binary); SIGHUP reads it again." placeholder:"FILE"`
	Lessons string `toml:"lessons" help:"Folder of what users taught (default: in the state folder of the service; without one nothing is taught)." placeholder:"DIR"`
	Held    string `toml:"held" help:"Folder of held mail (default: in the state folder of the service; without one nothing is held)." placeholder:"DIR"`
}

type spamOptions struct {
	taughtOptions `embed:""`

	Reject []string `toml:"reject" help:"Refuse spam of this probability or more while its sender is on the line: 0.999 for all, DOMAIN=0.99, or USER@DOMAIN=0.99; 'never' for a number excepts. Without it nothing is refused." placeholder:"[WHOM=]PROBABILITY"`

	Hold      []string `toml:"hold" help:"Hold spam of this probability or more back, and tell its readers in a digest; written as for reject. Without it 0.999 for all; \"never\" holds nothing." placeholder:"[WHOM=]PROBABILITY"`
	HeldFor   Duration `toml:"held_for" help:"How long a held mail is kept. Its reader is told before it goes." default:"30d"`
	HeldMails int      `toml:"held_mails" help:"Mails held for one user. When there are more, spam is forwarded with its label." default:"500"`
	HeldSize  Size     `toml:"held_size" help:"Octets held for one user." default:"200M"`
	Digest    string   `toml:"digest" help:"When users are told what was held, by the clock of this machine; or never." default:"07:00" placeholder:"HH:MM"`

	BlockLists []string `toml:"block_lists" help:"DNS lists of addresses that send spam, asked by our own resolver for where a mail came from: zen.spamhaus.org. Mind their terms." placeholder:"ZONE"`
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
		s.User = readers(accounts, false)
	}
	return s, nil
}

// readers names the user who gets the mail to an address, in small letters; with receiving only one
// who can get it now.
func readers(accounts *account.Directory, receiving bool) func(mail.Address) (string, bool) {
	return func(a mail.Address) (string, bool) {
		u, ok := accounts.Book().Lookup(a)
		if !ok || receiving && !u.Receives() {
			return "", false
		}
		return strings.ToLower(u.Address().String()), true
	}
}

// filter makes the stage that labels mail.
func (p *process) filter(judge *filter.Spam, o spamOptions, next mail.Handler) (*filter.Filter, error) {
	reject, err := probabilities("reject", o.Reject)
	if err != nil {
		return nil, err
	}
	if limit := reject; limit != nil { // an answer to us is not judged
		reject = func(a mail.Address) float64 {
			if hold.Like(a) || confirm.Like(a) {
				return never
			}
			return limit(a)
		}
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

// lessons makes what stands behind a submission server of its own: what users teach goes to the folder
// of lessons, and what they release is marked in that of held mail, where these are named. takes is for
// the gate.
func (p *process) lessons(id identityOptions, taught taughtOptions, accounts *account.Directory, next mail.Handler) (h mail.Handler, takes func(mail.Address) bool, err error) {
	nobody := func(mail.Address) bool { return false }
	if taught.Lessons == "" && taught.Held == "" {
		return next, nobody, nil
	}
	o := spamOptions{taughtOptions: taught, Digest: "never"}
	judge, err := p.spamJudge(id, o, "", accounts)
	if err != nil {
		return nil, nil, err
	}
	releases, teaches := nobody, nobody
	if o.Held != "" {
		holder, err := p.released(o, "", readers(accounts, true), judge)
		if err != nil {
			return nil, nil, err
		}
		next, releases = holder.Releases(next), holder.Takes
	}
	if o.Lessons != "" {
		t := p.teacher(accounts, judge, next)
		next, teaches = p.obs.stage("teach", false, t), t.Teaches
	}
	return next, func(a mail.Address) bool { return releases(a) || teaches(a) }, nil
}

// never is a probability that nothing has.
const never = 2

// probabilities reads from which probability on something is done with spam to whom: the most
// particular rule holds. Without rules it is nil.
func probabilities(what string, rules []string) (func(mail.Address) float64, error) {
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
			var err error
			if limit, err = strconv.ParseFloat(number, 64); err != nil || !(limit >= 0.5 && limit <= 1) {
				return nil, fmt.Errorf("filter %s %q: the probability is a number from 0.5 to 1, or never", what, rule)
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
