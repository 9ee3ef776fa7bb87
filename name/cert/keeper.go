package cert

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"stagecoach/rfc/dns"
)

// A Keeper holds the certificate of a server, and keeps it current: it writes the request into
// the zone, looks for the certificate there, every hour and whenever the zone changes, and
// shows it to new sessions. What it shows is never replaced by something worse. Until there is
// a certificate it shows one that it made itself.
//
// The fields are set before Load; Load comes before all else.
type Keeper struct {
	Names   []string      // in the certificate; the first one names the record and the files
	Key     crypto.Signer // for the certificate
	Plain   bool          // makes the request as the reference does; see Request
	Zone    string        // that holds the names
	Primary Primary
	// Dir keeps the last good certificate with its key, and what was asked for, over restarts;
	// "" for nowhere. Nobody else may read it.
	Dir string
	// Pins are names, as _25._tcp.mx.example.org, at which TLSA records "3 1 1" for the key are
	// published (DANE, RFC 7672): before a new key is used, and removed when an old one is out
	// of every cache.
	Pins []string
	// Every is how often to look; 0 is an hour.
	Every time.Duration
	// Changed is called with every certificate that is shown, the first one too; nil for nobody.
	Changed func(*tls.Certificate)
	Log     *slog.Logger     // nil is silence
	Now     func() time.Time // nil is time.Now

	request *request
	current atomic.Pointer[shown]
	wake    chan struct{}

	mu    sync.Mutex // held while it looks
	note  note
	alarm string
	told  map[string]time.Time // when an alarm was last in the log
	began time.Time            // when it was looked at first
}

// A shown is what new sessions see.
type shown struct {
	pair     *tls.Certificate
	leaf     *x509.Certificate
	selfMade bool
}

// Load reads what was kept, or makes a certificate of its own, so that something can be shown
// at once.
func (k *Keeper) Load() error {
	if k.Log == nil {
		k.Log = slog.New(slog.DiscardHandler)
	}
	if k.Every <= 0 {
		k.Every = time.Hour
	}
	k.wake = make(chan struct{}, 1)
	if len(k.Names) == 0 || strings.HasPrefix(k.Names[0], "*") {
		return errors.New("certificate: the first name must be that of a host")
	}
	for _, n := range append(append([]string(nil), k.Names...), k.Pins...) {
		if !dns.IsSubdomain(k.Zone, n) {
			return fmt.Errorf("certificate: %s is not in the zone %s, which the DNS key may change", n, dns.Host(k.Zone))
		}
	}
	if err := k.restore(); err != nil {
		return fmt.Errorf("certificate of %s: %w", k.host(), err)
	}
	return nil
}

func (k *Keeper) host() string { return dns.Host(k.Names[0]) }

func (k *Keeper) now() time.Time {
	if k.Now != nil {
		return k.Now()
	}
	return time.Now()
}

// GetCertificate is for tls.Config. It never fails.
func (k *Keeper) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return k.current.Load().pair, nil
}

// A KeeperStatus says how a certificate is.
type KeeperStatus struct {
	Names    []string
	SelfMade bool // no authority has signed it
	NotAfter time.Time
	Left     time.Duration // until then; negative when it has expired
	Alarm    string        // what is wrong, "" for nothing
}

// Status returns what is shown at present.
func (k *Keeper) Status() KeeperStatus {
	s := k.current.Load()
	k.mu.Lock()
	defer k.mu.Unlock()
	return KeeperStatus{k.request.names, s.selfMade, s.leaf.NotAfter, s.leaf.NotAfter.Sub(k.now()), k.alarm}
}

// show has new sessions see a certificate. Sessions that are open keep what they have.
func (k *Keeper) show(s *shown) {
	k.current.Store(s)
	if k.Changed != nil {
		k.Changed(s.pair)
	}
}

// Run looks until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		follow(ctx, k.Primary, k.Zone, k.Every, k.Wake, func(err error) {
			k.Log.Debug("certificate: changes of the zone are not told, it is looked at from time to time", "zone", dns.Host(k.Zone), "err", err)
		})
	})
	failures, waits := 0, 0
	for {
		err := k.Look(ctx)
		if ctx.Err() != nil {
			return nil
		}
		pause := k.Every
		switch {
		case err != nil:
			k.Log.Warn("certificate: looking for it failed", "host", k.host(), "err", err)
			pause = min(firstPause<<min(failures, 12), k.Every)
			failures++
		case k.waiting():
			failures = 0
			pause = min(waitPause(waits), k.Every)
			waits++
		default:
			failures, waits = 0, 0
		}
		await(ctx, k.wake, pause)
	}
}

// waitPause is how long to wait for a certificate after n looks: as the reference does for its
// ten tries, then longer each time, up to five minutes.
func waitPause(n int) time.Duration {
	return min(firstPause<<min(max(n-9, 0), 10), maxPause)
}

