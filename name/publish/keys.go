package publish

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"stagecoach/rfc/dkim"
	"stagecoach/rfc/dns"
)

// A Key is a public key of the signer's.
type Key struct {
	Selector, Domain string
	Public           crypto.PublicKey // RSA or Ed25519
}

// Keys publishes DKIM keys at SELECTOR._domainkey.DOMAIN (RFC 6376 section 3.6), and says which
// of them the world can see. A key is ready once the name server has served it; it stays so,
// also over a restart where File remembers it, since signatures of yesterday must hold too.
//
// The fields are set before Load; Load comes before all else.
type Keys struct {
	Writer Writer
	// Zone is what the DNS key may change, "." for all; keys of other domains are left to people,
	// and are ready.
	Zone string
	Keys []Key
	// Servers has a key wait until all of them serve it; nil: until the Writer's server does.
	Servers *Servers
	File    string        // remembers which keys were served; "" for nowhere
	Every   time.Duration // between two looks at a key that is there; 0 is an hour
	Log     *slog.Logger  // nil is silence
	Now     func() time.Time

	mu      sync.Mutex
	entries map[string]*entry // by the name of the record, without a final dot
	changed chan struct{}     // closed at every change of an entry
}

// An entry is what is known of one record. Once made, want does not change.
type entry struct {
	want    Want
	id      string // of the key
	ready   bool
	since   time.Time // when it was served first
	written time.Time // when it was written last in place of another
	err     error     // of the last attempt
	wake    chan struct{}
}

// A KeyStatus says how it stands with one record.
type KeyStatus struct {
	Name  string // without a final dot
	Ready bool
	Since time.Time // when it was served first, zero for not yet
	Err   error     // of the last attempt, nil if it was a success
}

// Load makes the records and reads what is remembered.
func (k *Keys) Load() error {
	if k.Log == nil {
		k.Log = slog.New(slog.DiscardHandler)
	}
	if k.Now == nil {
		k.Now = time.Now
	}
	if k.Every <= 0 {
		k.Every = time.Hour
	}
	k.entries, k.changed = map[string]*entry{}, make(chan struct{})
	for _, key := range k.Keys {
		name := dkim.RecordName(key.Selector, key.Domain)
		want, id, err := wantKey(name, key.Public)
		if err != nil {
			return fmt.Errorf("DKIM key %s: %w", name, err)
		}
		if k.entries[name] != nil {
			return fmt.Errorf("DKIM key %s: two keys have this selector", name)
		}
		e := &entry{want: want, id: id, wake: make(chan struct{}, 1)}
		if !dns.IsSubdomain(k.Zone, name) {
			k.Log.Warn("publish: the record is not in the zone of the DNS key; publish it by hand", "record", want.RRs[0].String(), "zone", dns.Host(k.Zone))
			continue
		}
		k.entries[name] = e
	}
	return k.restore()
}

// wantKey returns the record of a key, and what tells keys apart.
func wantKey(name string, public crypto.PublicKey) (Want, string, error) {
	text, err := dkim.RecordText(public)
	if err != nil {
		return Want{}, "", err
	}
	if !dns.IsName(name) {
		return Want{}, "", errors.New("no domain name")
	}
	return Want{
		RRs: []dns.RR{TXT(name, text)},
		Served: func(ours []dns.RR) bool { // also as the reference has it, with the tags in another order
			return len(ours) == 1 && dkim.Holds(textOf(ours[0]), public)
		},
	}, text, nil
}

// Ready reports whether mail may be signed with a key: its record was served, or is not ours to
// publish.
func (k *Keys) Ready(selector, domain string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.entries[dkim.RecordName(selector, domain)]
	return e == nil || e.ready
}

// Wait returns when all keys are ready, or with the error of one that is not when ctx ends.
func (k *Keys) Wait(ctx context.Context) error {
	for {
		k.mu.Lock()
		changed, missing, err := k.changed, 0, error(nil)
		for _, e := range k.entries {
			if !e.ready {
				missing++
				err = errors.Join(err, e.err)
			}
		}
		k.mu.Unlock()
		if missing == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			if err == nil {
				err = fmt.Errorf("%d keys are not published: %w", missing, ctx.Err())
			}
			return err
		case <-changed:
		}
	}
}

