package signal

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"stagecoach/spam"
)

// How much is remembered, and how long.
const (
	maxSenders = 40000               // the least known go first
	halfLife   = 14 * 24 * time.Hour // of what was seen
	maxDaily   = 20                  // mails of one sender that count in a day
)

// How much mail must have been seen, and what its sender's name may weigh. Bad weighs more than good,
// which who wants to send spam could earn before.
const (
	minDomain, goodDomain, badDomain    = 4, -0.8, 2.0
	minNetwork, goodNetwork, badNetwork = 12, -0.2, 0.6
)

// A Reputation is what was thought of earlier mail, by the domain that vouches for it and by the network
// that it came from. A domain is believed only when it is authenticated, so nobody can spoil another's.
// It is safe for concurrent use.
type Reputation struct {
	Now func() time.Time // nil: time.Now

	mu      sync.Mutex
	senders map[string]tally
	changed bool
}

// A tally is what was seen of one sender, faded to the time at.
type tally struct {
	good, bad float64
	at        int64 // Unix seconds
	today     int   // mails that counted on the day of at
}

const day = 24 * 60 * 60

func (t tally) fade(now int64) tally {
	if now > t.at {
		f := math.Exp2(-float64(now-t.at) / halfLife.Seconds())
		t.good, t.bad = t.good*f, t.bad*f
		if now/day != t.at/day {
			t.today = 0
		}
		t.at = now
	}
	return t
}

func (r *Reputation) now() int64 {
	if r.Now != nil {
		return r.Now().Unix()
	}
	return time.Now().Unix()
}

// Learn remembers what was thought of a mail for reasons other than its sender's reputation.
func (r *Reputation) Learn(s Source, isSpam bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	for _, key := range []string{s.domain(), s.network()} {
		if key == "" || len(key) > 255 || strings.ContainsAny(key, " \t\r\n") {
			continue
		}
		if r.senders == nil {
			r.senders = map[string]tally{}
		}
		t := r.senders[key].fade(now)
		if t.today++; t.today > maxDaily {
			continue
		}
		if isSpam {
			t.bad++
		} else {
			t.good++
		}
		r.senders[key] = t
		r.changed = true
	}
	if len(r.senders) > maxSenders {
		r.forget(now)
	}
}

// forget drops the quarter of which least is known.
func (r *Reputation) forget(now int64) {
	type known struct {
		key string
		n   float64
	}
	all := make([]known, 0, len(r.senders))
	for k, t := range r.senders {
		t = t.fade(now)
		all = append(all, known{k, t.good + t.bad})
	}
	slices.SortFunc(all, func(a, b known) int { return cmp.Or(cmp.Compare(a.n, b.n), strings.Compare(a.key, b.key)) })
	for _, k := range all[:len(all)/4] {
		delete(r.senders, k.key)
	}
}

// Evidence says what is known of a sender.
func (r *Reputation) Evidence(s Source) []spam.Evidence {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []spam.Evidence
	add := func(key, what string, atLeast, good, bad float64) {
		t, ok := r.senders[key]
		if key == "" || !ok {
			return
		}
		t = t.fade(r.now())
		n := t.good + t.bad
		if n < atLeast {
			return
		}
		w := max(min(math.Log((t.bad+1)/(t.good+1)), bad), good)
		kind := "good"
		if w > 0 {
			kind = "spam"
		}
		if math.Abs(w) < 0.1 {
			return
		}
		out = append(out, spam.Evidence{Text: "earlier mail " + what + " was mostly " + kind, Weight: w})
	}
	add(s.domain(), "of "+s.domain(), minDomain, goodDomain, badDomain)
	add(s.network(), "from the network "+s.network(), minNetwork, goodNetwork, badNetwork)
	return out
}

const reputationMagic = "stagecoach reputation 1"

// Load reads what Save wrote. A file that is not there is empty; lines that make no sense are left out.
func (r *Reputation) Load(file string) error {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	senders, err := readSenders(f)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.senders = senders
	return nil
}

func readSenders(in io.Reader) (map[string]tally, error) {
	lines := bufio.NewScanner(in)
	if !lines.Scan() || lines.Text() != reputationMagic {
		return nil, errors.New("this is no file of reputations")
	}
	senders := map[string]tally{}
	for lines.Scan() && len(senders) < maxSenders {
		var key string
		var t tally
		if _, err := fmt.Sscan(lines.Text(), &key, &t.good, &t.bad, &t.at, &t.today); err != nil || !(t.good >= 0 && t.bad >= 0 && t.good+t.bad < 1e6) || len(key) > 255 || t.today < 0 {
			continue
		}
		senders[key] = t
	}
	return senders, lines.Err()
}

// Save replaces a file, synced, if something has changed.
func (r *Reputation) Save(file string) error {
	r.mu.Lock()
	if !r.changed {
		r.mu.Unlock()
		return nil
	}
	var b strings.Builder
	fmt.Fprintln(&b, reputationMagic)
	for k, t := range r.senders {
		fmt.Fprintf(&b, "%s %.4g %.4g %d %d\n", k, t.good, t.bad, t.at, t.today)
	}
	r.changed = false
	r.mu.Unlock()
	err := replace(file, b.String())
	if err != nil {
		r.mu.Lock()
		r.changed = true
		r.mu.Unlock()
	}
	return err
}

func replace(file, text string) error {
	f, err := os.CreateTemp(filepath.Dir(file), ".reputation-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}