// waiting reports whether what is shown is not what we want to show.
func (k *Keeper) waiting() bool {
	s := k.current.Load()
	return s.selfMade || k.request.fits(s.leaf, k.now()) != ""
}

// Wake has Run look soon.
func (k *Keeper) Wake() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// Look reads what stands in the zone, shows a better certificate if there is one, and writes
// the request where it is missing. An error means that the zone could not be read or written;
// what is shown stays.
func (k *Keeper) Look(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	k.alarm = ""
	if k.began.IsZero() {
		k.began = k.now()
	}
	defer k.warn()
	err := k.pin(ctx)
	for _, owner := range k.consents() { // first, since the issuer looks for them
		s, lookErr := k.look(ctx, owner)
		if lookErr != nil {
			return errors.Join(err, lookErr)
		}
		err = errors.Join(err, k.ask(ctx, s, true))
	}
	s, lookErr := k.look(ctx, Owner(k.host()))
	if lookErr != nil {
		return errors.Join(err, lookErr)
	}
	return errors.Join(err, k.ask(ctx, s, k.pickUp(s)))
}

// consents are the names at which the request stands besides that of the host: those that the
// host does not cover.
func (k *Keeper) consents() []string {
	var out []string
	for _, n := range k.request.names {
		if n = strings.TrimPrefix(n, "*."); !covers(k.host(), n) {
			out = append(out, Owner(n))
		}
	}
	return slices.Compact(out)
}

// covers reports whether a request at host may have a name without anybody else's consent.
func covers(host, name string) bool {
	return dns.IsSubdomain(host, strings.TrimPrefix(name, "*."))
}

func (k *Keeper) look(ctx context.Context, owner string) (*shelf, error) {
	records, err := dns.TLSA(ctx, k.Primary, owner)
	if err != nil && !dns.IsNegative(err) {
		return nil, fmt.Errorf("reading %s: %w", dns.Host(owner), err)
	}
	return readShelf(owner, records), nil
}

// pickUp shows the certificate on s if it is better than what is shown, and reports whether
// there is a good one.
func (k *Keeper) pickUp(s *shelf) bool {
	now := k.now()
	chain, why := s.best(k.request, now)
	if why != "" {
		k.raise("what stands in the zone cannot be used: " + why)
	}
	if chain == nil {
		return false
	}
	old := k.current.Load()
	leaf := chain[0]
	if !k.waiting() && !leaf.NotBefore.After(old.leaf.NotBefore) {
		return true
	}
	if until := k.pinned(old); now.Before(until) {
		k.Log.Info("certificate: a new key waits until its TLSA records are everywhere", "host", k.host(), "until", until)
		return true
	}
	pair := &tls.Certificate{PrivateKey: k.Key, Leaf: leaf}
	for _, c := range chain {
		pair.Certificate = append(pair.Certificate, c.Raw)
	}
	if err := k.keep(pair); err != nil {
		k.raise("it could not be kept: " + err.Error())
	}
	k.retire(old)
	k.show(&shown{pair: pair, leaf: leaf})
	k.Log.Info("certificate: a new one is shown", "host", k.host(), "names", strings.Join(k.request.names, " "),
		"issuer", leaf.Issuer.String(), "until", leaf.NotAfter)
	return true
}

// Warnings come when so much is left, and once a day.
const (
	shortLife = 10 * 24 * time.Hour
	warnEvery = 24 * time.Hour
	// The first certificate takes a moment; that it is not there yet is nothing to warn of.
	firstMinutes = 2 * time.Minute
)

// raise sets the alarm, and tells of it when it is new or a day has gone by.
func (k *Keeper) raise(what string) {
	now := k.now()
	if told, ok := k.told[what]; !ok || now.Sub(told) >= warnEvery {
		k.Log.Warn("certificate: "+what, "host", k.host(), "until", k.current.Load().leaf.NotAfter)
		if k.told == nil || len(k.told) > 50 {
			k.told = map[string]time.Time{}
		}
		k.told[what] = now
	}
	k.alarm = what
}

const noneYet = "there is none yet, a self-made one is shown"

// warn raises the alarm for a certificate that should have been renewed.
func (k *Keeper) warn() {
	s := k.current.Load()
	left := s.leaf.NotAfter.Sub(k.now())
	life := s.leaf.NotAfter.Sub(s.leaf.NotBefore)
	switch {
	case k.alarm != "":
	case s.selfMade && k.now().Sub(k.began) <= firstMinutes:
		k.alarm = noneYet
	case s.selfMade:
		k.raise(noneYet)
	case left <= 0:
		k.raise("it has expired and was not renewed")
	case left < min(shortLife, life/4):
		k.raise("it should have been renewed by now")
	}
}
