// Package measure finds out how good the filter is on a collection of mail that it has not seen.
package measure

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"stagecoach/mail"
	"stagecoach/spam"
	"stagecoach/spam/corpus"
)

// Settings say what is learned and what is tested.
type Settings struct {
	Split         string // "random:SEED:PERCENT"; with Online the order is by its seed
	Chronological bool   // the older 70 in a hundred to learn, the newer to test
	Online        bool   // each mail is judged, and then learned
	Routes        bool   // also names of lists, hosts and correspondents
	Test          []corpus.Mail
	Model         *spam.Model // judge by this one, and learn nothing
}

// A Result is what was measured.
type Result struct {
	Learned         int     `json:"learned"`
	Ham             int     `json:"ham"`
	Spam            int     `json:"spam"`
	FalsePositives  int     `json:"false_positives"`  // good mail called spam
	Misses          int     `json:"misses"`           // spam not called spam
	CalledGood      int     `json:"called_good"`      // spam called good; the other misses are unknown
	Unknown         int     `json:"unknown"`          // of both
	AUC             float64 `json:"one_minus_auc"`    // per cent
	MissesAt        int     `json:"misses_at_0.1"`    // at the cut-off with one good mail in a thousand called spam
	LearnPerSecond  float64 `json:"learn_per_second"` // from file to model, calibration included
	JudgePerSecond  float64 `json:"judge_per_second"` // reading the files not included
	MemoryMegabytes float64 `json:"memory_megabytes"` // heap at its highest
}

// Run measures.
func Run(all []corpus.Mail, s Settings) (Result, error) {
	if s.Online {
		ordered, err := order(all, s)
		if err != nil {
			return Result{}, err
		}
		return online(ordered, s)
	}
	learn, test, err := split(all, s)
	if err != nil {
		return Result{}, err
	}
	var res Result
	model := s.Model
	if model == nil {
		start := time.Now()
		t := spam.Trainer{Routes: s.Routes}
		for _, m := range learn {
			msg, err := m.Message()
			if err != nil {
				return Result{}, err
			}
			if err := t.Add(msg, m.Spam); err != nil {
				return Result{}, err
			}
		}
		model = t.Model("measured")
		res.Learned, res.LearnPerSecond = t.Len(), float64(t.Len())/time.Since(start).Seconds()
	}
	return judge(res, model, test)
}

func judge(res Result, model *spam.Model, test []corpus.Mail) (Result, error) {
	j := &spam.Judge{Model: model}
	var scores []score
	var took time.Duration
	for _, m := range test {
		msg, err := m.Message()
		if err != nil {
			return Result{}, err
		}
		start := time.Now()
		v, err := j.Judge(msg, spam.Beside{})
		took += time.Since(start)
		if err != nil {
			return Result{}, err
		}
		scores = append(scores, score{v.Odds, m.Spam})
		res.count(v.Label, m.Spam)
	}
	res.JudgePerSecond = float64(len(test)) / took.Seconds()
	res.finish(scores)
	return res, nil
}

// online judges and learns in the order of the collection.
func online(all []corpus.Mail, s Settings) (Result, error) {
	var res Result
	var scores []score
	var took time.Duration
	l := spam.NewOnline(s.Routes)
	for _, m := range all {
		msg, err := m.Message()
		if err != nil {
			return Result{}, err
		}
		start := time.Now()
		odds, err := l.Learn(msg, m.Spam)
		took += time.Since(start)
		if err != nil {
			return Result{}, err
		}
		scores = append(scores, score{odds, m.Spam})
		label := spam.No
		if odds > 0 {
			label = spam.Yes
		}
		res.count(label, m.Spam)
	}
	res.Learned, res.LearnPerSecond = len(all), float64(len(all))/took.Seconds()
	res.JudgePerSecond = res.LearnPerSecond
	res.finish(scores)
	return res, nil
}

func (r *Result) count(l spam.Label, isSpam bool) {
	if isSpam {
		r.Spam++
	} else {
		r.Ham++
	}
	switch {
	case l == spam.Unknown:
		r.Unknown++
		if isSpam {
			r.Misses++
		}
	case isSpam && l == spam.No:
		r.Misses++
		r.CalledGood++
	case !isSpam && l == spam.Yes:
		r.FalsePositives++
	}
}

func (r *Result) finish(s []score) {
	r.AUC, r.MissesAt = area(s)
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	r.MemoryMegabytes = math.Round(float64(m.HeapSys)/(1<<20)*10) / 10
}

type score struct {
	odds float64
	spam bool
}

