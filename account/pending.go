package account

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"stagecoach/mail"
)

// pendingFolder is where unconfirmed targets stand. The reference passes over folders.
const pendingFolder = ".unconfirmed/"

// pendingTargets reads which targets of a user's file are unconfirmed.
func (p *parser) pendingTargets(user string, data []byte) error {
	set := map[mail.Address]bool{}
	n := 0
	for line := range strings.Lines(string(data)) {
		n++
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		a, err := mail.ParseAddress(line)
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		if set[fold(a)] = true; len(set) > maxAddresses {
			return errors.New("too many addresses")
		}
	}
	p.pending[user] = set
	return nil
}

// setAside takes from each user the targets that nobody has confirmed.
func (p *parser) setAside() {
	if p.base.Trust {
		return
	}
	for _, u := range p.book.users {
		set := p.pending[u.File]
		if len(set) == 0 {
			continue
		}
		waits := func(t mail.Address) bool {
			return set[fold(t)] && !p.book.Hosts(t.Domain()) &&
				(p.base.Confirmed == nil || !p.base.Confirmed(u.address, t))
		}
		for _, t := range u.Targets {
			if waits(t) {
				u.Pending = append(u.Pending, t)
			}
		}
		u.Targets = slices.DeleteFunc(u.Targets, waits)
	}
}

// Believe sets Settings.Confirmed, and reads the accounts again by it. It is for who knows of
// confirmations before the files do.
func (d *Directory) Believe(confirmed func(user, target mail.Address) bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settings.Confirmed = confirmed
	return d.reread()
}

// Reread makes a new Book of the files that were read last, when Settings.Confirmed has other
// answers than before.
func (d *Directory) Reread() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.reread()
}

func (d *Directory) reread() error {
	if d.snapshot == nil {
		return nil
	}
	b, err := Parse(d.snapshot.Files, d.settings)
	if err != nil {
		return fmt.Errorf("accounts: %s: %w", d.source, err)
	}
	b.Version = d.snapshot.Version
	d.book.Store(b)
	return nil
}
