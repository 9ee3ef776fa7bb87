package authority

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"stagecoach/repo"
	"stagecoach/rfc/dns"
)

// A Repository is where the zones are kept. *repo.Remote is one.
type Repository interface {
	Fetch(ctx context.Context) (*repo.Snapshot, error)
	Commit(ctx context.Context, base *repo.Snapshot, changes ...repo.Change) (*repo.Snapshot, error)
}

var (
	_ Repository = (*repo.Remote)(nil)
	_ packer     = (*repo.Remote)(nil)
)

// An Authority is a primary name server: it answers for zones, changes them by UPDATE, and
// hands them out. The fields are set before Load; Load comes before all else.
type Authority struct {
	Repo Repository
	// OpenTransfers lets anybody have whole zones; otherwise a key of the zone is needed.
	OpenTransfers bool
	// Resolver finds the addresses of name servers outside of our zones, to notify them; nil:
	// they are not notified.
	Resolver dns.Exchanger
	// NotifyPort is where secondaries listen; 0 is 53.
	NotifyPort uint16
	// Transfers bounds the whole zones that are handed out.
	Transfers TransferLimits
	// Signing signs the zones (DNSSEC); nil: none is signed.
	Signing *Signing
	// Poll is how often the repository is looked at, besides NOTIFYs; 0 is a minute.
	Poll time.Duration
	Log  *slog.Logger     // for what becomes of zones; nil is silence
	Now  func() time.Time // nil is time.Now

	now     atomic.Pointer[world]
	said    said
	write   sync.Mutex // held while the repository is fetched or committed to
	waiting updateQueue
	failing atomic.Bool
	replays replays
	started time.Time // what was signed before may be a replay of what an earlier process took
	tell    notifier

	transfers turns
}

var (
	_ dns.Exchanger        = (*Authority)(nil)
	_ dns.RecallingHandler = (*Authority)(nil)
)

// Load reads the repository for the first time. Zones that are broken are not served, which
// Problems tells; an error means that the repository cannot be read at all.
func (a *Authority) Load(ctx context.Context) error {
	if a.Log == nil {
		a.Log = slog.New(slog.DiscardHandler)
	}
	a.started = a.clock().Truncate(time.Second)
	a.now.Store(&world{zones: Zones{}, keys: Keys{}})
	if err := a.Reload(ctx); err != nil {
		return err
	}
	if h, ok := a.Repo.(historian); ok {
		// Nobody reads this world yet. Without the journal secondaries get whole zones.
		if err := a.now.Load().remember(ctx, h); err != nil && !errors.Is(err, repo.ErrNoHistory) {
			a.Log.Warn("authority: no journal", "err", err)
		}
	}
	return nil
}

// Reload reads the repository again, if it has changed. After an error all stays as it was.
func (a *Authority) Reload(ctx context.Context) error {
	a.write.Lock()
	defer a.write.Unlock()
	return a.pull(ctx)
}

func (a *Authority) pull(ctx context.Context) error {
	s, err := a.Repo.Fetch(ctx)
	if err != nil {
		if !a.failing.Swap(true) {
			a.Log.Error("authority: the repository cannot be read, the last state stays in service", "err", err)
		}
		return fmt.Errorf("reading the zones: %w", err)
	}
	if a.failing.Swap(false) {
		a.Log.Info("authority: the repository can be read again")
	}
	a.install(s, nil)
	return nil
}

// install puts a snapshot into service and tells the secondaries what is new. ready are the files
// that a commit of ours has changed, by zone; nil means that others may have done anything.
func (a *Authority) install(s *repo.Snapshot, ready map[string]*servedFile) {
	old := a.now.Load()
	if old.snapshot != nil && old.snapshot.Version == s.Version {
		return
	}
	var w *world
	if len(ready) > 0 {
		w = old.advance(s, ready, a.clock())
	}
	if w == nil {
		w = old.next(s, ready, a.Signing, a.clock())
		for _, p := range w.problems {
			a.Log.Warn("authority: "+p.String(), "version", s.Version)
		}
	}
	a.now.Store(w)
	for name, z := range w.zones {
		before := old.zones[name]
		if before == nil || before.Serial() != z.Serial() {
			a.Log.Info("authority: zone in service", "zone", dns.Host(name), "serial", z.Serial(), "version", s.Version)
			a.tell.changed(name)
		}
	}
	for name := range old.zones {
		if w.zones[name] == nil {
			a.Log.Warn("authority: zone no longer served", "zone", dns.Host(name))
		}
	}
}

