package confirm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"stagecoach/mail"
)

// A Ledger remembers, in one file, who was asked how often, and who has confirmed what the files
// of accounts do not know yet. It is safe for concurrent use by one process.
type Ledger struct {
	file string

	mu   sync.Mutex
	rows map[pair]row
}

type row struct {
	asked int
	last  time.Time // zero: never
	yes   time.Time // zero: not confirmed, or known to the files
}

// A ledgerRow is a row as it stands in the file.
type ledgerRow struct {
	User      mail.Address `json:"user"`
	Target    mail.Address `json:"target"`
	Asked     int          `json:"asked,omitempty"`
	Last      time.Time    `json:"last,omitzero"`
	Confirmed time.Time    `json:"confirmed,omitzero"`
}

// keep is how long it is remembered that somebody was asked.
const keep = 180 * 24 * time.Hour

// OpenLedger reads the file, which need not be there yet. Its folder must.
func OpenLedger(file string) (*Ledger, error) {
	l := &Ledger{file: file, rows: map[pair]row{}}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return nil, err
	}
	var rows []ledgerRow
	if err := json.Unmarshal(text, &rows); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	for _, r := range rows {
		l.rows[pairOf(r.User, r.Target)] = row{r.Asked, r.Last, r.Confirmed}
	}
	return l, nil
}

// pairOf makes a pair that compares without case.
func pairOf(user, target mail.Address) pair { return pair{lower(user), lower(target)} }

func lower(a mail.Address) mail.Address {
	if b, err := mail.NewAddress(strings.ToLower(a.Local()), a.Domain()); err == nil {
		return b
	}
	return a
}

// Confirmed reports whether a target was confirmed. It fits account.Settings.
func (l *Ledger) Confirmed(user, target mail.Address) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.rows[pairOf(user, target)].yes.IsZero()
}

// confirmed returns all pairs that the files do not know yet.
func (l *Ledger) confirmed() (out []pair) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p, r := range l.rows {
		if !r.yes.IsZero() {
			out = append(out, p)
		}
	}
	return out
}

// due reports whether it is time to ask.
func (l *Ledger) due(p pair, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.rows[pairOf(p.user, p.target)]
	return r.yes.IsZero() && r.asked < MaxAsked && (r.last.IsZero() || now.Sub(r.last) >= AskAgain)
}

// ask counts a question, and returns which it is.
func (l *Ledger) ask(p pair, now time.Time) (times int, err error) {
	err = l.change(p, func(r *row) {
		r.asked++
		r.last = now
		times = r.asked
	})
	return times, err
}

// unask takes back a question that could not be sent; the next attempt is a day later all the
// same when the disk does not take this either.
func (l *Ledger) unask(p pair) error {
	return l.change(p, func(r *row) {
		r.asked--
		r.last = time.Time{}
	})
}

func (l *Ledger) confirm(p pair, now time.Time) error {
	return l.change(p, func(r *row) { r.yes = now })
}

// forget is for what the files know now.
func (l *Ledger) forget(p pair) error {
	return l.change(p, func(r *row) { r.yes = time.Time{} })
}

// change changes one row on disk first, then here.
func (l *Ledger) change(p pair, f func(*row)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	p = pairOf(p.user, p.target)
	old, there := l.rows[p]
	r := old
	f(&r)
	l.rows[p] = r
	if err := l.write(); err != nil {
		if l.rows[p] = old; !there {
			delete(l.rows, p)
		}
		return fmt.Errorf("confirmations: %w", err)
	}
	return nil
}

// write replaces the file whole and synced. Rows that nobody needs are left away.
func (l *Ledger) write() error {
	latest := time.Time{}
	for _, r := range l.rows {
		if r.last.After(latest) {
			latest = r.last
		}
	}
	rows := []ledgerRow{}
	for p, r := range l.rows {
		if r.yes.IsZero() && (r.asked <= 0 || latest.Sub(r.last) > keep) {
			continue
		}
		rows = append(rows, ledgerRow{p.user, p.target, r.asked, r.last, r.yes})
	}
	slices.SortFunc(rows, func(a, b ledgerRow) int {
		return strings.Compare(a.User.String()+" "+a.Target.String(), b.User.String()+" "+b.Target.String())
	})
	text, err := json.MarshalIndent(rows, "", "  ")
	if err != nil {
		return err
	}
	return replace(l.file, append(text, '\n'))
}

func replace(name string, text []byte) error {
	dir := filepath.Dir(name)
	tmp, err := os.CreateTemp(dir, ".confirmations-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(text)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), name); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