// area returns one minus the area under the curve of spam found over good mail lost, in per
// cent, and how many spams lie below the cut-off at which one good mail in a thousand lies above.
// Equal scores count half.
func area(s []score) (loss float64, misses int) {
	slices.SortStableFunc(s, func(a, b score) int {
		switch {
		case a.odds < b.odds:
			return -1
		case a.odds > b.odds:
			return 1
		}
		return 0
	})
	var ham, spam int
	for _, x := range s {
		if x.spam {
			spam++
		} else {
			ham++
		}
	}
	if ham == 0 || spam == 0 {
		return math.NaN(), 0
	}
	below, wrong := 0, 0.0
	for i := 0; i < len(s); {
		k, h, sp := i, 0, 0
		for ; k < len(s) && s[k].odds == s[i].odds; k++ {
			if s[k].spam {
				sp++
			} else {
				h++
			}
		}
		wrong += float64(sp) * (float64(ham-below-h) + float64(h)/2)
		below += h
		i = k
	}
	return wrong / float64(ham) / float64(spam) * 100, missesAt(s, ham/1000)
}

// missesAt counts the spams that are not above the good mail with so many above it.
func missesAt(s []score, allowed int) int {
	for i := len(s) - 1; i >= 0; i-- {
		if s[i].spam {
			continue
		}
		if allowed--; allowed < 0 {
			n := 0
			for _, x := range s {
				if x.spam && x.odds <= s[i].odds {
					n++
				}
			}
			return n
		}
	}
	return 0
}

// split says what is learned and what is tested.
func split(all []corpus.Mail, s Settings) (learn, test []corpus.Mail, err error) {
	switch {
	case s.Model != nil:
		return nil, all, nil
	case s.Test != nil:
		return all, s.Test, nil
	case s.Chronological:
		if err := chronological(all); err != nil {
			return nil, nil, err
		}
		n := len(all) * 7 / 10
		return all[:n], all[n:], nil
	}
	mixed, percent, err := shuffle(all, s.Split)
	if err != nil {
		return nil, nil, err
	}
	n := len(mixed) * percent / 100
	return mixed[:n], mixed[n:], nil
}

// order says in which order mails are learned one by one: as they came, or mixed by the seed.
func order(all []corpus.Mail, s Settings) ([]corpus.Mail, error) {
	if s.Chronological {
		return all, chronological(all)
	}
	mixed, _, err := shuffle(all, s.Split)
	return mixed, err
}

// shuffle mixes mails by the seed of a split, and returns its percentage.
func shuffle(all []corpus.Mail, split string) ([]corpus.Mail, int, error) {
	kind, rest, _ := strings.Cut(split, ":")
	seed, percent, ok := strings.Cut(rest, ":")
	a, errA := strconv.ParseUint(seed, 10, 64)
	b, errB := strconv.Atoi(percent)
	if kind != "random" || !ok || errA != nil || errB != nil || b <= 0 || b >= 100 {
		return nil, 0, fmt.Errorf("split %q: not random:SEED:PERCENT", split)
	}
	mixed := make([]corpus.Mail, len(all))
	for i, k := range rand.New(rand.NewPCG(a, 0)).Perm(len(all)) {
		mixed[i] = all[k]
	}
	return mixed, b, nil
}

// chronological sorts mails by the time at which the last server took them, or their Date.
func chronological(all []corpus.Mail) error {
	when := make(map[corpus.Mail]time.Time, len(all))
	for _, m := range all {
		msg, err := m.Message()
		if err != nil {
			return err
		}
		when[m] = arrival(msg)
	}
	if len(when) == 0 {
		return errors.New("the collection is empty")
	}
	slices.SortStableFunc(all, func(a, b corpus.Mail) int { return when[a].Compare(when[b]) })
	return nil
}

func arrival(m *mail.Message) time.Time {
	for f := range m.Header.Fields("Received") {
		v := f.Value()
		if i := strings.LastIndexByte(v, ';'); i >= 0 {
			if t, ok := parseDate(v[i+1:]); ok {
				return t
			}
		}
	}
	t, _ := parseDate(m.Header.Value("Date"))
	return t
}

func parseDate(s string) (time.Time, bool) {
	s, _, _ = strings.Cut(s, "(")
	s = strings.Join(strings.Fields(s), " ")
	for _, layout := range []string{"Mon, 2 Jan 2006 15:04:05 -0700", "2 Jan 2006 15:04:05 -0700", "Mon, 2 Jan 2006 15:04:05 MST", "2 Jan 2006 15:04:05 MST"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