// Status returns how it stands with all records, in the order of their names.
func (k *Keys) Status() []KeyStatus {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []KeyStatus
	for _, name := range slices.Sorted(maps.Keys(k.entries)) {
		e := k.entries[name]
		out = append(out, KeyStatus{name, e.ready, e.since, e.err})
	}
	return out
}

// Wake has Run look at all records soon.
func (k *Keys) Wake() {
	for _, e := range k.entries {
		select {
		case e.wake <- struct{}{}:
		default:
		}
	}
}

// The pauses after failures: doubled each time, up to the longest. Somebody has to mend what is
// refused, and need not restart us then.
const (
	firstPause = time.Second
	maxPause   = time.Minute
)

// Run publishes the keys and looks after them until ctx ends.
func (k *Keys) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for name, e := range k.entries {
		wg.Go(func() { k.tend(ctx, name, e) })
	}
	wg.Wait()
	return nil
}

func (k *Keys) tend(ctx context.Context, name string, e *entry) {
	told := ""
	for failures := 0; ; {
		err := k.publish(ctx, name, e)
		if ctx.Err() != nil {
			return
		}
		pause := k.Every
		if err == nil {
			failures, told = 0, ""
		} else {
			pause = min(firstPause<<min(failures, 10), maxPause)
			failures++
			var refusal *Refusal
			if s := err.Error(); s != told && errors.As(err, &refusal) {
				k.Log.Error("publish: somebody has to mend this", "record", name, "err", err)
			} else if s != told {
				k.Log.Warn("publish: the key is not published yet, it is tried again", "record", name, "err", err)
			}
			told = err.Error()
		}
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-e.wake:
			t.Stop()
			failures = 0
		case <-t.C:
		}
	}
}

// oncePer is how often a key that somebody has put in the place of ours is replaced, while we run:
// two signers with the same selector must not do that to each other for ever.
const oncePer = 24 * time.Hour

// publish sees that a record is served.
func (k *Keys) publish(ctx context.Context, name string, e *entry) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	err := k.write(ctx, name, e)
	if err == nil && k.Servers != nil && !k.isReady(e) {
		err = k.spread(ctx, name, e)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	e.err = err
	if err == nil && !e.ready {
		e.ready, e.since = true, k.Now()
		k.Log.Info("publish: the key is served", "record", name)
		if err := k.save(); err != nil {
			k.Log.Warn("publish: what is published could not be kept", "file", k.File, "err", err)
		}
	}
	close(k.changed)
	k.changed = make(chan struct{})
	return err
}

func (k *Keys) isReady(e *entry) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return e.ready
}

func (k *Keys) write(ctx context.Context, name string, e *entry) error {
	if !e.written.IsZero() && k.Now().Sub(e.written) < oncePer {
		have, err := k.Writer.Read(ctx, name, dns.TypeTXT)
		if err == nil && len(have) > 0 && !e.want.In(have) {
			return errors.New("another key has been put in the place of ours: does another signer have this selector?")
		}
	}
	before, changed, err := k.Writer.Put(ctx, e.want)
	if err != nil || !changed {
		return err
	}
	if len(before) == 0 {
		k.Log.Info("publish: the key was written", "record", name)
		return nil
	}
	e.written = k.Now()
	k.Log.Warn("publish: the key was written in place of another; receivers may remember that one for a while: a new key wants a new selector",
		"record", name, "seconds", before[0].Header().Ttl)
	return nil
}

func (k *Keys) spread(ctx context.Context, name string, e *entry) error {
	zone, err := ZoneOf(ctx, k.Writer.Server, name)
	if err != nil {
		return err
	}
	return k.Servers.Await(ctx, zone, e.want.ServedBy)
}

// TXT returns a record whose text is split into strings of at most 255 octets.
func TXT(name, text string) *dns.TXTRecord {
	rr := &dns.TXTRecord{Hdr: dns.Header{Name: dns.Canonical(name), Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: TTL}}
	for text != "" || rr.Txt == nil {
		n := min(255, len(text))
		rr.Txt = append(rr.Txt, escape.Replace(text[:n]))
		text = text[n:]
	}
	return rr
}

// escape writes text as records hold it, in the form of zone files (RFC 1035 section 5.1).
var escape = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

func textOf(rr dns.RR) string {
	if txt, ok := rr.(*dns.TXTRecord); ok {
		return dns.Text(txt)
	}
	return ""
}
