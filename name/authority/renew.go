package authority

import (
	"context"
	"errors"
	"maps"
	"time"

	"stagecoach/repo"
	"stagecoach/rfc/dns"
)

// Renew makes new signatures where it is time, or where a roll-over goes on. Each zone gets a new
// serial by a commit of its own, so that secondaries follow. Run calls it.
func (a *Authority) Renew(ctx context.Context) {
	if a.Signing == nil {
		return
	}
	for zone := range a.now.Load().files {
		a.renew(ctx, zone)
	}
}

func (a *Authority) renew(ctx context.Context, zone string) {
	a.write.Lock()
	defer a.write.Unlock()
	w := a.now.Load()
	f := w.files[zone]
	if f == nil || f.epoch < 0 {
		return
	}
	a.watchParent(ctx, f)
	if !f.isDue(a.Signing, a.clock()) {
		return
	}
	err := a.raise(ctx, w, f)
	if errors.Is(err, repo.ErrMoved) {
		a.pull(ctx) //nolint:errcheck // it is in the log; the next round tries again
		return
	}
	if err == nil {
		return
	}
	// Signatures that expire are worse than secondaries that lag behind.
	a.Log.Error("authority: new signatures without a new serial", "zone", dns.Host(zone), "err", err)
	a.Signing.forget(zone)
	fresh := *f
	if err := fresh.sign(a.Signing, f, a.clock()); err != nil {
		a.Log.Error("authority: signing", "zone", dns.Host(zone), "err", err)
		return
	}
	next := *w
	next.files, next.zones, next.journal = maps.Clone(w.files), maps.Clone(w.zones), maps.Clone(w.journal)
	next.serve(zone, &fresh, w)
	next.journal[zone] = nil
	next.doubt(zone, fresh.zone.Serial())
	a.now.Store(&next)
}

// isDue reports whether it is time for other signatures.
func (f *servedFile) isDue(s *Signing, now time.Time) bool {
	return f.epoch != s.epochOf(now) || !f.keys.Equal(s.stamp(f.zone.Name)) || !f.due.IsZero() && !now.Before(f.due)
}

// raise commits a new serial.
func (a *Authority) raise(ctx context.Context, w *world, f *servedFile) error {
	if f.stale {
		return errStale
	}
	serial := nextSerial(f.zone.Serial(), a.clock())
	want, err := f.parsed.after(delta{}, serial)
	if err != nil {
		return err
	}
	next, err := f.parsed.edit(delta{}, serial, want)
	if err != nil {
		return err
	}
	s, err := a.Repo.Commit(ctx, w.snapshot, repo.Change{
		Files:   map[string][]byte{f.name: []byte(next.text)},
		Message: "renewed the signatures of " + dns.Host(f.zone.Name) + "\n",
		Name:    "authority",
		Email:   "authority@" + dns.Host(f.zone.Name),
		When:    a.clock(),
	})
	if err != nil {
		return err
	}
	a.install(s, nil)
	return nil
}

var errStale = errors.New("the file in the repository is broken")