func (a *Authority) clock() time.Time {
	if a.Now != nil {
		return a.Now()
	}
	return time.Now()
}

// Run reads the repository from time to time and sends NOTIFYs, until ctx ends.
func (a *Authority) Run(ctx context.Context) error {
	poll := a.Poll
	if poll <= 0 {
		poll = time.Minute
	}
	var wg sync.WaitGroup
	wg.Go(func() { a.notifyLoop(ctx) })
	wg.Go(func() { a.packLoop(ctx) })
	defer wg.Wait()
	t := time.NewTicker(poll)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			a.Reload(ctx) //nolint:errcheck // it is in the log, and tried again
			a.Renew(ctx)
			a.packFailed()
		}
	}
}

// Key finds a key by its name. It is Server.Keys.
func (a *Authority) Key(name string) (dns.Key, bool) {
	k, ok := a.now.Load().keys[name]
	return k.Key, ok
}

// Status returns what is in service.
func (a *Authority) Status() []ZoneStatus { return a.now.Load().status() }

// Problems returns what is wrong with the files of the version that was read last.
func (a *Authority) Problems() []Problem { return a.now.Load().problems }

// Healthy reports whether the repository could be read the last time, and no zone is stale.
func (a *Authority) Healthy() bool {
	if a.failing.Load() {
		return false
	}
	for _, f := range a.now.Load().files {
		if f.stale {
			return false
		}
	}
	return true
}

// Zone returns the zone of this name, as it is in service.
func (a *Authority) Zone(name string) (*Zone, bool) {
	z, ok := a.now.Load().zones[dns.Canonical(name)]
	return z, ok
}

// Exchange answers a query; UPDATEs, NOTIFYs and transfers need a Server.
func (a *Authority) Exchange(_ context.Context, q *dns.Msg) (*dns.Msg, error) {
	if len(q.Question) != 1 {
		return nil, errors.New("not one question")
	}
	if q.Opcode != dns.OpcodeQuery {
		return dns.NewResponse(q, dns.RcodeNotImplemented), nil
	}
	if isTransfer(q) {
		return dns.NewResponse(q, dns.RcodeRefused), nil
	}
	return a.now.Load().zones.Answer(q), nil
}

func isTransfer(q *dns.Msg) bool {
	t := q.Question[0].Qtype
	return t == dns.TypeAXFR || t == dns.TypeIXFR
}

// Quick answers queries, which takes no waiting.
func (a *Authority) Quick(r *dns.Request) *dns.Msg {
	q := r.Msg
	if q.Opcode != dns.OpcodeQuery || isTransfer(q) {
		return nil
	}
	if q.Question[0].Qtype == dns.TypeSOA && !r.Key.IsZero() {
		a.subscribe(r)
	}
	if r.Transport != dns.UDP {
		return a.now.Load().zones.answerFully(q)
	}
	return a.now.Load().zones.Answer(q)
}

// Serve answers all that is no plain query.
func (a *Authority) Serve(ctx context.Context, r *dns.Request, send func(*dns.Msg) error) error {
	switch {
	case r.Msg.Opcode == dns.OpcodeQuery && isTransfer(r.Msg):
		return a.transfer(ctx, r, send)
	case r.Msg.Opcode == dns.OpcodeQuery:
		return send(a.Quick(r))
	case r.Msg.Opcode == dns.OpcodeUpdate:
		if m := a.update(ctx, r); m != nil {
			return send(m)
		}
		return nil
	case r.Msg.Opcode == dns.OpcodeNotify:
		return send(a.notified(ctx, r))
	}
	return send(dns.NewResponse(r.Msg, dns.RcodeNotImplemented))
}
